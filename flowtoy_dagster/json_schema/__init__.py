"""The JSON Schema of flows, for editors, made from the models that check them."""
