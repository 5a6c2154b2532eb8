"""Runs that a process of their own carries."""
