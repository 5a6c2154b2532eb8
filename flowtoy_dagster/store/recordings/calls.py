"""Calls as a recording holds them: secrets hidden, compared part by part."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flowtoy_dagster.masking.mask import HIDDEN, Mask, hide
from flowtoy_dagster.masking.names import is_secret_name
from flowtoy_dagster.providers.kinds import kind_of
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.loops.item_list import told_apart
from flowtoy_dagster.steps.state.items import Item
from flowtoy_dagster.store.store import quoted

_LONGEST_SHOWN = 80
_MOST_SHOWN = 5


def call_of(context: StepContext, part: Mapping[str, Any]) -> dict[str, Any]:
    """What an attempt calls, with its secrets hidden.

    Args:
        context: the attempt.
        part: how the request differs from the call, as the provider's exchange has it.
    """
    step, work = context.step, context.work
    facts = kind_of(step.source).call_facts(work.configuration, work.payload, part)
    hidden: dict[str, Any] = without_secrets(hidden_in(facts, context.mask.current))
    return hidden


def hash_of(call: Mapping[str, Any]) -> str:
    """The hash by which two calls are the same."""
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).hexdigest()


def folder_of(context: StepContext) -> str:
    """The folder of a recording with the calls of a step, or of an item of it."""
    mask = context.mask
    folder = quoted(mask.text(context.step.name))
    if context.item is None:
        return folder
    shown, index = shown_key(context.item, mask.current), context.item.index
    if HIDDEN not in shown:
        return f"{folder}/items/{quoted(shown)}"
    end = told_apart("", index)
    return f"{folder}/items/{quoted(shown.removesuffix(end))}{end}"


def shown_key(item: Item, mask: Mask) -> str:
    """The key of an item as a recording has it.

    What is hidden in two keys may be the only difference between them: such keys have the places
    of their items, as those of a replay have.
    """
    shown = mask.text(item.key)
    return shown if shown == item.key else told_apart(shown, item.index)


def without_secrets(value: Any) -> Any:
    """Plain data in which what has the name of a secret is hidden."""
    if isinstance(value, Mapping):
        return {
            key: hide(item) if is_secret_name(str(key)) else without_secrets(item)
            for key, item in value.items()
        }
    return [without_secrets(item) for item in value] if isinstance(value, list) else value


def hidden_in(
    value: Any, mask: Mask, in_text: Callable[[str, Mask], str] = lambda text, mask: mask.text(text)
) -> Any:
    """Plain data without the secrets in it: also not in keys, numbers and octets as base64.

    Args:
        value: the data.
        mask: the secrets.
        in_text: hides them in a text of the data.
    """
    if not mask:
        return value
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for key, item in value.items():
            name = mask.text(str(key))
            while name in found:
                name += "*"
            found[name] = hidden_in(item, mask, in_text)
            if key == "base64" and isinstance(item, str):
                found[name] = _octets(item, mask)
        return found
    if isinstance(value, (list, tuple)):
        return [hidden_in(item, mask, in_text) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value if mask.text(str(value)) == str(value) else HIDDEN
    return in_text(value, mask) if isinstance(value, str) else value


def _octets(text: str, mask: Mask) -> str:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return mask.text(text)
    shown = mask.octets(data)
    for secret in mask.values:
        for encoding in ("utf-16-le", "utf-16-be"):
            shown = shown.replace(secret.encode(encoding, "replace"), HIDDEN.encode(encoding))
    return text if shown == data else base64.b64encode(shown).decode()


def differences(recorded: Any, now: Any, path: str = "") -> Iterator[str]:
    """How a call differs from the recorded one; what is hidden there may be anything."""
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        for key in [*recorded, *(key for key in now if key not in recorded)]:
            name = f"{path}.{key}" if path else str(key)
            if key not in now:
                yield f"{name}: recorded {_shown(recorded[key])}, now absent"
            elif key not in recorded:
                yield f"{name}: not recorded, now {_shown(now[key])}"
            else:
                yield from differences(recorded[key], now[key], name)
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for index, (before, after) in enumerate(zip(recorded, now, strict=True)):
            yield from differences(before, after, f"{path}[{index}]")
    elif not _is_same(recorded, now):
        yield f"{path or 'the call'}: recorded {_shown(recorded)}, now {_shown(now)}"


def in_words(found: list[str]) -> str:
    """The first of some differences, in one line."""
    more = len(found) - _MOST_SHOWN
    return "; ".join(found[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _is_same(recorded: Any, now: Any) -> bool:
    if isinstance(recorded, str) and HIDDEN in recorded:
        pattern = ".*".join(map(re.escape, recorded.split(HIDDEN)))
        return recorded == HIDDEN or (
            isinstance(now, str) and re.fullmatch(pattern, now, re.DOTALL) is not None
        )
    return type(recorded) is type(now) and bool(recorded == now)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
