"""CSV files as steps of flows."""
