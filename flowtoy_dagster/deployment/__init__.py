"""The flows of a Dagster deployment: found, loaded, rebuilt in each process of a run."""
