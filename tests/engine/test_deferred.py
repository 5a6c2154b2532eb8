"""Modules that are imported when something of them is used."""

import importlib
import json
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.sql.base import DialectKWArgs

from flowtoy_dagster.engine.executors.warm.loading.lazy_dialects import INDEX_OPTIONS, index_options
from flowtoy_dagster.engine.executors.warm.loading.lazy_imports import deferred, without_contents

NEVER = (
    "alembic", "structlog", "mako", "rich", "pygments", "tqdm", "filelock", "docstring_parser",
    "fsspec", "upath", "dagster._daemon", "dagster._utils.schedules", "dagster._vendored.croniter",
    "sqlalchemy.dialects.mysql", "sqlalchemy.dialects.postgresql",
)  # fmt: skip
"""What a run on SQLite imports nothing of."""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that says when it is imported, and two modules that use it."""
    package = tmp_path / "heavy_library"
    package.mkdir()
    (package / "__init__.py").write_text("import loaded_modules\nloaded_modules.names.append(1)\n"
                                         "def logger(name):\n    return Logger(name)\n"
                                         "class Logger:\n"
                                         "    def __init__(self, name): self.name = name\n"
                                         "    def say(self, what): return f'{self.name}: {what}'\n")
    (package / "tools.py").write_text("class Tool:\n    size = 3\n"
                                      "    @classmethod\n    def make(cls, size):\n"
                                      "        tool = cls()\n        tool.size = size\n"
                                      "        return tool\n"
                                      "def double(x): return 2 * x\n")
    (tmp_path / "loaded_modules.py").write_text("names = []\n")
    (tmp_path / "early_user.py").write_text(
        "import heavy_library\nfrom heavy_library.tools import Tool, double\n"
        "log = heavy_library.logger(__name__)\ndef use(tool: Tool) -> Tool: return double(tool)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("heavy_library", "heavy_library.tools", "early_user", "loaded_modules"):
        sys.modules.pop(name, None)


def early_user() -> types.ModuleType:
    with deferred("heavy_library", "heavy_library.tools"):
        return importlib.import_module("early_user")


def test_a_deferred_module_is_imported_when_it_is_used(library: Path) -> None:
    user = early_user()
    loaded = importlib.import_module("loaded_modules").names
    assert loaded == []
    assert user.use(21) == 42
    assert loaded == [1]
    assert user.Tool.make(5).size == 5
    assert user.Tool().size == 3


def test_what_was_called_while_imports_are_deferred_works_afterwards(library: Path) -> None:
    assert early_user().log.say("hello") == "early_user: hello"


def test_others_import_the_real_module_afterwards(library: Path) -> None:
    early_user()
    assert "heavy_library" not in sys.modules
    assert importlib.import_module("heavy_library.tools").double(4) == 8


def test_a_module_that_is_there_already_is_not_deferred(library: Path) -> None:
    real = importlib.import_module("heavy_library")
    user = early_user()
    assert user.heavy_library is real


def test_a_module_of_a_package_is_imported_without_what_the_package_imports(library: Path) -> None:
    with without_contents("heavy_library"):
        tools = importlib.import_module("heavy_library.tools")
    loaded = importlib.import_module("loaded_modules").names
    assert (tools.double(4), loaded) == (8, [])
    assert "heavy_library" not in sys.modules
    whole = importlib.import_module("heavy_library")
    assert (whole.logger("a").say("b"), loaded) == ("a: b", [1])
    assert importlib.import_module("heavy_library.tools") is tools


def test_a_package_that_is_there_already_keeps_its_contents(library: Path) -> None:
    real = importlib.import_module("heavy_library")
    with without_contents("heavy_library"):
        assert importlib.import_module("heavy_library") is real
    assert sys.modules["heavy_library"] is real


def in_a_new_python(code: str) -> str:
    """What it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", INDEX_OPTIONS)
def test_the_options_of_an_index_are_those_of_the_dialect(name: str) -> None:
    """Else an index that was made before the dialect was imported could not be written."""
    dialect = importlib.import_module(f"sqlalchemy.dialects.{name}").dialect
    options = dict(dialect.construct_arguments)[sqlalchemy.Index]
    # What SQLAlchemy only reads from a database is no option of an index that is made.
    only_read = {key for key, value in options.items() if "REFLECTED_ONLY" in str(value)}
    assert {key: options[key] for key in options.keys() - only_read} == INDEX_OPTIONS[name]


def test_an_index_has_its_options_where_its_dialect_is_imported_later() -> None:
    code = (
        "import sys, sqlalchemy as db\n"
        "from sqlalchemy.schema import CreateIndex\n"
        "from flowtoy_dagster.engine.executors.warm.loading.lazy_dialects import index_options\n"
        "def index():\n"
        "    column = db.Table('t', db.MetaData(), db.Column('a', db.String)).c.a\n"
        "    return db.Index('i', column, mysql_length=64, postgresql_where=column != 'x')\n"
        "with index_options():\n"
        "    early = index()\n"
        "assert 'sqlalchemy.dialects.mysql' not in sys.modules\n"
        "from sqlalchemy.dialects import mysql, postgresql\n"
        "for dialect in (mysql.dialect(), postgresql.dialect()):\n"
        "    written = [str(CreateIndex(i).compile(dialect=dialect)) for i in (early, index())]\n"
        "    assert written[0] == written[1], written\n"
        "    print(written[0])\n"
    )
    assert in_a_new_python(code).splitlines() == [
        "CREATE INDEX i ON t (a(64))", "CREATE INDEX i ON t (a) WHERE a != 'x'"
    ]  # fmt: skip


def test_tables_of_others_have_all_options_of_their_dialect_afterwards() -> None:
    code = (
        "import sqlalchemy as db\n"
        "import flowtoy_dagster.engine.executors.warm.preload\n"
        "db.Table('t', db.MetaData(), db.Column('a', db.String), mysql_engine='InnoDB',\n"
        "         postgresql_tablespace='fast')\n"
        "print('made')"
    )
    assert in_a_new_python(code) == "made\n"


def test_other_versions_of_sqlalchemy_import_their_dialects(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DialectKWArgs, "_kw_registry", {})
    monkeypatch.setattr(sqlalchemy, "__version__", "2.10.0")
    with index_options():
        assert DialectKWArgs._kw_registry == {}
    monkeypatch.setattr(sqlalchemy, "__version__", "2.1.9")
    with index_options():
        assert DialectKWArgs._kw_registry.keys() == INDEX_OPTIONS.keys()
    assert DialectKWArgs._kw_registry == {}


def test_dagsters_daemon_works_in_a_process_that_has_deferred_it() -> None:
    code = (
        "import flowtoy_dagster.engine.executors.warm.preload\n"
        "import dagster._daemon\n"
        "from dagster._daemon.types import DaemonHeartbeat\n"
        "from dagster._core.storage.runs.base import DaemonHeartbeat as stored\n"
        "print(dagster._daemon.DaemonHeartbeat is DaemonHeartbeat is stored)"
    )
    assert in_a_new_python(code) == "True\n"


def test_workers_preload_without_what_runs_never_use() -> None:
    code = (
        "import sys, json\nimport flowtoy_dagster.engine.executors.warm.preload\n"
        f"print(json.dumps([n for n in {NEVER!r} if n in sys.modules]))"
    )
    assert json.loads(in_a_new_python(code)) == []


def test_a_home_is_made_and_migrated_by_a_process_that_deferred_it(tmp_path: Path) -> None:
    code = (
        "import flowtoy_dagster.engine.executors.warm.preload\n"
        "from flowtoy_dagster.runs.history import History\n"
        "from pathlib import Path\n"
        f"history = History(Path({str(tmp_path / 'home')!r}))\n"
        "history.instance.upgrade()\n"
        "print(len(history.runs()))"
    )
    assert in_a_new_python(code).splitlines()[-1:] == ["0"]


def test_a_run_from_the_command_line_imports_none_of_what_is_deferred(
    tmp_path: Path, home: Path
) -> None:
    flow = tmp_path / "flow.yaml"
    flow.write_text("flow: [{name: a, source: env}]")
    command = ["-m", "flowtoy_dagster", "run", "-q", flow]
    # The first run in a home makes its databases, for which there are migrations.
    subprocess.run([sys.executable, *command], check=True, timeout=200)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        stderr=subprocess.PIPE, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "dagster" in imported
    assert not imported & {*NEVER}
