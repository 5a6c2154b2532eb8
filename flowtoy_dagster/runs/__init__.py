"""Runs: starting them, and what the event log tells of them."""
