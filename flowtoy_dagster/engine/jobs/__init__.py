"""What Dagster is told of a flow: jobs, ops, parameters, schedules and limits."""
