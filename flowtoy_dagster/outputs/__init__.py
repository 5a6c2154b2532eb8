"""The types of outputs: what is taken out of a provider's result (language 7)."""
