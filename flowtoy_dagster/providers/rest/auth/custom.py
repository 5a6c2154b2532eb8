"""Auth objects of requests, from packages that are installed: `{provider: "my_package:MyAuth"}`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, ValidationInfo, field_validator, model_validator

from flowtoy_dagster.flow.schema.fields import PARTIAL, Misplaced, Templated, Text
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.masking.mask import secret_values_in
from flowtoy_dagster.providers.rest.auth.base import Auth, Credentials
from flowtoy_dagster.providers.rest.auth.tokens import TokenError, TokenSource
from flowtoy_dagster.providers.rest.content import Answer

if TYPE_CHECKING:
    import requests


class CustomAuth(Auth):
    """An object that is called with each request before it is sent, and returns it.

    Keys besides `provider` are given to the class.

    Attributes:
        provider: the class, as module:Class.
    """

    model_config = ConfigDict(extra="allow")

    provider: Templated[Text]

    @field_validator("provider", mode="after")
    @classmethod
    def _is_there(cls, value: str) -> str:
        if not is_template(value):
            _load(value)
        return value

    @model_validator(mode="after")
    def _takes_the_keys(self, info: ValidationInfo) -> CustomAuth:
        if info.context != PARTIAL and not is_template(self.provider):
            _check_keys(self.provider, self.model_extra or {})
        return self

    def flow(self, tokens: TokenSource) -> Generator[Credentials, Answer, None]:
        """With what the object adds; what it does after an answer is done when that comes."""
        try:
            added = _load(self.provider)(**(self.model_extra or {}))
        except Exception as error:  # noqa: BLE001 - the code of others
            raise _raised(self.provider, error, tokens) from None
        if not callable(added):
            words = f"'{self.provider}' makes no auth object: it can't be called with a request"
            raise TokenError(words, is_final=True)

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            before = dict(request.headers)
            try:
                signed: requests.PreparedRequest = added(request)
            except Exception as error:  # noqa: BLE001 - the code of others
                raise _raised(self.provider, error, tokens) from None
            changed = {k: v for k, v in signed.headers.items() if before.get(k) != v}
            tokens.learn(secret_values_in(_as_text(changed)))
            return signed

        yield Credentials(sign=sign)


def _as_text(headers: dict[Any, Any]) -> dict[str, str]:
    return {
        str(name): value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for name, value in headers.items()
    }


def _raised(name: str, error: Exception, tokens: TokenSource) -> TokenError:
    reason = tokens.hide(" ".join(f"{type(error).__name__}: {error}".split()))
    return TokenError(f"the auth '{name}' raised {reason}")


def _load(name: str) -> Callable[..., Any]:
    """What an address names.

    Raises:
        Misplaced: there is no such thing.
    """
    module, found, attribute = name.partition(":")
    if not found or not module or not attribute:
        message = f"expected 'package.module:Class', got '{name}'"
        raise Misplaced(message, (), at_key=False)
    hint = "the package must be installed in the Python that runs flowtoy"
    try:
        loaded: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise Misplaced(f"there is no module '{error.name}'", (), hint, at_key=False) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the code of others
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        message = f"the module '{module}' fails to import: {reason}"
        raise Misplaced(message, (), at_key=False) from None
    for part in attribute.split("."):
        if not hasattr(loaded, part):
            message = f"the module '{module}' has no '{attribute}'"
            raise Misplaced(message, (), at_key=False)
        loaded = getattr(loaded, part)
    if not callable(loaded):
        raise Misplaced(f"'{name}' is not a class", (), at_key=False)
    made: Callable[..., Any] = loaded
    return made


def _check_keys(name: str, keys: dict[str, Any]) -> None:
    """Raise ValueError where a class does not take these keys."""
    try:
        signature = inspect.signature(_load(name))
    except (TypeError, ValueError):  # a class that Python can't look into
        return
    try:
        signature.bind(**keys)
    except TypeError as error:
        raise ValueError(f"'{name}' does not take these keys: {error}") from None
