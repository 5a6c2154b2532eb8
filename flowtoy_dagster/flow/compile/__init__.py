"""Positioned nodes to a `Flow`, or to every error in them."""
