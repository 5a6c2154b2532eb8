"""`python -m flowtoy_dagster`."""

from flowtoy_dagster.cli import command

if __name__ == "__main__":
    command()
