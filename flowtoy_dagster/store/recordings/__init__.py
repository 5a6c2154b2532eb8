"""Recordings of runs: a file for each call, from which a run can be answered again."""
