"""What the app keeps about runs and uploads beside their folders, and which server may write it.

Each table is a JSON file in the runs root, `.NAME.json`, replaced whole:

    owners    run -> the visitor it belongs to
    shared    settings -> the run of a lesson that all visitors share
    uploads   key of an upload -> the visitors that brought it
    links     run -> the key of its share link
    kept      run -> why it is not tidied away: "pinned" or "teacher"
    queue     [the wishes of runs that wait]
    tidied    what was tidied away last
    teachers  [the visitors that gave the right passcode, newest last]
"""

import fcntl
import os
import threading
from pathlib import Path
from typing import Any

from engine.errors import StoreError
from engine.store import read_json, write_json

TABLES = {
    "owners": dict, "shared": dict, "uploads": dict, "links": dict, "kept": dict, "queue": list,
    "tidied": dict, "teachers": list,
}  # fmt: skip


class Ledger:
    """The tables of one runs root. Every method may be called from any thread.

    Only the server that holds `.server.lock` may write; see `take`.
    """

    def __init__(self, root: Path):
        self.root = root
        self._lock = threading.RLock()
        self._tables: dict[str, tuple[tuple[int, int], Any]] = {}
        self._lease: int | None = None

    def take(self) -> bool:
        """Become the server that writes here, unless another one is; whether it is this one."""
        with self._lock:
            if self._lease is not None:
                return True
            lease = os.open(self.root / ".server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lease)
                return False
            # a forked child would hold the lock longer than this process lives
            os.register_at_fork(after_in_child=lambda: self._lease == lease and os.close(lease))
            self._lease = lease
            return True

    def release(self) -> None:
        """Let another server write."""
        with self._lock:
            if self._lease is not None:
                os.close(self._lease)
                self._lease = None

    @property
    def mine(self) -> bool:
        """Whether this server may write."""
        return self._lease is not None

    def table(self, name: str) -> Any:
        """A table as it is now, not to be changed; empty where it is missing or damaged."""
        path = self._path(name)
        with self._lock:
            stamp = _stamp(path)
            kept = self._tables.get(name)
            if kept is None or kept[0] != stamp:
                kept = self._tables[name] = stamp, self._read(path, TABLES[name])
            return kept[1]

    def put(self, name: str, key: str, value: Any) -> None:
        """Set an entry of a table; None removes it."""
        with self._lock:
            table = self.table(name)
            if table.get(key) == value:
                return
            table = {k: v for k, v in table.items() if k != key}
            self.replace(name, table if value is None else table | {key: value})

    def add(self, name: str, key: str, value: Any) -> None:
        """Add a value to the list that a key has, unless it is there."""
        with self._lock:
            there = self.table(name).get(key, [])
            if value not in there:
                self.put(name, key, [*there, value])

    def forget(self, run: str) -> None:
        """Remove what is kept about a run."""
        with self._lock:
            for name in ("owners", "links", "kept"):
                self.put(name, run, None)
            shared = self.table("shared")
            if run in shared.values():
                self.replace("shared", {k: name for k, name in shared.items() if name != run})

    def replace(self, name: str, table: Any) -> None:
        """Replace a table."""
        with self._lock:
            write_json(self._path(name), table)
            self._tables[name] = _stamp(self._path(name)), table

    def _path(self, name: str) -> Path:
        return self.root / f".{name}.json"

    @staticmethod
    def _read(path: Path, kind: type) -> Any:
        try:
            table = read_json(path) if path.exists() else kind()
        except (StoreError, RecursionError):
            return kind()
        return table if isinstance(table, kind) else kind()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_ino
