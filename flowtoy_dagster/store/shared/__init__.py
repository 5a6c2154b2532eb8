"""Stores that all machines of a deployment share."""
