"""What is likely meant where a flow has a mistake: places, shapes and names to write instead."""
