"""Runs that are recorded or replayed: how each of their steps knows."""
