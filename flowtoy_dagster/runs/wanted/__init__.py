"""Which runs are meant: by a name, or by what they have in common."""
