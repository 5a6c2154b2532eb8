"""In what a worker runs its steps: made from what is the same for all of them."""
