"""The provider `rest`: one HTTP request."""
