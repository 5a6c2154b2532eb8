"""Which names are secret, and that no form of a secret is left in text, data or a stream."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import urllib.parse
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_values import json_values

from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets, secret_outputs
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.masking.mask import (
    HIDDEN,
    Mask,
    hide,
    secret_values_in,
    texts_in,
)
from flowtoy_dagster.masking.names import is_secret_name

SECRET = 'h0r$e "battery" sta/ple+ü&\\ it\'s'

# Nothing that could be part of the mask's own sign, so that what is found is what was left.
secrets = st.text(
    st.characters(exclude_characters="*", exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")),
    min_size=8, max_size=20,
).filter(lambda secret: Mask([secret]).values)  # words that everybody knows are none
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
values = json_values(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    texts, max_size=4, max_leaves=12,
)


def shape_of(value: Any) -> Any:
    """The structure of JSON data, without its texts."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape_of(item) for item in value]
    return "text" if isinstance(value, str) else value


@pytest.mark.parametrize(
    "name",
    ["PASSWORD", "db_password", "Passwd", "GITHUB_TOKEN", "api_key", "API-KEY", "x-api-key",
     "ApiKey", "apiKEY", "apikey", "private_key", "AWS_CREDENTIALS", "credential", "db_pw", "PW",
     "MYSQL_PWD", "pwd", "ssh_key", "Authorization", "authorization", "Proxy-Authorization",
     "AWS_SECRET_ACCESS_KEY", "clientSecret", "client.secret", "signing_key", "encryption-key",
     "EncryptionKey", "PGPASSWORD", "authtoken", "accessToken", "API_TOKEN_2", "password1",
     "passwords", "api_keys", "secrets", "access_tokens", "passphrase", "bearer", "Set-Cookie",
     "cookies", "jwt", "DB_PASS", "Ocp-Apim-Subscription-Key", "account key",
     "AZURE_STORAGE_CONNECTION_STRING", "frontend_token", "csrf_token", "session_token"],
)
def test_names_of_secrets(name: str) -> None:
    # language 13.1
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "user", "monkey", "keys", "key", "KEY", "keyboard", "PWD", "OLDPWD", "url",
     "pass_to", "pass", "max_tokens", "prompt_tokens", "tokens", "token_count", "token_type",
     "token_url", "primary_key", "sort_key", "foreign_key", "public_key", "cache_key",
     "idempotency_key", "next_page_token", "nextPageToken", "page_token", "continuation_token",
     "next_token", "password_file", "secret_name", "token_service", "app_secrets_file",
     "auth_credentials_url", "SECRET_SAUCE", "AWS_ACCESS_KEY_ID", "session_id", "compass",
     "bypass", "author", "tokenizer", "passenger", "secretary", ""],
)
def test_names_of_what_is_no_secret(name: str) -> None:
    # language 13.1
    assert not is_secret_name(name)


def test_values_under_secret_keys_at_any_depth() -> None:
    # language 13.1: not switches, not who somebody is
    found = secret_values_in(
        {
            "url": "http://plain",
            "api_key": "first secret",
            "max_tokens": "4096 of them",
            "headers": {"Authorization": "Bearer second", "Accept": "text/plain"},
            "list": [{"credentials": {"username": "somebody",
                                      "pins": ["third", 98765, 1.5, None, True]}}],
        }
    )
    assert set(found) == {"first secret", "Bearer second", "second", "third", "98765"}


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgres://me:pa55-word@db.example.com:5432/shop", "pa55-word"),
        ("see amqp://u:p%40ss-word@host/ for more", "p@ss-word"),
        ("https://ghp_0123456789abcdef@github.com/a/b", "ghp_0123456789abcdef"),
        ("http://h/path?page=2&api_key=abcd-1234&x=1", "abcd-1234"),
        ("host=db user=me password='pass word'", "pass word"),
        ("AccountName=shop;AccountKey=ab+cd/12==;Suffix=x", "ab+cd/12=="),
        ("http://me:pass#word-1@db.example.com/x", "pass#word-1"),
        ("amqp://me:pass/word?1@host/vhost", "pass/word?1"),
    ],
)
def test_secrets_within_a_text(text: str, secret: str) -> None:
    # language 13.1
    assert secret in set(secret_values_in({"value": text}))


@pytest.mark.parametrize(
    "text",
    ["https://example.com/a?page=2", "ssh://git@github.com/a/b", "user@example.com",
     "postgres://me@db/shop", "https://u:{{ env.PW }}@host/", "curl -H password=$PASSWORD",
     "a=b c=d", "max_tokens=4096"],
)
def test_texts_without_secrets(text: str) -> None:
    # language 13.1
    assert [value for value in secret_values_in([text]) if value] == []


def test_what_a_header_carries_is_a_secret_without_its_scheme() -> None:
    # language 13.1
    pair = base64.b64encode(b"me:pa55-word").decode()
    assert set(secret_values_in({"authorization": f"Basic {pair}"})) >= {pair, "pa55-word"}


def test_short_values_and_everyday_words_are_not_masked() -> None:
    # language 13.1
    assert list(texts_in(["abc", "abcd", 123456, True])) == ["abcd"]
    assert list(texts_in(123456)) == ["123456"]
    assert list(texts_in({"pin": 10_000_000, "of": [-98765432]})) == ["10000000", "-98765432"]
    assert list(texts_in([9_999_999, 12345678.5, True])) == []
    mask = Mask(["abc", "", "true", "Password", "localhost", "test"])
    assert not mask
    assert mask.text("abc true password") == "abc true password"
    assert mask.including(["abcd"]).text("abc abcd") == "abc ***"


def test_a_short_word_or_number_is_masked_only_where_it_stands_alone() -> None:
    # language 13.1
    mask = Mask(["horse", "1234", "s3cr3t"])
    assert mask.text("horseback 12345 horse, =1234; xs3cr3tx") == (
        "horseback 12345 ***, =***; x***x"
    )


def forms(value: str) -> dict[str, str]:
    """The forms that the rule names, made as others make them."""
    data = value.encode()
    written = json.dumps(value)[1:-1]
    percent = urllib.parse.quote(value, safe="")
    return {
        "plain": value,
        "base64": base64.b64encode(data).decode(),
        "base64 without padding": base64.b64encode(data).decode().rstrip("="),
        "base64 for URLs": base64.urlsafe_b64encode(data).decode(),
        "base64 of UTF-16": base64.b64encode(value.encode("utf-16-le")).decode(),
        "base64 twice": base64.b64encode(base64.b64encode(data)).decode(),
        "hexadecimal": data.hex(),
        "hexadecimal of UTF-16": value.encode("utf-16-le").hex(),
        "URL": urllib.parse.quote(value),
        "URL, slashes too": percent,
        "URL, in small letters": re.sub("%..", lambda match: match[0].lower(), percent),
        "URL, as encodeURIComponent": urllib.parse.quote(value, safe="!'()*"),
        "URL, every character": "".join(f"%{byte:02X}" for byte in data),
        "URL, twice": urllib.parse.quote(percent),
        "form": urllib.parse.quote_plus(value),
        "JSON": written,
        "JSON in UTF-8": json.dumps(value, ensure_ascii=False)[1:-1],
        "JSON, slashes too": written.replace("/", "\\/"),
        "JSON, as Go and Rails": written.replace("&", "\\u0026").replace("+", "\\u002B"),
        "JSON in JSON": json.dumps(json.dumps(value))[3:-3],
        "JSON in JSON in JSON": json.dumps(json.dumps(json.dumps(value)))[7:-7],
        "JSON in a URL": urllib.parse.quote(written),
        "HTML": html.escape(value),
        "HTML, decimal": "".join(f"&#{ord(c)};" for c in value),
        "HTML, hexadecimal": "".join(f"&#x{ord(c):X};" for c in value),
        "HTML, named": value.replace("&", "&amp;").replace("ü", "&uuml;"),
        "Python": repr(value)[1:-1],
        "Python, ASCII": ascii(value)[1:-1],
        "Python, bytes": repr(data)[2:-1],
        "shell": value.replace("'", "'\\''"),
        "shell, as shlex": shlex.quote(value)[1:-1] if "'" in value else value,
        "shell, with backslashes": re.sub(r"([^\w])", r"\\\1", value),
        "shell, $'…'": "".join(
            f"\\{byte:03o}" if byte > 126 else "\\" * (byte in b"\\'") + chr(byte)
            for byte in data
        ),
        "CSV": value.replace('"', '""'),
        "SQL and YAML": value.replace("'", "''"),
    }


# language 13.2
@pytest.mark.parametrize("taken", ["latin-1", "cp1252"])
@pytest.mark.parametrize("secret", ["schlüssel-4711-geheim", "pä", "pass€word", "日本語のひみつ"])
def test_a_secret_in_utf8_that_was_read_as_latin_1_is_masked(secret: str, taken: str) -> None:
    # Servers read the headers of a request so, and echo them.
    secret += "-key"
    seen = secret.encode().decode(taken, "replace")
    mask = Mask([secret])
    for written in (seen, json.dumps(seen)[1:-1], urllib.parse.quote(seen)):
        assert mask.text(f"bad key {written}, None") == "bad key ***, None"
    encoded = base64.b64encode(seen.encode()).decode()
    assert encoded[:-4] not in mask.text(f"as {encoded}")


# language 13.2
@pytest.mark.parametrize("name", ["a", "of", "bot", "robo"])
def test_a_password_of_a_registry_is_masked_in_base64_of_base64(name: str) -> None:
    pair = base64.b64encode(f"{name}:{SECRET}".encode()).decode()
    config = json.dumps({"auths": {"registry": {"auth": pair}}})
    shown = Mask([SECRET]).text(base64.b64encode(config.encode()).decode())
    left = base64.b64encode(base64.b64encode(SECRET.encode())).decode()
    assert "***" in shown
    assert not any(left[start : start + 12] in shown for start in range(len(left) - 12))


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


def test_only_texts_are_masked_in_data() -> None:
    # language 13.2: keys, numbers, true and false stay
    mask = Mask(["12345", "token-1", "token-2"])
    value = {"token-1": "token-1", "token-2": [12345, True, None, "is token-2"], "pin": "12345"}
    assert mask.data(value) == {
        "token-1": "***", "token-2": [12345, True, None, "is ***"], "pin": "***"
    }


def test_nothing_is_left_of_a_value_that_is_secret_as_a_whole() -> None:
    # language 7.4: but its shape and its keys
    value = {"user": "ab", "pins": [1, True, None], "more": {}}
    assert hide(value) == {"user": "***", "pins": ["***", "***", None], "more": {}}


# language 13.2
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=values, known=st.lists(secrets, max_size=3))
def test_masked_data_is_json_of_the_same_shape(value: Any, known: list[str]) -> None:
    hidden = json.loads(json.dumps(Mask(known).data(value)))
    assert shape_of(hidden) == shape_of(value)


# language 13.2
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(secret=secrets, before=texts, after=texts, name=st.sampled_from(sorted(forms(SECRET))))
def test_masked_text_holds_no_form(secret: str, before: str, after: str, name: str) -> None:
    form = forms(secret)[name]
    hidden = Mask([secret]).text(f"{before} {form} {after}")
    assert HIDDEN in hidden
    assert form not in hidden


# language 13.2
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    secret=secrets, padding=st.lists(texts, min_size=2, max_size=4), data=st.data(),
    more=st.lists(secrets, max_size=2),
)
def test_a_stream_in_parts_is_masked_as_a_whole(
    secret: str, padding: list[str], data: st.DataObject, more: list[str]
) -> None:
    written = data.draw(st.sampled_from(sorted(forms(secret).values())))
    whole = f" {written} ".join(padding).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    mask = Mask([secret, *more])
    held, out = b"", b""
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        part = held + whole[start:end]
        count = mask.held_back(part)
        held = part[len(part) - count :]
        out += mask.octets(part[: len(part) - count])
    out += mask.octets(held)
    assert written.encode() not in out
    assert HIDDEN.encode() in out


@pytest.mark.parametrize("form", forms(SECRET))
def test_a_stream_that_is_cut_anywhere_is_masked(form: str) -> None:
    # language 13.2
    mask = Mask([SECRET])
    written = forms(SECRET)[form].encode()
    for cut in range(len(written) + 1):
        first = b"before " + written[:cut]
        count = mask.held_back(first)
        out = mask.octets(first[: len(first) - count])
        rest = first[len(first) - count :] + written[cut:] + b" after"
        # The padding of base64 may come when the secret is gone.
        whole = (out + mask.octets(rest)).replace(b"***=", b"***").replace(b"***=", b"***")
        assert whole == b"before *** after", (cut, first)


def test_base64_in_lines_is_masked() -> None:
    # language 13.2
    secret = "correct horse battery staple " * 5
    whole = b"user: me, password: " + secret.encode() + b", and more of it"
    mask = Mask([secret])
    for width, end in ((76, b"\n"), (64, b"\r\n"), (76, b"\n    ")):
        encoded = base64.b64encode(whole)
        lines = end.join(encoded[i : i + width] for i in range(0, len(encoded), width))
        hidden = mask.octets(lines)
        assert HIDDEN.encode() in hidden
        for part in hidden.split(HIDDEN.encode()):
            for line in part.split():
                assert b"horse" not in base64.b64decode(line[: len(line) // 4 * 4])


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-16-be"])
def test_other_encodings_are_masked(encoding: str) -> None:
    # language 13.2
    data = SECRET.encode(encoding)
    hidden = Mask([SECRET]).octets(b"<" + data + b">")
    assert HIDDEN.encode() in hidden
    assert "battery".encode(encoding) not in hidden
    if encoding == "latin-1":
        # What becomes of it where it is taken for UTF-8.
        assert Mask([SECRET]).text(data.decode("utf-8", "replace")) == HIDDEN


def test_a_variable_that_is_not_utf8_is_masked() -> None:
    # language 13.1: as the environment has it
    octets = b"pass-\xff\xfe-word"
    mask = Mask([octets.decode("utf-8", "surrogateescape")])
    assert mask.octets(b"<" + octets + b">") == b"<***>"
    assert mask.text(f"<{octets.decode('utf-8', 'replace')}>") == "<***>"
    assert mask.text(f"<{octets.decode('utf-8', 'surrogateescape')}>") == "<***>"
    assert mask.text(f"<{octets!r}>") == "<b'***'>"


def test_what_is_no_secret_stays() -> None:
    # language 13.2
    mask = Mask([SECRET, "tok-0123456789", "correct horse"])
    text = (
        "100% of A&B's \"data\" in C:\\new\\u2 &amp; more; it's '' \\' fine %41%42%43%44 "
        "YWJjZGVmZ2g= a+b=c correct horses tok-012345678\n"
    )
    assert mask.text(text) == text.replace("correct horse", "***")
    assert mask.octets(bytes(range(256)) * 4) == bytes(range(256)) * 4


def test_a_text_is_masked_before_it_is_cut() -> None:
    # language 13.2
    mask = Mask(["tok-0123456789"])
    assert mask.shortened("x" * 10 + "tok-0123456789", 14) == "x" * 10 + "***"
    assert mask.shortened("x" * 10 + "tok-0123456789 and more", 12) == "x" * 10 + "**…"


def test_thousands_of_secrets_are_looked_for_at_once() -> None:
    values = [f"{number:06}-horse/battery+{number * 7919:09}" for number in range(3200)]
    mask = Mask(values)
    text = "nothing to see here, but 000001-horse.\n" * 2000
    assert mask.text(text + values[77]) == text + HIDDEN


def test_only_what_may_begin_a_secret_is_held_back() -> None:
    mask = Mask(["s3cret"])
    assert mask.held_back(b"no") == 0
    assert mask.held_back(b"a s3") == 2
    assert mask.held_back(b"a s3cre") == 5
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
                   {"name": "hidden", "value": "stdout", "secret": True},
                   {"name": "token", "value": "stdout"}, {"name": "apiKey", "value": "stdout"},
                   {"name": "page_token", "value": "stdout"},
                   {"name": "public_token", "value": "stdout", "secret": False}],
    }]})
    assert secret_outputs(flow, "one") == {"hidden", "token", "apiKey"}


@pytest.mark.parametrize(
    ("source", "environment"),
    [
        ({"type": "env", "vars": ["{{ 'MY' }}_TOKEN"]}, {"MY_TOKEN": "tok-1234"}),
        ({"type": "env", "vars": "{{ run.name }}"}, {"MY_TOKEN": "tok-1234"}),
        ({"type": "process", "command": "curl -H \"X: $MY_TOKEN\" localhost", "shell": True},
         {"MY_TOKEN": "tok-1234"}),
        ({"type": "process", "command": ["sh", "-c", "echo ${MY_TOKEN:-none}"]},
         {"MY_TOKEN": "tok-1234"}),
        ({"type": "process", "command": ["python", "-c", "print(os.environ['MY_TOKEN'])"]},
         {"MY_TOKEN": "tok-1234"}),
        ({"type": "process", "command": "printenv"}, {"MY_TOKEN": "tok-1234"}),
        ({"type": "rest", "url": "{{ env.SHOP_URL }}"}, {"SHOP_URL": "http://u:tok-1234@h/"}),
        ({"type": "env", "vars": "DATABASE_URL"}, {"DATABASE_URL": "postgres://u:tok-1234@h/d"}),
        ({"type": "rest", "url": "http://u:tok-1234@h/"}, {}),
        ({"type": "rest", "url": "http://h/?apiKey=tok-1234"}, {}),
    ],
)
def test_sources_of_secrets(source: dict[str, Any], environment: dict[str, str]) -> None:
    # language 13.1
    flow = flow_with({"flow": [{"name": "a", "source": source}]})
    assert "tok-1234" in flow.mask({"OTHER": "x", **environment}).values


def test_names_of_sources_and_steps_make_nothing_secret() -> None:
    # language 13.1
    flow = flow_with({
        "sources": {"token_service": {"type": "process", "command": ["echo", "hello world"]},
                    "app_secrets": {"type": "env", "vars": ["HOME", "API_TOKEN"]},
                    "auth_credentials": {"base_url": "http://plain.example", "type": "rest"}},
        "flow": [{"name": "get_token", "source": "token_service",
                  "output": [{"name": "token", "value": "stdout", "secret": False}]}],
    })
    assert flow.mask({"HOME": "/home/me", "PWD": "/work/here"}).values == set()
    assert flow.mask({"API_TOKEN": "tok-1234"}).values == {"tok-1234"}


@pytest.mark.parametrize("secret", ["\0" * 40, "a\0\0\0", "\0\0\0b", "a\0b\0" * 20])
def test_a_secret_with_zeros_hides_itself_and_nothing_else(secret: str) -> None:
    mask = Mask([secret])
    assert mask.text(f"a banana [{secret}] b") == "a banana [***] b"
    assert mask.octets(f"a banana [{secret}] b".encode("utf-16-le")) != b""
    assert mask.octets(b"a banana b") == b"a banana b"
