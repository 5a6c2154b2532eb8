"""What a token endpoint answered: the data, its end, and errors in plain words."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flowtoy_dagster.json_text import JsonError, loads
from flowtoy_dagster.masking.mask import secret_values_in
from flowtoy_dagster.providers.rest.auth.tokens import TokenError, TokenSource
from flowtoy_dagster.providers.rest.content import Answer

LONGEST_LIFE = 10 * 366 * 86400.0
"""Seconds; a token that is said to live longer has no end that is known."""
_EPOCH = 1e9
"""From here on a number is a moment, not a life: seconds since 1970."""
_MILLISECONDS = 1e11
_SHOWN = 200
_HINTS = {
    "invalid_client": "check 'client_id' and 'client_secret', and whether the server wants them "
    "with 'client_auth: basic' or 'body'",
    "unauthorized_client": "the server does not allow this grant to the client",
    "invalid_scope": "check 'scope'",
    "invalid_target": "check 'access_token_request_data'",
    "unsupported_grant_type": "the server does not know this grant",
}
_DEAD_REFRESH = (
    "the refresh token is not valid any more: it was withdrawn, or used before; log in again and "
    "set a new 'refresh_token'"
)
_LOST_REFRESH = "; a process that was killed while it renewed a token may have lost the latest one"


def name_of(answer: Answer) -> str:
    """How messages call the endpoint that gave an answer."""
    parts = urlsplit(answer.url)
    return f"the token endpoint {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def json_of(answer: Answer, tokens: TokenSource) -> Any:
    """The JSON of an answer, its secrets learned; None where it is none."""
    try:
        data = loads(answer.exact())
    except JsonError:
        return None
    tokens.learn(secret_values_in(data))
    return data


def error_of(
    answer: Answer, data: Any, tokens: TokenSource, *, is_known: bool = False
) -> TokenError:
    """Why an endpoint gave no token, in its own words, secrets hidden.

    Args:
        answer: what it answered.
        data: the JSON in it.
        tokens: hides secrets.
        is_known: whether the refresh token was one that the home kept.
    """
    words = [name_of(answer), f"answered {answer.status}"]
    code = data.get("error") if isinstance(data, dict) else None
    told = _told(answer, data, tokens.hide)
    if told:
        words.append(f"({told})")
    hint = None
    location = answer.headers.get("Location") or answer.headers.get("location")
    if 300 <= answer.status < 400 and location:
        hint = "a request for a token is not redirected: set the URL that it redirects to"
    elif isinstance(code, str):
        hint = _HINTS.get(code)
        if code == "invalid_grant":
            hint = _DEAD_REFRESH + (_LOST_REFRESH if is_known else "")
    is_final = 300 <= answer.status < 500 and answer.status not in (408, 425, 429)
    is_final = is_final or 200 <= answer.status < 300
    return TokenError(
        " ".join(words) + (f"; {hint}" if hint else ""), answer, is_final=is_final
    )


def _told(answer: Answer, data: Any, hide: Callable[[str], str]) -> str:
    """What an endpoint says of an error; a page of HTML only that it is one."""
    if isinstance(data, dict):
        found = [data.get(key) for key in ("error", "error_description", "message", "detail")]
        text = ": ".join(part for part in found if isinstance(part, str) and part)
    elif "html" in answer.media_type or answer.text.lstrip()[:1] == "<":
        text = "a page of HTML"
    elif data is None:
        text = hide(answer.text)
    else:
        text = ""
    line = " ".join(hide(text).split())
    return "".join(c if c.isprintable() else "\ufffd" for c in line[:_SHOWN])


def unusable(answer: Answer, data: Any, wanted: str) -> TokenError:
    """That an answer of a success holds no token: names what it has, never a value."""
    if isinstance(data, dict):
        names = ", ".join(f"'{key}'" for key in list(data)[:12])
        what = f"has no {wanted}: its keys are {names or 'none'}"
    elif data is None:
        what = f"is not JSON ('{answer.media_type}')"
    else:
        what = f"has no {wanted}: it is not a JSON mapping"
    return TokenError(f"the answer of {name_of(answer)} {what}", answer, is_final=True)


def life_in(value: Any, warn: Callable[[str], None]) -> float | None:
    """The seconds that `expires_in` gives; None where it gives none that can be used."""
    if value is None:
        return None
    number = _number(value)
    if number is None or number <= 0:
        warn(_no_time(value))
        return None
    return number if number <= LONGEST_LIFE else None


def end_in(value: Any, got_at: float, warn: Callable[[str], None]) -> float | None:
    """The end that a value gives: a life in seconds, or a moment; None where there is none."""
    if isinstance(value, str) and _number(value) is None:
        try:
            moment = dt.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=dt.timezone.utc)
            end = moment.timestamp()
        except (ValueError, OverflowError):
            warn(_no_time(value))
            return None
        return max(end, got_at)
    number = _number(value)
    if number is not None and number >= _EPOCH:
        end = number / 1000 if number >= _MILLISECONDS else number
        return max(end, got_at) if end - got_at <= LONGEST_LIFE else None
    life = life_in(value, warn)
    return None if life is None else got_at + life


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _no_time(value: Any) -> str:
    text = str(value)
    # Secrets are hidden in a whole text only.
    shown = repr(text) if len(text) <= 40 else f"a text of {len(text)} characters"
    return f"the end of a token is given as {shown}, which is not a time: it is used until a 401"
