"""What passes between a call and a server: connections, heads, compression, redirects, failures."""
