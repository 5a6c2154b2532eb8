"""Who calls: credentials as written, and tokens that are asked for and renewed (language 21.5)."""
