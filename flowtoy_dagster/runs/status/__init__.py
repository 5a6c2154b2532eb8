"""The state of a run and its steps: read from events, written as the status document."""
