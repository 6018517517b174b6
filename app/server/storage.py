"""The small state of the app: one SQLite file in the runs root, `.mixnn.sqlite3`.

    entries      JSON values by (kind, key):
        owners   run -> the visitor it belongs to
        shared   settings -> the run of a lesson that all visitors share
        uploads  key of an upload -> the visitors who uploaded it
        links    run -> the key of its share link
        kept     run -> why it is never cleaned up: "pinned" or "teacher"
        limits   slots, per_visitor -> [the teacher's value, the server's setting at that time]
        reviews  run -> format of its decisions, if they are in `decisions`
        received run -> the last step of each browser that decides on its labels; see `decisions`
        tidied   at, old, large: the last cleanup
        teachers browsers -> [the visitors who entered the right passcode, newest last]; unlocked ->
                 visitor -> until when it is the teacher; passcode -> salt and scrypt hash
        classes  code -> the state of a class in the lesson; see `classes`
        imported file of an older server -> SHA-256 of its imported content
    queue        requests of runs without a run folder, in order of arrival
    answers      of a class in the lesson; see `class_answers`
    decisions    on labels, oldest first; see `decisions`
    sample_sets  long selections in the URL, by hash

Only the server that holds the lease writes entries and the queue; classes, answers, decisions (with
reviews and received) and sample sets may come from any server over the folder.

Write-ahead log (WAL): readers never wait for a writer, and `kill -9` loses nothing committed.
synchronous=FULL: a commit is on disk before it counts, so that no private run becomes public by a
power failure; it costs one fsync, and writes are few. WAL needs a local disk, not a network file
system.
"""

import contextlib
import functools
import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from engine.errors import StoreError

NAME = ".mixnn.sqlite3"
VERSION = 1  # PRAGMA user_version
PATIENCE = 3.0  # seconds to wait for another process that writes; a write takes milliseconds
FRESH = 0.05  # seconds for which a table in memory is used without checking the file
SCHEMA = """
CREATE TABLE entries (
    kind TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE TABLE queue (position INTEGER PRIMARY KEY, request TEXT NOT NULL);
CREATE TABLE answers (
    class TEXT, step INTEGER, token TEXT, answer TEXT NOT NULL, PRIMARY KEY (class, step, token)
) WITHOUT ROWID;
CREATE TABLE decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, sample INTEGER NOT NULL,
    kind TEXT NOT NULL, label INTEGER NOT NULL, at TEXT NOT NULL, by TEXT NOT NULL
);
CREATE INDEX decisions_of_run ON decisions (run, number);
CREATE TABLE sample_sets (name TEXT PRIMARY KEY, text TEXT NOT NULL, used REAL NOT NULL);
"""
REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and try again",
    sqlite3.SQLITE_READONLY: "it is read-only; allow the server to write it",
    sqlite3.SQLITE_BUSY: "another program has locked it; try again",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the folder and its permissions",
    sqlite3.SQLITE_PERM: "it cannot be opened; check its permissions",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore a backup, or move it away to start without it",
    sqlite3.SQLITE_NOTADB: "it is damaged; restore a backup, or move it away to start without it",
}
_open: "weakref.WeakSet[Storage]" = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []  # of the parent process: never used, never closed


class StorageError(StoreError):
    """State of the app that cannot be read or written; the message says why and what to do."""


class Storage:
    """The database of one runs root.

    Every method may be called from any thread and raises StorageError; nothing changes then.

    There is one connection per process, under a lock: Streamlit creates a thread for every rerun,
    and `PRAGMA data_version`, by which tables stay in memory until another process writes, works
    only within one connection. Another process's write is visible after at most FRESH seconds.
    The connection is opened on first use, and again after the file was replaced.
    """

    def __init__(self, root: Path, patience: float = PATIENCE):
        self.root, self.path = root, root / NAME
        self._patience = patience
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = self._version = -1
        self._fresh_until = 0.0
        self._tables: dict[str, Any] = {}
        _open.add(self)

    def table(self, kind: str) -> dict[str, Any]:
        """Entries of a kind, key -> value; do not modify them."""
        return self._cached(
            kind,
            lambda connection: {
                key: json.loads(value)
                for key, value in connection.execute(
                    "SELECT key, value FROM entries WHERE kind = ?", (kind,)
                )
            },
        )

    def queue(self) -> list[dict[str, Any]]:
        """Queued requests in order of arrival; do not modify them."""
        return self._cached(
            "",
            lambda connection: [
                json.loads(request)
                for (request,) in connection.execute("SELECT request FROM queue ORDER BY position")
            ],
        )

    def read(self, query: str, *values: Any) -> list[tuple]:
        """All rows of a query."""
        with self._ready() as connection:
            return connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside is written, or nothing; an inner transaction joins the outer one."""
        with self._ready(create=True) as connection:
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._tables.clear()
                with contextlib.suppress(sqlite3.Error):
                    if connection.in_transaction:  # a full disk has rolled it back already
                        connection.execute("ROLLBACK")
                raise

    def put(self, kind: str, key: str, value: Any) -> None:
        """Set an entry; None removes it."""
        if self.table(kind).get(key) == value:
            return
        with self.transaction() as connection:
            if value is None:
                connection.execute("DELETE FROM entries WHERE kind = ? AND key = ?", (kind, key))
            else:
                row = kind, key, json.dumps(value, allow_nan=False)
                connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", row)
            self._tables.pop(kind, None)

    def add(self, kind: str, key: str, value: Any) -> None:
        """Append a value to the list of a key, unless the list contains it."""
        with self.transaction():
            values = self.table(kind).get(key, [])
            if value not in values:
                self.put(kind, key, [*values, value])

    def replace(self, kind: str, table: dict[str, Any]) -> None:
        """Replace all entries of a kind."""
        with self.transaction():
            for key in self.table(kind).keys() - table.keys():
                self.put(kind, key, None)
            for key, value in table.items():
                self.put(kind, key, value)

    def save_queue(self, requests: list[dict[str, Any]]) -> None:
        """Replace the queue; writes nothing if it is unchanged."""
        if requests == self.queue():
            return
        with self.transaction() as connection:
            connection.execute("DELETE FROM queue")
            rows = [(json.dumps(request, allow_nan=False),) for request in requests]
            connection.executemany("INSERT INTO queue (request) VALUES (?)", rows)
            self._tables.pop("", None)

    def forget(self, run: str) -> None:
        """Remove everything about a run."""
        with self.transaction() as connection:
            for kind in ("owners", "links", "kept", "reviews", "received"):
                connection.execute("DELETE FROM entries WHERE kind = ? AND key = ?", (kind, run))
                self._tables.pop(kind, None)
            for key in [key for key, name in self.table("shared").items() if name == run]:
                self.put("shared", key, None)
            connection.execute("DELETE FROM decisions WHERE run = ?", (run,))

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._tables.clear()
            if connection is not None:
                connection.close()

    def _cached(self, name: str, load: Any) -> Any:
        with self._lock:
            if time.monotonic() < self._fresh_until and name in self._tables:
                return self._tables[name]
        with self._ready() as connection:
            ((version,),) = connection.execute("PRAGMA data_version")
            if version != self._version:
                self._tables.clear()
                self._version = version
            if name not in self._tables:
                self._tables[name] = load(connection)
            self._fresh_until = time.monotonic() + FRESH
            return self._tables[name]

    @contextlib.contextmanager
    def _ready(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """The connection, exclusive to this thread; SQLite errors become StorageError."""
        with self._lock:
            try:
                yield self._current(create)
            except sqlite3.Error as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR):
                    self.close()
                raise StorageError(
                    f"The app's state in {self.root.name}/{NAME} cannot be used: "
                    f"{REASONS.get(code, error)}. Nothing was changed."
                ) from error

    def _current(self, create: bool) -> sqlite3.Connection:
        """The connection to the current file; only a write creates a file."""
        connection = self._connection
        if connection is not None and connection.in_transaction:
            return connection
        inode = _inode(self.path)
        missing = inode == 0 and self.root.is_dir()
        if connection is None or inode != self._inode or create and missing:
            self.close()
            empty = missing and not create
            self._connection = connection = self._connect(":memory:" if empty else self.path)
            self._inode, self._version = _inode(self.path), -1
        return connection

    def _connect(self, path: Path | str) -> sqlite3.Connection:
        options: dict[str, Any] = {
            "timeout": self._patience,
            "isolation_level": None,
            "check_same_thread": False,
        }
        connection = sqlite3.connect(path, **options)
        try:
            return _prepared(connection, self._patience)
        except sqlite3.Error as error:
            connection.close()
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
        except BaseException:
            connection.close()
            raise
        # a read-only folder with a database that no process has open
        uri = f"file:{quote(str(self.path))}?mode=ro&immutable=1"
        return sqlite3.connect(uri, uri=True, **options)

    def _after_fork_in_child(self) -> None:
        """In a forked child: SQLite's connections must not cross a fork."""
        self._lock = threading.RLock()
        if self._connection is not None:
            _inherited.append(self._connection)
        self._connection, self._tables = None, {}


@functools.lru_cache(maxsize=8)
def storage_of(root: Path) -> Storage:
    """The database of a runs root; the same object for the same root."""
    return Storage(root)


def _prepared(connection: sqlite3.Connection, patience: float) -> sqlite3.Connection:
    """Set up a connection, and create the tables of a new database; wait as long for a lock."""
    version = _user_version(connection)
    if version > VERSION:
        raise StorageError(
            f"{NAME} has format {version}, of a newer version of this app: allowed is format "
            f"{VERSION} or lower"
        )
    _use_wal(connection, time.monotonic() + patience)
    connection.execute("PRAGMA synchronous = FULL")
    if version < VERSION:
        connection.execute("BEGIN IMMEDIATE")
        if _user_version(connection) < VERSION:  # unless another process was faster
            for statement in SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    return connection


def _use_wal(connection: sqlite3.Connection, end: float) -> None:
    """Switch to WAL mode: of two connections that do so at once, SQLite refuses one at once."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(0.01)


def _user_version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _after_fork() -> None:
    for storage in list(_open):
        storage._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork)
