"""Which names are secret, and that no form of a secret is left in text, data or a stream."""

from __future__ import annotations

import base64
import json
import urllib.parse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtoy_dagster.flow.sensitive import FlowSecrets, secret_outputs
from flowtoy_dagster.load import load_flow
from flowtoy_dagster.secrets import (
    HIDDEN,
    SHORTEST,
    Mask,
    forms_of,
    is_secret_name,
    is_secret_variable,
    secret_values_in,
    texts_in,
)

SECRET = 'h0r$e "battery" sta/ple+ü\\'

# Nothing that could be part of the mask's own sign, so that what is found is what was left.
secrets = st.text(
    st.characters(exclude_characters="*", exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")),
    min_size=SHORTEST, max_size=20,
)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def shape_of(value: Any) -> Any:
    """The structure of JSON data, without its scalars and the text of its keys."""
    if isinstance(value, dict):
        return [shape_of(item) for item in value.values()]
    if isinstance(value, list):
        return [shape_of(item) for item in value]
    return "scalar"


@pytest.mark.parametrize(
    "name",
    ["PASSWORD", "db_password", "Passwd", "SECRET_SAUCE", "GITHUB_TOKEN", "api_key", "API-KEY",
     "x-api-key", "ApiKey", "private_key", "AWS_CREDENTIALS", "db_pw", "PW", "ssh_key",
     "Authorization", "authorization", "Proxy-Authorization"],
)
def test_names_of_secrets(name: str) -> None:
    # language 13.1
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "user", "monkey", "keys", "keyboard", "pwd", "PWD", "url", "pass_to"]
)
def test_names_of_what_is_no_secret(name: str) -> None:
    # language 13.1
    assert not is_secret_name(name)


def test_key_alone_is_a_secret_variable_but_no_secret_key() -> None:
    # language 13.1
    assert is_secret_variable("KEY")
    assert not is_secret_name("key")


def test_values_under_secret_keys_at_any_depth() -> None:
    # language 13.1
    found = secret_values_in(
        {
            "url": "http://plain",
            "api_key": "first secret",
            "headers": {"Authorization": "Bearer second", "Accept": "text/plain"},
            "list": [{"credentials": {"user": "third", "pins": [12345, 99, None, True]}}],
        }
    )
    assert set(found) == {"first secret", "Bearer second", "third", "12345"}


def test_values_of_less_than_four_characters_are_not_masked() -> None:
    # language 13.1
    assert list(texts_in(["abc", "abcd", 123, 1234])) == ["abcd", "1234"]
    mask = Mask(["abc", ""])
    assert not mask
    assert mask.text("abc") == "abc"
    assert mask.including(["abcd"]).text("abc abcd") == "abc ***"


def forms(value: str) -> dict[str, str]:
    """The forms that the rule names, made as others make them."""
    data = value.encode()
    return {
        "plain": value,
        "base64": base64.b64encode(data).decode(),
        "base64 without padding": base64.b64encode(data).decode().rstrip("="),
        "base64 for URLs": base64.urlsafe_b64encode(data).decode(),
        "URL": urllib.parse.quote(value),
        "URL, slashes too": urllib.parse.quote(value, safe=""),
        "form": urllib.parse.quote_plus(value),
        "JSON": json.dumps(value)[1:-1],
        "JSON in UTF-8": json.dumps(value, ensure_ascii=False)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(value))[3:-3],
        "Python": repr(value)[1:-1],
    }


@pytest.mark.parametrize("form", forms(SECRET))
def test_every_form_is_masked(form: str) -> None:
    # language 13.2
    written = forms(SECRET)[form]
    mask = Mask([SECRET])
    assert mask.text(f"before {written} after") == "before *** after"
    assert mask.octets(f"before {written} after".encode()) == b"before *** after"


@pytest.mark.parametrize("prefix", ["", "u", "us", "user", "user:", "user: "])
def test_base64_of_a_text_that_holds_a_secret_is_masked(prefix: str) -> None:
    # language 13.2: `Authorization: Basic …` holds the password in base64 at any offset
    secret = "correct horse battery"
    encoded = base64.b64encode(f"{prefix}{secret} and more".encode()).decode()
    assert HIDDEN in Mask([secret]).text(encoded)
    left = Mask([secret]).text(encoded).split(HIDDEN)
    for part in left:
        whole = part[: len(part) // 4 * 4]
        assert secret[2:-2].encode() not in base64.b64decode(whole)


def test_lines_of_a_secret_are_masked_alone() -> None:
    # language 13.2: a private key is printed line by line
    key = "-----BEGIN KEY-----\nabcdefgh\nijklmnop\n-----END KEY-----\n"
    assert Mask([key]).text("1: abcdefgh\n2: ijklmnop") == "1: ***\n2: ***"
    assert Mask([key]).text(f"<{key.strip()}>") == "<***>"


def test_the_longest_secret_is_masked_first() -> None:
    # language 13.2: nothing is left over of a secret that holds another
    assert Mask(["abcd", "abcdefgh"]).text("abcdefgh abcd") == "*** ***"


def test_numbers_and_keys_are_masked_in_data() -> None:
    # language 13.2
    mask = Mask(["12345", "token-1"])
    found = mask.data({"pin": 12345, "is token-1": [1234, 12345.5, True, None], "n": 1})
    assert found == {"pin": "***", "is ***": [1234, "***", True, None], "n": 1}


# language 13.2
@given(value=values, known=st.lists(secrets, max_size=3))
def test_masked_data_is_json_of_the_same_shape(value: Any, known: list[str]) -> None:
    text = json.dumps(Mask(known).data(value))
    hidden = json.loads(text)
    if not _keys_fall_together(value, known):
        assert shape_of(hidden) == shape_of(value)


def _keys_fall_together(value: Any, known: list[str]) -> bool:
    """Whether two keys of one mapping are the same when they are masked."""
    if isinstance(value, dict):
        masked = {Mask(known).text(key) for key in value}
        return len(masked) < len(value) or any(
            _keys_fall_together(item, known) for item in value.values()
        )
    return isinstance(value, list) and any(_keys_fall_together(item, known) for item in value)


# language 13.2
@given(secret=secrets, before=texts, after=texts)
def test_masked_text_holds_no_form(secret: str, before: str, after: str) -> None:
    mask = Mask([secret])
    for form in forms(secret).values():
        hidden = mask.text(before + form + after)
        for other in forms_of(secret):
            assert other not in hidden
        assert HIDDEN in hidden


# language 13.2
@given(secret=secrets, padding=st.lists(texts, min_size=2, max_size=4), data=st.data())
def test_a_stream_in_parts_is_masked_as_a_whole(
    secret: str, padding: list[str], data: st.DataObject
) -> None:
    written = data.draw(st.sampled_from(sorted(forms_of(secret))))
    whole = written.join(padding).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    mask = Mask([secret])
    held, out = b"", b""
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        part = held + whole[start:end]
        count = mask.held_back(part)
        held = part[len(part) - count :]
        out += mask.octets(part[: len(part) - count])
    out += mask.octets(held)
    for form in forms_of(secret):
        assert form.encode() not in out
    if len(padding) == 2 and not any(padding):
        assert out == HIDDEN.encode()


def test_only_what_may_begin_a_secret_is_held_back() -> None:
    mask = Mask(["secret"])
    assert mask.held_back(b"no") == 0
    assert mask.held_back(b"a se") == 2
    assert mask.held_back(b"a secre") == 5
    assert mask.held_back(b"") == 0
    assert Mask().held_back(b"anything") == 0


def flow_with(text: dict[str, Any]) -> FlowSecrets:
    step = {"name": "one", "source": "process", "input": {"command": "true"}}
    return FlowSecrets(load_flow({"flow": [step], **text}))


def test_variables_of_env_sources_and_templates_are_secret_by_their_names() -> None:
    # language 13.1
    environment = {"DB_PASSWORD": "pass-1", "MY_TOKEN": "token-1", "TEAM": "blue-team",
                   "OTHER_SECRET": "never named"}
    flow = flow_with({
        "sources": {"vars": {"type": "env", "vars": ["DB_PASSWORD", "TEAM"]}},
        "flow": [{"name": "a", "source": "process",
                  "input": {"command": ["echo", "{{ env.MY_TOKEN }} {{ env.TEAM }}"]}}],
    })
    assert flow.mask(environment).values == {"pass-1", "token-1"}


def test_where_any_variable_may_be_read_every_secret_one_is_hidden() -> None:
    # language 13.1
    flow = flow_with({
        "flow": [{"name": "a", "source": "process",
                  "input": {"command": ["echo", "{{ env[run.name] }}"]}}],
    })
    environment = {"DB_PASSWORD": "pass-1", "TEAM": "blue-team"}
    assert flow.mask(environment).values == {"pass-1"}


def test_written_secrets_are_hidden_and_so_are_the_credentials_in_them() -> None:
    # language 13.1
    flow = flow_with({
        "sources": {"api": {"type": "rest", "url": "http://x",
                            "headers": {"Authorization": "Bearer abc-123"},
                            "auth": {"basic": {"username": "me", "password": "{{ env.PW }}"}}}},
    })
    assert flow.mask({}).values == {"Bearer abc-123", "abc-123"}
    assert flow.mask({"PW": "from the environment"}).values >= {"from the environment"}


def test_outputs_say_which_of_them_are_secret() -> None:
    # language 7.4
    flow = load_flow({"flow": [{
        "name": "one", "source": "process", "input": {"command": "true"},
        "output": [{"name": "open", "value": "stdout"},
                   {"name": "hidden", "value": "stdout", "secret": True}],
    }]})
    assert secret_outputs(flow, "one") == {"hidden"}
