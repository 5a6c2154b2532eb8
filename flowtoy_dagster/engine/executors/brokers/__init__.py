"""Executors whose steps go to workers through a broker: Celery, Dask."""
