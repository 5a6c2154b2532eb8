"""Runs: starting them, and their status from the event log."""
