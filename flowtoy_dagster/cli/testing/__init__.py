"""Commands that try a flow, or a part of it, without a run of Dagster's."""
