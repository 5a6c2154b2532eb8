"""The executor `dask`: a Dask scheduler delivers messages, and its workers host agents."""
