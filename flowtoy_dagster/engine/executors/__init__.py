"""Who decides when a step starts, and in which process it runs."""
