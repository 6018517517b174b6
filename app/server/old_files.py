"""Import of the files in which older servers kept the state that is now in `storage`.

They are imported once, in one transaction, and then moved to `.before-sqlite/`, so that nothing is
lost. A file that appears in the runs root again, from an older server used since, is newer than
the database and replaces its entries.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.server.storage import Storage

log = logging.getLogger(__name__)
ASIDE = ".before-sqlite"
TABLES = ("owners", "shared", "uploads", "links", "kept", "tidied")


def import_old_files(storage: Storage) -> list[str]:
    """Import the old files in the runs root; returns a sentence for each damaged file.

    Raises StorageError if the database cannot be written; no file is moved then.
    """
    files = list(_old_files(storage.root))
    if not files:
        return []
    damaged = []
    with storage.transaction() as connection:
        for file in files:
            name = str(file.relative_to(storage.root))
            try:
                content = file.read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                if storage.table("imported").get(name) == digest:
                    continue  # the process ended before the file was moved
                _import(storage, connection, file, content)
                storage.put("imported", name, digest)
            except (OSError, ValueError, TypeError, RecursionError) as error:
                damaged.append(f"{name} of an older version cannot be read ({error})")
    for file in files:
        _move_aside(file, storage.root)
    log.warning("imported %d files of an older version, moved to %s/", len(files), ASIDE)
    return damaged


def _old_files(root: Path) -> Iterator[Path]:
    for name in (*TABLES, "queue", "teachers"):
        if (path := root / f".{name}.json").is_file():
            yield path
    for pattern in (".answers/*.jsonl", ".lassos/*"):
        yield from sorted(path for path in root.glob(pattern) if path.is_file())


def _import(storage: Storage, connection: sqlite3.Connection, file: Path, content: bytes) -> None:
    if file.suffix == ".jsonl":
        rows = [(file.stem, *line) for line in _answers(content)]
        connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", rows)
    elif file.parent.name == ".lassos":
        if re.fullmatch("[0-9a-f]{20}", file.name):  # others are incomplete
            row = file.name, content.decode("ascii"), file.stat().st_mtime
            connection.execute("INSERT OR REPLACE INTO sample_sets VALUES (?, ?, ?)", row)
    else:
        _import_table(storage, file.stem.removeprefix("."), json.loads(content))


def _import_table(storage: Storage, kind: str, table: Any) -> None:
    lists = ("queue", "teachers")
    if kind == "queue" and isinstance(table, list):
        storage.save_queue([*storage.queue(), *table])
    elif kind == "teachers" and isinstance(table, list):
        storage.put(kind, "browsers", table)
    elif kind not in lists and isinstance(table, dict):
        storage.replace(kind, storage.table(kind) | table)
    else:
        raise ValueError(f"it holds a {type(table).__name__}")


def _answers(content: bytes) -> Iterator[tuple[int, str, str]]:
    """(step, token, answer) of each line; incomplete lines are skipped."""
    for line in content.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            yield int(entry["step"]), str(entry["token"]), str(entry["answer"])


def _move_aside(file: Path, root: Path) -> None:
    target = root / ASIDE / file.relative_to(root)
    with contextlib.suppress(OSError):  # it remains, but is not imported again
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 0
        while target.exists():
            number += 1
            target = target.with_name(f"{file.name}.{number}")
        os.rename(file, target)
