"""What a run is given by the program that starts it."""
