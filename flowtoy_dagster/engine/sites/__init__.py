"""What machines of a deployment have, and what is said where that is not the same."""
