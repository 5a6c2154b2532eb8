"""What a mapping of a configuration may hold: models, fields, and the rules of single values."""
