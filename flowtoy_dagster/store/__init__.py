"""Where flowtoy keeps what it must find again: configurations, step records, given secrets."""
