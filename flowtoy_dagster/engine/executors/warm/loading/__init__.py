"""What Dagster imports and a run never uses: left out while a run loads its modules."""
