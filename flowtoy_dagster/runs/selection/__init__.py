"""Runs of some of a flow's steps."""
