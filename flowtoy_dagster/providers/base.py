"""What a provider is, and what it returns (language 11)."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flowtoy_dagster.flow.templates.render import render_all

if TYPE_CHECKING:
    from flowtoy_dagster.providers.subprocesses import Processes

Output = Callable[[str, bytes], None]
"""Takes what a command prints while it runs: called with `stdout` or `stderr`, and a piece."""


class Learner(Protocol):
    """Hides what is secret in everything that is shown of a step."""

    def text(self, text: str) -> str:
        """A text without the secrets; to be used before a text is cut or changed."""

    def head(self, text: str, most: int) -> str:
        """The first part of a text, of at most `most` characters, without the secrets."""

    def learn(self, values: Iterable[str], *, keep: bool = True) -> None:
        """Hide these values too, from now on.

        Args:
            values: what is secret.
            keep: whether those who show the step's outputs later must know them. Tokens are in no
                output, and no record may have them.
        """


class HeldToken(Protocol):
    """What is kept of one token, for who holds its lock."""

    def read(self) -> dict[str, Any] | None:
        """What was written last; None where there is nothing that can be used; raises OSError."""

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep this instead: whole and durable, or not at all; raises OSError."""


class TokenKeeper(Protocol):
    """Keeps tokens for all threads, processes and machines that share them (`store.tokens`).

    A token is named by facts: all that decides which token it is, secrets included.
    """

    def read(self, facts: bytes) -> dict[str, Any] | None:
        """What is kept, without a lock; None where there is nothing that can be used."""

    def held(self, facts: bytes) -> AbstractContextManager[HeldToken]:
        """Wait for the lock of a token and hold it while a block runs; raises OSError."""


class Time(Protocol):
    """What an attempt waits by (`steps.state.timing`)."""

    def now(self) -> float:
        """Seconds of the monotonic clock."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for so many seconds, or until an event is set; gives whether it is."""


class Exchanges(Protocol):
    """Stands between a provider and what it calls: in tests, recordings and replays."""

    def exchange(
        self, context: Any, part: Mapping[str, Any], make: Callable[[], dict[str, Any]]
    ) -> Mapping[str, Any]:
        """What one request comes to, as plain data with the keys of the kind's `answer_model`.

        Args:
            context: the attempt.
            part: how the request differs from the call as rendered, such as one for a page.
            make: really makes the request.
        """


class CallContext(Protocol):
    """What a provider may know of the attempt that calls it (`steps.context.StepContext`)."""

    @property
    def attempt(self) -> int:
        """Which attempt of the step this is, from 1."""

    @property
    def deadline(self) -> float | None:
        """When the call must have ended, in seconds of the monotonic clock."""

    @property
    def mask(self) -> Learner:
        """Takes secrets that the provider comes to know, such as a token."""

    @property
    def output(self) -> Output | None:
        """Takes what commands print."""

    @property
    def processes(self) -> Processes:
        """Holds the commands that the provider starts."""

    @property
    def cancelled(self) -> threading.Event:
        """Set when the call should end."""

    @property
    def call_id(self) -> str:
        """The same for each attempt and each `flowtoy retry` of the same step and item."""

    @property
    def tokens(self) -> TokenKeeper | None:
        """Keeps the tokens by which sources call."""

    @property
    def outputs_folder(self) -> Path | None:
        """Where the call may leave files for outputs that name one; None where none does."""

    @property
    def folder(self) -> Path | None:
        """What relative paths start from: the flow's folder; None for the working directory."""

    @property
    def parts(self) -> CallParts | None:
        """What a call that consists of several requests holds to."""

    @property
    def time(self) -> Time:
        """What the attempt waits by; `deadline` is of its clock."""

    @property
    def exchanges(self) -> Exchanges | None:
        """What is asked instead of what the provider would call; None where that is called."""

    def warn(self, message: str, key: str = "") -> None:
        """Warn of something about the call, without failing the step.

        Args:
            message: one or a few lines; secrets in it are hidden.
            key: of the source's configuration, if one is the reason: its place is shown.
        """


class CallParts(Protocol):
    """What a call that consists of several requests, such as one for each page, holds to.

    Where such a call has failed for good, the result's `meta` has `retryable: False`: the step does
    not make it again.
    """

    def next_turn(self, last: ProviderResult) -> CallContext:
        """Wait until the next request may be sent, as the source's `rate` has it.

        Args:
            last: what the request before came to.

        Returns:
            The context with the deadline as it is then.
        """

    def retry_delay(self, result: ProviderResult, retry: int) -> float | None:
        """Seconds to wait before a request that failed is sent again, as the step's `retry` has it.

        Args:
            result: how it failed.
            retry: which retry of this request it would be, from 1.

        Returns:
            None where it is not sent again.
        """

    @property
    def keeps_records(self) -> bool:
        """Whether the result must list the records, although they were handed over."""

    @property
    def keeps_body(self) -> bool:
        """Whether the result must hold the data of the body, although it was handed over."""

    @property
    def has_records(self) -> bool:
        """Whether the call has handed over records."""

    @property
    def takes_body(self) -> bool:
        """Whether the body of the one answer of a call is wanted as it is."""

    def take_body(self, piece: bytes) -> None:
        """Hand over a piece of the body of a success, in the order of the body; raises as `take`.

        A body of which a part was handed over can't be read again.
        """

    def take(self, records: list[Any]) -> list[Any]:
        """Hand over the records of a page, once it counts as read; pages come in their order.

        What takes them may write them: the provider must not hand over a page twice.

        Returns:
            those that the result lists, where it lists them: the step may leave some out.

        Raises:
            Exception: they can't be taken; the call must end with that.
        """


class RecordTaker(Protocol):
    """Takes the records that a step reads, as they come (`StepContext.takers`).

    One that has `takes_body = True` also has a method `take_body(piece: bytes)`.
    """

    def take(self, records: list[Any]) -> None:
        """Take the records of a page; they must not be changed.

        Raises:
            StepError: the step fails with that.
        """


class Provider(Protocol):
    """What every provider has, third parties' too."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        """Raises where the configuration is wrong."""

    def call(self, input_payload: Any = None) -> Any:
        """Do the work; `{"status": …, "data": …, "meta": …}` or just the data of a success."""


class Headers(dict[str, Any]):
    """Headers of an answer, with the names as they came; looked up whatever their case."""

    def __missing__(self, name: Any) -> Any:
        wanted = str(name).lower()
        for known, value in self.items():
            if known.lower() == wanted:
                return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        wanted = str(name).lower()
        return any(known.lower() == wanted for known in self)

    def get(self, name: Any, default: Any = None) -> Any:
        """The header of that name, or `default`."""
        try:
            return self[name]
        except KeyError:
            return default


ENVELOPE = frozenset({"success", "code", "notes", "data", "meta", "status"})
"""The names by which an expression may reach a result, where its data has no such key."""


def meta_view(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A result's `meta` as expressions see it: its `headers` have names of any case."""
    headers = meta.get("headers")
    if not isinstance(headers, dict) or not all(isinstance(name, str) for name in headers):
        return dict(meta)
    return {**meta, "headers": Headers(headers)}


@dataclass(frozen=True)
class ProviderResult:
    """What a call gave: `data`, and the envelope around it.

    Attributes:
        success: whether it went well.
        code: an exit code or HTTP status, where there is one.
        notes: error texts, one line each.
        data: what the call gave.
        meta: facts about the call.
    """

    success: bool
    code: int | None = None
    notes: tuple[str, ...] = ()
    data: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> dict[str, Any]:
        """`success`, `code` and `notes` as a mapping."""
        return {"success": self.success, "code": self.code, "notes": list(self.notes)}

    def as_returned(self) -> dict[str, Any]:
        """The mapping that a provider's `call` returns."""
        return {"status": self.status, "data": self.data, "meta": dict(self.meta)}

    def envelope(self) -> dict[str, Any]:
        """Every name by which an expression may reach the result (language 7.2)."""
        return {**self.status, "data": self.data, "meta": meta_view(self.meta),
                "status": self.status}

    @classmethod
    def of(cls, returned: Any) -> ProviderResult:
        """The result in what a provider returned; without `status` it is data of a success.

        Raises:
            ValueError: the status can't be used.
        """
        if not (isinstance(returned, Mapping) and "status" in returned):
            return cls(True, data=returned)
        status = returned.get("status")
        if not isinstance(status, Mapping):
            return cls(True, data=returned)
        meta = returned.get("meta")
        return cls(
            success=bool(status.get("success", True)),
            code=_code(status.get("code")),
            notes=_notes(status.get("notes")),
            data=returned.get("data"),
            meta=meta if isinstance(meta, Mapping) else {},
        )


def _code(code: Any) -> int | None:
    if code is None:
        return None
    if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 1 << 63:
        return int(code)
    shown = _shown(code)
    raise ValueError(f"'code' must be a whole number of at most 64 bits, or null, not {shown}")


def _shown(value: Any) -> str:
    kind = f"a value of type '{type(value).__name__}'"
    return repr(value) if isinstance(value, str) and len(value) < 40 else kind


def _notes(notes: Any) -> tuple[str, ...]:
    if notes is None:
        return ()
    if isinstance(notes, (list, tuple)):
        return tuple(str(note) for note in notes if note is not None)
    return (str(notes),)


def render_configuration(
    configuration: Mapping[str, Any], context: Mapping[str, Any]
) -> dict[str, Any]:
    """A configuration with its templates rendered, for providers with no rendering of their own."""
    rendered: dict[str, Any] = render_all(dict(configuration), context)
    return rendered


def bounded(timeout: float, context: CallContext | None) -> float:
    """A timeout in seconds that ends no later than the step's deadline."""
    if context is None or context.deadline is None:
        return timeout
    return min(timeout, max(context.deadline - context.time.now(), 0.001))


def call_provider(provider: Provider, payload: Any, context: CallContext) -> Any:
    """What a provider's `call` returns; it gets the context where it has an argument for it."""
    call: Callable[..., Any] = provider.call
    # A provider is made for each call, and its method is a new object, but not its function.
    function = getattr(call, "__func__", None)
    wanted = _takes_context(call) if function is None else _function_takes_context(function)
    return call(payload, context=context) if wanted else call(payload)


def _takes_context(call: Callable[..., Any]) -> bool:
    try:
        return "context" in inspect.signature(call).parameters
    except (TypeError, ValueError):  # a callable that Python can't look into
        return False


@functools.lru_cache(maxsize=64)
def _function_takes_context(function: Callable[..., Any]) -> bool:
    return _takes_context(function)


def first_part(text: str, most: int, context: CallContext | None) -> str:
    """The first part of a text, without the secrets that the calling step knows."""
    return context.mask.head(text, most) if context is not None else text[:most]


ProviderClass = Callable[[dict[str, Any]], Provider]

BuiltinProvider = Provider
"""The name by which packages written for 0.1.0 may import the protocol."""
