"""From what a call gives to the outputs of a step (language 7, 20)."""
