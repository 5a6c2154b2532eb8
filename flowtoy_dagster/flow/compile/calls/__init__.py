"""What each step calls: its source, its input, its outputs, and all of it together."""
