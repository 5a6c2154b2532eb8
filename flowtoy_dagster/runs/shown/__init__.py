"""What a page shows of a run besides its status: what steps print, and its parameters."""
