"""Which of several servers over one runs root trains and writes: the holder of a file lock."""

import fcntl
import os
import threading
from pathlib import Path

NAME = ".server.lock"


class Lease:
    """The lock of a runs root; the system releases it when its process ends."""

    def __init__(self, root: Path):
        self._path = root / NAME
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock unless another server has it; returns whether this one has it.

        Raises OSError.
        """
        with self._lock:
            if self._descriptor is not None:
                return True
            lease = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lease)
                return False
            except OSError:
                os.close(lease)
                raise
            # else a forked child would hold the lock after this process has ended
            os.register_at_fork(after_in_child=self._close)
            self._descriptor = lease
            return True

    def release(self) -> None:
        """Release the lock for another server."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def held(self) -> bool:
        """Whether this server has the lock."""
        return self._descriptor is not None
