"""What one key of a step adds to an attempt: a stage a file."""
