"""What an op adds to the events of its run, and what it reads of the run."""
