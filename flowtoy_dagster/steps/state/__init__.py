"""What belongs to one attempt of a step: its secrets, its time, its waits, its items."""
