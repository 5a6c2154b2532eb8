"""A package as a third party would write it: it knows nothing of flowtoy's code."""
