"""Load JSON lines into a table of SQLite, by key: `load_sqlite.py DATABASE TABLE KEY FILE`.

A row with a key that the table has replaces the earlier one, so loading twice does no harm. All
rows are loaded, or none. Prints how many there were.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any


def quoted(name: str) -> str:
    """A name of a table or column, as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def load(database: str, table: str, key: str, rows: list[dict[str, Any]]) -> int:
    """Insert or replace rows; give their number."""
    columns = list(dict.fromkeys(name for row in rows for name in row)) or [key]
    names = ", ".join(map(quoted, columns))
    places = ", ".join("?" for _ in columns)
    with sqlite3.connect(database) as connection:
        connection.execute(
            f"create table if not exists {quoted(table)} ({names}, primary key ({quoted(key)}))"
        )
        connection.executemany(
            f"insert or replace into {quoted(table)} ({names}) values ({places})",  # noqa: S608
            [[row.get(name) for name in columns] for row in rows],
        )
    connection.close()
    return len(rows)


def main() -> None:
    """Load the file that the command line names."""
    if len(sys.argv) != 5:
        sys.exit("usage: load_sqlite.py DATABASE TABLE KEY FILE")
    database, table, key, file = sys.argv[1:]
    lines = Path(file).read_text("utf-8").splitlines()
    print(load(database, table, key, [json.loads(line) for line in lines]))


if __name__ == "__main__":
    main()
