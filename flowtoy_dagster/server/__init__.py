"""What is served over HTTP: the status API, the page, and the web UI."""
