"""Which process carries a run, and whether it is still there."""
