"""What steps print: captured, bounded, and shown on the console."""
