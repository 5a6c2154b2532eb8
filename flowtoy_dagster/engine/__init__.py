"""The one place that knows Dagster's engine: from a flow to a job, and how a job runs."""
