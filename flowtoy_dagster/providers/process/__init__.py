"""The provider `process`: one command."""
