"""The things that steps call. One provider a file; found by entry point, loaded on first use."""
