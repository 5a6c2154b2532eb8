"""How a run and its steps stand: read from events, written as the status document."""
