"""Executors whose workers are elsewhere: the warm executor's scheduling over their pool."""
