"""How commands are found and called: those of packages, and what is wrong with a call."""
