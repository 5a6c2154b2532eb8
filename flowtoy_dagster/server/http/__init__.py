"""What every HTTP server of flowtoy has: its socket, its guard, its limits and its end."""
