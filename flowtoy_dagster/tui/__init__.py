"""A run in the terminal: its steps, their outputs, errors and logs."""
