"""Text to positioned nodes: YAML files, and suggestions for what is misspelt in them."""
