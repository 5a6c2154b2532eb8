"""Jinja2's own filters and formats, by the rules of the language."""
