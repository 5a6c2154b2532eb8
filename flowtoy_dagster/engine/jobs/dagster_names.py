"""Names that Dagster accepts for the names that people write."""

import keyword
import re
import unicodedata
from collections.abc import Iterable

# What `dagster` rejects as the name of a job or op; a test compares this with its own list.
RESERVED = frozenset(
    {"context", "conf", "config", "meta", "arg_dict", "dict", "input_arg_dict", "output_arg_dict",
     "int", "str", "float", "bool", "input", "output", "type", *keyword.kwlist}
)
_LONGEST = 60


def dagster_name(written: str) -> str:
    """A valid name for a job or op, as like the written one as can be; not unique."""
    ascii_only = unicodedata.normalize("NFKD", written).encode("ascii", "ignore").decode()
    name = re.sub(r"\W+", "_", ascii_only).strip("_")[:_LONGEST]
    return f"flow_{name}".rstrip("_") if not name or name in RESERVED else name


def step_keys(written: Iterable[str]) -> dict[str, str]:
    """A step key for each written name, without collisions.

    Aliases are freer than names: letters of any script, digits, spaces, `_` and `-` stay as they
    are. What Dagster gives a meaning to (`.`, `[`, `?`, `*`, `+`, `/`, …) becomes `_`.
    """
    names = list(written)
    plain = {name: re.sub(r"[^\w -]", "_", name) for name in names}
    keys = {name: name for name in names if plain[name] == name}
    taken = set(keys.values())
    for name in names:
        if name not in keys:
            key, number = plain[name], 2
            while key in taken:
                key, number = f"{plain[name]}_{number}", number + 1
            keys[name] = key
            taken.add(key)
    return {name: keys[name] for name in names}
