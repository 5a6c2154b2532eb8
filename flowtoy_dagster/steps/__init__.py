"""One step, from its upstream's outputs to its own. Nothing here knows Dagster."""
