"""Providers: a class with a configuration and a call, nothing more."""

import datetime as dt
import sys


class Sample:
    """Gives back what it was given, in the envelope."""

    def __init__(self, configuration):
        self.configuration = configuration

    def call(self, input_payload=None):
        print("printed by the provider")
        return {
            "status": {"success": True, "code": 7, "notes": ["well done"]},
            "data": {"payload": input_payload, "configuration": self.configuration},
            "meta": {"source": "sample"},
        }


class Bare:
    """Returns data without an envelope."""

    def __init__(self, configuration):
        pass

    def call(self, input_payload=None):
        return ["bare", input_payload]


class Status:
    """Returns the status that its configuration says."""

    def __init__(self, configuration):
        self.status = configuration

    def call(self, input_payload=None):
        return {"status": self.status, "data": None, "meta": {}}


class Raises:
    """Raises when it is called."""

    def __init__(self, configuration):
        pass

    def call(self, input_payload=None):
        raise RuntimeError("the queue\nis closed")


class Exits(Raises):
    """Ends the interpreter, as careless code does."""

    def call(self, input_payload=None):
        sys.exit("nothing to do")


class Refuses:
    """Refuses its configuration."""

    def __init__(self, configuration):
        raise ValueError("'queue' is required")


class Unholdable:
    """Returns a value that JSON can't hold."""

    def __init__(self, configuration):
        self.kind = configuration["kind"]

    def call(self, input_payload=None):
        value = {
            "nan": float("nan"),
            "bytes": b"raw",
            "datetime": dt.datetime(2026, 1, 2),
        }[self.kind]
        return {"rows": [{"fine": 1}, {"at": value}]}
