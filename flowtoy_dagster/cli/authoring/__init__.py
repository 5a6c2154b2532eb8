"""Commands for whoever writes a flow: they call nothing and never import Dagster by themselves."""
