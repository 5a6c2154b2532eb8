"""What processes count together: the calls of sources."""
