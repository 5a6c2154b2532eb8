"""A flow in Dagster's terms: jobs, ops, parameters, schedules and limits."""
