"""Connections to PostgreSQL that no silent server can hold for ever."""
