"""Which values are secret, how they are recognised, and how they are hidden."""
