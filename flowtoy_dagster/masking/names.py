"""Which names are those of secrets (language 13.1)."""

from __future__ import annotations

import functools
import re


def words_of(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


# `apiKey`, `APIKey`, `API-KEY` and `api.key` are the same words.
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_SECRET_ENDINGS = (
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "credential",
    "bearer",
    "authorization",
    "connectionstring",
)
"""What the letters of a secret's name end with, whatever comes before: `PGPASSWORD`."""
_SECRET_KEYS = words_of(
    "access account api auth consumer decryption deploy encryption function functions hmac "
    "jwt license master private secret session shared sign signing ssh storage subscription webhook"
)
"""What comes before `key` where the key is a secret; `primary_key` and `sort_key` are none."""
_SECRET_WORDS = frozenset({"pwd", "pw", "jwt", "cookie"})
"""Last words that are too short, or too common within others, to be endings."""
_TOKENS_OF_TEXTS_AND_LISTS = words_of(
    "page next previous prev continuation continue cancel cancellation sync delta skip cursor "
    "start stop end pad padding unk unknown bos eos sep cls mask special"
)
"""What comes before `token` where it says where a list goes on, or is a part of a text."""
_SECRET_TOKENS = words_of("access api auth bearer id refresh secret session")
"""What comes before `tokens` where they are secrets; `max_tokens` are none."""
_WORKING_DIRECTORIES = ("PWD", "OLDPWD")
_NAMES_BESIDE_SECRETS = words_of(
    "user username login name type kind id email host hostname port url uri scheme scope scopes "
    "realm region env variable file path expiry expires format"
)


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a variable, key, parameter or output of this name holds a secret.

    The last words of the name decide, in any case and spelling; a number behind them counts for
    nothing (`API_TOKEN_2`).
    """
    if name in _WORKING_DIRECTORIES:
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    while len(words) > 1 and words[-1].isdigit():
        words.pop()
    if not words:
        return False
    before = words[-2] if len(words) > 1 else ""
    if words[-1] == "tokens":
        return before in _SECRET_TOKENS
    if words[-1] == "token" and before in _TOKENS_OF_TEXTS_AND_LISTS:
        return False
    if words[-1] == "pass":
        return bool(before) and not before.isdigit()
    # `passwords`, `api_keys` and `cookies` hold several.
    singular = words[-1].removesuffix("s")
    letters = "".join(words).removesuffix("s")
    if singular in _SECRET_WORDS or letters.endswith(_SECRET_ENDINGS):
        return True
    return letters.endswith(tuple(f"{kind}key" for kind in _SECRET_KEYS))


def is_plain_name(name: str) -> bool:
    """Whether a key within something secret holds no secret itself, such as `username`."""
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(words) and words[-1] in _NAMES_BESIDE_SECRETS
