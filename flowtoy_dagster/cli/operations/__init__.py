"""The commands of who operates a deployment."""
