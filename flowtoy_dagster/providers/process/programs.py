"""Which words of a command are code to the program that it starts.

Words are texts in which each template is a hole: `\\0`, its number, `\\0`. What has a hole is
known only when the command is run, so it is never taken for an option or for a program's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

HOLE = re.compile("\0(\\d+)\0")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


class CodeWord(NamedTuple):
    """A word that is code.

    Attributes:
        place: its number among the words of the command.
        start: where the code begins in it.
        program: which reads it.
        language: `shell`, `json` (where JSON text is a literal) or `other`.
        passes_variables: whether the program has the environment that the command is given.
        advice: how a value is passed in safety.
    """

    place: int
    start: int
    program: str
    language: str
    passes_variables: bool
    advice: str


class _Options(NamedTuple):
    """How a program reads its command line.

    Attributes:
        code: options whose value is code, as letters and long names.
        valued: other options with a value.
        rest: letters that take what follows them in the same word, if anything.
        operands: how many operands come before what matters.
        mixed: whether options may come after operands.
        switch: the letter that makes code of the first operand.
        ends: whether what follows the code are operands.
    """

    code: frozenset[str] = frozenset()
    valued: frozenset[str] = frozenset()
    rest: frozenset[str] = frozenset()
    operands: int = 0
    mixed: bool = False
    switch: str = ""
    ends: bool = False


def _options(
    code: str = "", valued: str = "", rest: str = "", operands: int = 0, *, mixed: bool = False
) -> _Options:
    names = frozenset(code.split()), frozenset(valued.split()), frozenset(rest.split())
    return _Options(*names, operands, mixed)


class _Interpreter(NamedTuple):
    """A program that reads code.

    Attributes:
        first: its first operand is code, where no option gives any.
        files: its first operand is a file of code.
        on_stdin: how a value is passed in safety to code that it reads from stdin; empty where it
            reads none.
    """

    options: _Options
    advice: str
    first: bool = False
    language: str = "other"
    files: bool = False
    on_stdin: str = ""


SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})
_FOR_SHELLS = (
    """write "$1" in the script and give the value after it: sh -c '… "$1" …' sh {{ … }}"""
)
_QUOTE = "quote it for that shell, within the quotes of its script: '… {{ … | shquote }} …'"
_SHELL = _Interpreter(
    _Options(valued=frozenset("oO"), switch="c"), _FOR_SHELLS, language="shell", files=True,
    on_stdin="""write "$1" in the script and give the value to the command: [sh, -s, '{{ … }}']""",
)
_BY_NAME = ":'name' in SQL on stdin or in a file, with the value in -v name={{ … }}"
_PSQL = _Interpreter(
    _options(
        "c command", "d f F h L o p P R T U v dbname file field-separator host log-file output "
        "port pset record-separator table-attr username variable set", mixed=True,
    ),
    f"write {_BY_NAME}: psql fills in no variables in -c",
    on_stdin=f"write {_BY_NAME}",
)
_NO_VARIABLES = "the client has no variables for values: make it a number ({{ … | int }}), or "
_MYSQL = _Interpreter(
    _options(
        "e execute", "u h P D S user host port database socket default-character-set "
        "defaults-file defaults-extra-file init-command", "p", mixed=True,
    ),
    _NO_VARIABLES + "load the value from a file",
    on_stdin=_NO_VARIABLES + "load the value from a file",
)
_IN_PYTHON = _NO_VARIABLES + "write ? in SQL of a Python program"
_SQLITE = _Interpreter(
    _options(operands=1, mixed=True), _IN_PYTHON, first=True, on_stdin=_IN_PYTHON
)
_DUCKDB = _Interpreter(
    _options("c", operands=1, mixed=True), _IN_PYTHON, first=True, on_stdin=_IN_PYTHON
)
_AWK = _Interpreter(
    _options("e source", "F v f file assign field-separator i include"),
    "give it as a variable in 'env', and read it in the program: ENVIRON[\"NAME\"]",
    first=True,
)
_NODE = _Interpreter(
    _options("e p eval print", "r require import C conditions"),
    "write process.argv[1] in the program and give the value after it, or {{ … | tojson }}",
    language="json",
)
_INTERPRETERS = {
    **dict.fromkeys(SHELLS, _SHELL),
    **dict.fromkeys(
        ("fish", "csh", "tcsh"),
        _Interpreter(_options("c command"), "write $argv[1] and give the value after the script"),
    ),
    "psql": _PSQL,
    **dict.fromkeys(("mysql", "mariadb"), _MYSQL),
    "sqlite": _SQLITE,
    "duckdb": _DUCKDB,
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), _AWK),
    **dict.fromkeys(
        ("sed", "gsed"),
        _Interpreter(
            _options("e expression", "f file l line-length", "i", mixed=True),
            "sed has no variables: use awk with ENVIRON[\"NAME\"], or a filter of the template",
            first=True,
        ),
    ),
    "perl": _Interpreter(
        _options("e E", "I", "i M m F C D d x 0"),
        "write $ARGV[0] in the program and give the value after it",
    ),
    **dict.fromkeys(
        ("python", "pypy"),
        _Interpreter(
            _Options(frozenset("c"), frozenset("WX"), ends=True),
            "write sys.argv[1] in the program and give the value after it, or {{ … | tojson }}",
            language="json",
            files=True,
            on_stdin="write sys.argv[1] and give it to the command: [python, '-', '{{ … }}']",
        ),
    ),
    **dict.fromkeys(("node", "nodejs"), _NODE),
    "ruby": _Interpreter(
        _options("e", "I r C E", "i F x 0 K W T"),
        "write ARGV[0] in the program and give the value after it",
    ),
    "php": _Interpreter(
        _options("r run B process-begin R process-code E process-end", "c d f"),
        "write $argv[1] in the program and give the value after it",
    ),
    "lua": _Interpreter(_options("e", "l"), "give it as a variable in 'env': os.getenv('NAME')"),
    "jq": _Interpreter(
        _options("", "f from-file L indent", mixed=True),
        "give it as an argument: jq --arg name {{ … }} '… $name …'",
        first=True,
        language="json",
    ),
    **dict.fromkeys(
        ("su", "runuser"),
        _Interpreter(
            _options("c command session-command", "s shell g group G u w", mixed=True),
            _QUOTE,
            language="shell",
        ),
    ),
}
_PAIRS = {"jq": {"arg": 2, "argjson": 2, "slurpfile": 2, "rawfile": 2}}
"""Long options with more than one value."""
_JOINED = {
    "eval": _options(),
    "ssh": _options("", "b c D E e F I i J L l m O o p Q R S W w B P", operands=1),
    "watch": _options("", "n interval"),
}
"""Programs that join their operands to a script for a shell."""
_PREFIXES = {
    "env": _options("", "u unset C chdir"),
    "timeout": _options("", "s signal k kill-after", operands=1),
    "nice": _options("", "n adjustment"),
    "ionice": _options("", "c class n classdata"),
    "stdbuf": _options("", "i input o output e error"),
    "time": _options("", "f format o output"),
    "exec": _options("", "a"),
    "xargs": _options(
        "", "I L n P s d E a max-args max-procs max-chars delimiter arg-file", "i e l"
    ),
    "flock": _options("c command", "w wait timeout E conflict-exit-code", operands=1),
    "taskset": _options(operands=1),
    "chrt": _options(operands=1),
    "chroot": _options(operands=1),
    "sudo": _options("", "u user g group h host p prompt C r role t type T U D chdir R chroot"),
    "doas": _options("", "u C"),
    **dict.fromkeys(("nohup", "setsid", "command", "builtin", "busybox", "unbuffer"), _options()),
}
"""Programs that start another, which follows their options and operands."""
_CLEARS_VARIABLES = frozenset({"sudo", "doas", "chroot"})
_ELSEWHERE = frozenset({"docker", "podman", "kubectl", "nsenter", "systemd-run", "strace"})
"""Programs that start another after options too many to know: the first known one is taken."""
_FIND_ACTIONS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})


def code_words(words: Sequence[str]) -> Iterator[CodeWord]:
    """The words of a command that are code to a program which it starts."""
    yield from _code_words(words, 0, True)


def reader_of_stdin(words: Sequence[str]) -> tuple[str, str, str] | None:
    """The program that reads its code from stdin, its language, and the advice; None for others."""
    if not words or HOLE.search(words[0]):
        return None
    name = words[0].rpartition("/")[2]
    known = _interpreter(name)
    if known is None or not known.on_stdin:
        return None
    code, operands = _read(words, 1, known.options)
    given = len(operands) > known.options.operands and known.first
    if known.files:
        given = any(words[index] != "-" for index in operands[:1]) and "-s" not in words
        given = given or "-m" in words
    if code or given or _has_file(words, 0, len(words), known):
        return None
    return name, known.language, known.on_stdin


def _code_words(words: Sequence[str], at: int, passes: bool) -> Iterator[CodeWord]:
    if at >= len(words) or HOLE.search(words[at]):
        return
    name = words[at].rpartition("/")[2]
    known = _interpreter(name)
    if known is not None:
        yield from _interpreted(words, at, name, known, passes)
    elif name in _JOINED:
        _, operands = _read(words, at + 1, _JOINED[name])
        for index in operands[_JOINED[name].operands :]:
            yield CodeWord(index, 0, name, "shell", False, _QUOTE)
    elif name == "find":
        yield from _in_actions(words, at, passes)
    elif name in _PREFIXES:
        yield from _prefixed(words, at, name, passes)
    elif name in _ELSEWHERE:
        others = range(at + 1, len(words))
        begin = next((i for i in others if _interpreter(words[i].rpartition("/")[2])), len(words))
        yield from _code_words(words, begin, False)


def _in_actions(words: Sequence[str], at: int, passes: bool) -> Iterator[CodeWord]:
    """The same for what `find` starts."""
    for index in range(at + 1, len(words)):
        if words[index] in _FIND_ACTIONS:
            yield from _code_words(words[: _end_of_action(words, index)], index + 1, passes)


def _interpreter(name: str) -> _Interpreter | None:
    found = _INTERPRETERS.get(name)
    return found or _INTERPRETERS.get(re.sub(r"[\d.]+$", "", name))


def _interpreted(
    words: Sequence[str], at: int, name: str, known: _Interpreter, passes: bool
) -> Iterator[CodeWord]:
    code, operands = _read(words, at + 1, known.options, _PAIRS.get(name, {}))
    before = known.options.operands
    if known.first and not code and operands[before:]:
        first = operands[before]
        code = [] if _has_file(words, at, first, known) else [(first, 0)]
    for index, start in code:
        advice = known.advice if passes or known.language != "shell" else _QUOTE
        yield CodeWord(index, start, name, known.language, passes, advice)


def _has_file(words: Sequence[str], at: int, end: int, known: _Interpreter) -> bool:
    """Whether an option names a file that holds the program."""
    if known.files:
        return False
    last = len(words) if known.options.mixed else end
    return any(re.match(r"-[A-Za-z]*f|--(from-)?file", word) for word in words[at + 1 : last])


def _prefixed(words: Sequence[str], at: int, name: str, passes: bool) -> Iterator[CodeWord]:
    options = _PREFIXES[name]
    code, operands = _read(words, at + 1, options)
    for index, start in code:
        yield CodeWord(index, start, name, "shell", False, _QUOTE)
    left = options.operands
    for index in operands:
        if left:
            left -= 1
        elif not _ASSIGNMENT.match(words[index]) and words[index] != "-":
            clears = name in _CLEARS_VARIABLES or (name == "env" and _is_emptied(words[at:index]))
            yield from _code_words(words, index, passes and not clears)
            return


def _is_emptied(words: Sequence[str]) -> bool:
    """Whether these words of `env` leave out the environment."""
    return any(re.fullmatch(r"-|-[a-z0]*i[a-z0]*|--ignore-environment", word) for word in words)


def _end_of_action(words: Sequence[str], at: int) -> int:
    return next((i for i in range(at, len(words)) if words[i] in (";", "+")), len(words))


def _read(
    words: Sequence[str], at: int, options: _Options, pairs: dict[str, int] | None = None
) -> tuple[list[tuple[int, int]], list[int]]:
    """What is code among the options from `at` on, as (word, character), and the operands."""
    code: list[tuple[int, int]] = []
    operands: list[int] = []
    is_switched = False
    while at < len(words):
        word = words[at]
        if word == "--":
            operands.extend(range(at + 1, len(words)))
            break
        if len(word) < 2 or word[0] != "-":
            if not options.mixed:
                operands.extend(range(at, len(words)))
                break
            operands.append(at)
        else:
            is_switched = is_switched or _is_switch(word, options)
            is_code, start = _option(word, options)
            more = (pairs or {}).get(word.removeprefix("--"), 0)
            if start is None:
                at += 1
            if is_code and at < len(words):
                code.append((at, start or 0))
                if options.ends:
                    break
            at += more
        at += 1
    return [(operands[0], 0)] if is_switched and operands else code, operands


def _is_switch(word: str, options: _Options) -> bool:
    letters = re.split(f"[{''.join(options.valued)}\0]", word)[0] if options.switch else ""
    return not word.startswith("--") and options.switch in letters[1:] if letters else False


def _option(word: str, options: _Options) -> tuple[bool, int | None]:
    """Whether a word has an option whose value is code, and where that begins: None: next word.

    An option without a value begins at 0.
    """
    if word.startswith("--"):
        name, equals, _ = word[2:].partition("=")
        is_code = name in options.code
        if is_code or name in options.valued:
            return is_code, len(name) + 3 if equals else None
        return False, 0
    for index, letter in enumerate(word[1:], 1):
        if letter == "\0" or letter in options.rest:
            break
        if letter in options.code or letter in options.valued:
            is_code = letter in options.code
            following = word[index + 1 :]
            attached = following and not (is_code and set(following) <= options.code)
            return is_code, index + 1 if attached else None
    return False, 0
