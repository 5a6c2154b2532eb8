"""What commands, servers and names hold can't move a terminal's cursor, whatever shows it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m\u202eevil\u200b"
FLOW = {
    "name": f"flow {HOSTILE}",
    "flow": [
        {"name": f"noisy {HOSTILE}", "source": "process",
         "output": [{"name": "t", "value": "stdout"}],
         "input": {"command": ["sh", "-c", f"printf '{HOSTILE}'; printf '{HOSTILE}' >&2"]}},
        {"name": f"fails {HOSTILE}", "source": "process",
         "input": {"command": ["sh", "-c", f"echo '{HOSTILE}' >&2; exit 3"]}},
    ],
}


def check(text: str) -> None:
    """Fail where a text has more in it than lines of characters that have a place."""
    odd = [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
    assert odd == []
    assert "evil" in text


def test_nothing_hostile_reaches_a_terminal_and_json_has_all_of_it(
    flowtoy: Callable[..., Any], write: Callable[..., Any]
) -> None:
    ran = flowtoy("run", write(json.dumps(FLOW)), "-o", "out.json", "-j")
    assert ran.code == 1
    check(ran.stderr)
    outputs = ran.json
    assert outputs[f"noisy {HOSTILE}"] == {"t": HOSTILE}

    shown = flowtoy("runs", "show", "last")
    check(shown.stdout)
    assert "exited with code 3" in shown.stdout
    logs = flowtoy("runs", "logs", "last")
    check(logs.stdout + logs.stderr)
    check(flowtoy("runs").stdout)
    retried = flowtoy("retry", "last")
    assert retried.code == 1
    check(retried.stderr)
    assert flowtoy("runs", "outputs", "last", "-j").json == outputs

    wrong = flowtoy("run", write(json.dumps({"flow": [{"name": "a", "source": HOSTILE}]})))
    assert wrong.code == 2
    check(wrong.stderr)
