"""Cursors of steps with `incremental`: what holds a value back, storing it, telling of it."""
