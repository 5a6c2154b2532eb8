"""Files of records: where they are, how they are written whole, and how they are read."""
