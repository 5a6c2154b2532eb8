"""An API that wants tokens, and the endpoint that gives them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.schema.models import OutputConfig, RetryConfig
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo
from flowtoy_dagster.store.tokens import TokenStore


class Asked(Protocol):
    """A request, as the fixture `serve` gives it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Reply = tuple[int, dict[str, str], bytes]


def as_json(value: Any, status: int = 200, **headers: str) -> Reply:
    """An answer in JSON."""
    return status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()


@dataclass
class TokenApi:
    """Gives tokens at /token; everything else wants the latest.

    Attributes:
        token_answer: makes the answer to a request for a token from the number of it.
        data: makes the answer of other requests.
        is_valid: whether a token is one.
    """

    expires_in: Any = 3600
    token_answer: Callable[[int, dict[str, str]], Reply] | None = None
    data: Callable[[Asked], Reply] = lambda asked: as_json([{"id": 1}])
    forms: list[dict[str, str]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def __call__(self, asked: Asked) -> Reply:
        """The answer to a request."""
        with self.lock:
            if asked.path.startswith("/token"):
                return self._token(asked)
            shown = asked.headers.get("Authorization", "")
            self.calls.append(shown.removeprefix("Bearer "))
            known = [f"Bearer {self.token(n)}" for n in range(1, len(self.forms) + 1)]
            if shown not in known or shown.removeprefix("Bearer ") in self.revoked:
                return as_json({"error": "unauthorized"}, 401)
            return self.data(asked)

    @staticmethod
    def token(number: int) -> str:
        """The token that a request for one got."""
        return f"tok-{number}-S3cretS3cretS3cret"

    def _token(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        self.forms.append(dict(parse_qsl(asked.body.decode())))
        number = len(self.forms)
        if self.token_answer is not None:
            return self.token_answer(number, self.forms[-1])
        answer = {"access_token": self.token(number), "token_type": "Bearer"}
        if self.expires_in is not None:
            answer["expires_in"] = self.expires_in
        return as_json(answer)

    @property
    def auth(self) -> dict[str, Any]:
        """Client credentials for this server."""
        return {"type": "oauth2_client_credentials", "access_token_url": f"{self.url}/token",
                "client_id": "flows", "client_secret": "cl1ent-s3cret"}


def run(
    api_url: str,
    auth: dict[str, Any] | None,
    tokens: TokenStore | None,
    output: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    retries: int = 0,
    **configuration: Any,
) -> StepOutcome:
    """A step that reads /rows with an auth."""
    keys = {"base_url": api_url, "url": "/rows", "timeout": 20, "auth": auth, **configuration}
    outputs = (OutputConfig.model_validate(output or {"name": "rows", "type": "raw"}),)
    retry = RetryConfig(max=retries, delay=0)
    step = Step(0, "read", Source("rest", keys), outputs=outputs, retry=retry)
    given = StepContext(step, RunInfo("r", "f", lambda: 0.0), tokens=tokens, **(context or {}))
    return run_step(given, {}, {})
