"""Which step starts when, and what a failure does to the others, also on Dagster's executors."""
