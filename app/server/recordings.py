"""Recordings of the runs that players show, each written once for all viewers while it grows."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.server import maps, run_cache
from engine.errors import StoreError

if TYPE_CHECKING:
    from engine.reports.recording import RecordingWriter
    from engine.runs.folder import RunFolder

MOST_BYTES = 64_000_000  # of all recordings in memory; the newest stays in any case


class Growing:
    """The recording of one run or of two, and its id: another recording has other bytes."""

    def __init__(self, folders: "Sequence[RunFolder]"):
        self.id, self.size = secrets.token_hex(8), 0
        self._folders = list(folders)
        self._lock = threading.Lock()
        self._writer: RecordingWriter | None = None

    def since(self, at: int) -> tuple[bytes, bool]:
        """The bytes from a position on, and whether all runs have ended. Raises StoreError.

        The first epochs of a run may come later: until then there is only the header.
        """
        # late: the first page needs none of it
        from engine.reports.recording import ENDED, RecordingWriter

        with self._lock:
            # before the records are read: a run that has ended gets no further epoch
            ended = all(folder.status["state"] in ENDED for folder in self._folders)
            if self._writer is None:
                self._writer = RecordingWriter(*self._folders, data=_data(self._folders[0]))
                self.size = len(self._writer.to_bytes())
            else:
                self.size += len(self._writer.update())
            return (self._writer.to_bytes()[at:] if at < self.size else b""), ended


class Recordings:
    """The recordings that are in memory, at most `most` bytes. Thread-safe."""

    def __init__(self, most: int = MOST_BYTES):
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple, Growing] = OrderedDict()  # the latest one last

    def of(self, folders: "Sequence[RunFolder]") -> Growing:
        """The recording of these runs, which the visitor may see."""
        runs = tuple((str(f.folder), f.info["created"], f.alone) for f in folders)
        key = (*runs, maps.complete(folders))
        with self._lock:
            found = self._kept.pop(key, None) or Growing(folders)
            self._kept[key] = found
            while len(self._kept) > 1 and sum(r.size for r in self._kept.values()) > self._most:
                self._kept.popitem(last=False)
            return found


def _data(run: "RunFolder"):
    """The data set of a run, for its images; None where it is missing or has changed."""
    try:
        return run_cache.data_of(run)
    except StoreError:
        return None


recordings = Recordings()
