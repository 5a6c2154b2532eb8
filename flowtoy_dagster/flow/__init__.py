"""The language: files to models to a graph. No I/O beyond reading files, no Dagster."""
