"""Tests of flows: `*.test.yaml`, run in this process without Dagster and without a home."""
