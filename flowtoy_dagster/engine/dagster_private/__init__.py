"""Dagster's private names, each imported in one place: an upgrade of Dagster is looked at here.

A module for each group of users, so that nobody imports what only others need. Three others have
private imports, and a reason to: `server/dagster_web.py` and `storage/postgres.py` import packages
that not every command needs, `executors/warm/preload.py` imports modules alone. The launcher is a
subclass of a private class, in a module that Dagster itself imports by name.
`tests/engine/test_private_api.py` holds the shape of each name.
"""
