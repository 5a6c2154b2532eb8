"""What several commands need: options, printing, execution and the status API."""
