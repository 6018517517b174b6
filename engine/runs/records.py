"""The records of a run's epochs: JSON lines, each of which a reader parses only once.

epochs.jsonl has a line for each epoch. An epoch exists once its line ends with a newline: text
after the last newline is a line that is being written, or that a killed process left incomplete.
Folders of format 1 have epochs.json instead, one list, which is read but no longer written.
"""

import contextlib
import errno
import json
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from engine.files import MOST_JSON, MOST_PARTS

Record = dict[str, Any]


def epochs_file(folder: Path | str) -> Path:
    """The file of a run's records: epochs.jsonl, or epochs.json in a folder of format 1."""
    path, old = Path(folder) / "epochs.jsonl", Path(folder) / "epochs.json"
    return old if not os.path.lexists(path) and os.path.lexists(old) else path


class RecordFile:
    """Reads a file of records; where it has grown, only the new lines are parsed.

    check(records, start): raises for damaged records; start is the number of the first one.
    """

    def __init__(self, check: Callable[[list[Record], int], None]):
        self._check, self._lock = check, threading.Lock()
        self._stamp: tuple[Any, ...] | None = None
        self._records: list[Record] = []
        self._end = self._parts = 0  # bytes, and lists and objects in them, parsed so far
        self._last = b""  # the last line of them

    def read(self, path: Path) -> list[Record]:
        """The complete records, in a list that later calls do not change.

        Raises OSError; ValueError with the part of a sentence that says what is wrong.
        """
        with self._lock:
            status = os.stat(path)
            stamp = (path.name, status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp != self._stamp:
                if status.st_size > MOST_JSON:
                    raise ValueError(f"it is larger than {MOST_JSON >> 20} MB")
                before, self._stamp = self._stamp, None  # an error is raised again the next time
                self._update(path, grown=before is not None and before[:2] == stamp[:2])
                self._stamp = stamp
            return self._records

    def _update(self, path: Path, grown: bool) -> None:
        with open(path, "rb") as file:
            if not (grown and self._has_grown(file)):
                self._records, self._end, self._parts, self._last = [], 0, 0, b""
            file.seek(self._end)
            content = file.read(MOST_JSON + 1 - self._end)
        if path.suffix == ".jsonl":
            content = content[: content.rfind(b"\n") + 1]
        parts = self._parts + content.count(b"[") + content.count(b"{")
        if parts > MOST_PARTS:
            raise ValueError(f"it has more than {MOST_PARTS:,} lists and objects")
        if path.suffix == ".jsonl":
            new = _parsed(content.split(b"\n")[:-1], len(self._records))
        else:
            (new,) = _parsed([content], 0)
        self._check(new, len(self._records))
        if path.suffix == ".jsonl" and new:
            self._last = content[content.rfind(b"\n", 0, -1) + 1 :]
            self._end, self._parts = self._end + len(content), parts
        self._records = [*self._records, *new]

    def _has_grown(self, file: IO[bytes]) -> bool:
        """Whether the last parsed line is unchanged and more text follows it."""
        if not self._last or os.fstat(file.fileno()).st_size <= self._end:
            return False
        file.seek(self._end - len(self._last))
        return file.read(len(self._last)) == self._last


def _parsed(texts: list[bytes], start: int) -> list[Any]:
    """The values of JSON texts; start: the number of the first. Raises ValueError."""
    with contextlib.suppress(ValueError, RecursionError):
        values = json.loads(b"[" + b",".join(texts) + b"]")  # 25 % faster than one by one
        if len(values) == len(texts):
            return values
    values = []
    try:
        for text in texts:
            values.append(json.loads(text))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"record {start + len(values)}: {error}") from None
    return values


def lines(records: Iterable[Record]) -> str:
    """The content of epochs.jsonl."""
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)


def append(path: Path, record: Record) -> None:
    """Add a line to epochs.jsonl, whole or, on a full disk, not at all. Raises OSError."""
    line = lines([record]).encode()
    with open(path, "r+b", buffering=0) as file:  # a deleted file is not created again
        end = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(end)
            raise
