"""Commands for authors of flows: they call nothing and never import Dagster by themselves."""
