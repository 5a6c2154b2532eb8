"""The output type `file`: records, or a body as it is, in a file (language 20)."""
