"""`python -m flowtoy_dagster`."""

from flowtoy_dagster.cli import main

if __name__ == "__main__":
    main()
