"""The thread that starts, stops and cleans up runs, on the one server that holds the lease."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from app.server.lease import Lease
from app.server.limits import Limits
from app.server.old_files import import_old_files
from app.server.problems import Problem, Problems
from app.server.storage import StorageError

if TYPE_CHECKING:
    from app.server.run_queue import RunQueue

TICK = 0.2  # seconds between two rounds
TAKE_EVERY = 3.0  # seconds between two tries to get the lease
PRUNE_EVERY = 2.0  # seconds between two checks for deleted folders
CLEAN_UP_EVERY = 3600.0  # seconds between two cleanups of old runs
ELSEWHERE = (
    "Another server uses this runs folder: this one shows its runs and starts none. It takes over "
    "when the other one ends."
)


class QueueThread:
    """Regular rounds over a queue. A round that fails (a full disk, say) is logged and listed in
    `problems`; the next one follows as usual.

    clean_up: called once an hour. clock: a monotonic clock in seconds.
    """

    def __init__(
        self,
        queue: "RunQueue",
        lease: Lease,
        limits: Limits,
        clean_up: Callable[[], object],
        clock: Callable[[], float],
    ):
        self.problems = Problems()
        self.closed = threading.Event()
        self.refusal = ELSEWHERE
        self._queue, self._lease, self._limits = queue, lease, limits
        self._clean_up, self._clock = clean_up, clock
        self._tried = self._pruned = clock()
        self._cleaned = clock() - CLEAN_UP_EVERY

    def start(self) -> None:
        """Take the lease if it is free, and start the thread."""
        self._guarded(self._take)
        threading.Thread(target=self._run, name="runs", daemon=True).start()

    def close(self) -> None:
        """Start no further round."""
        self.closed.set()

    def round(self) -> None:
        """Do everything that is due now."""
        now = self._clock()
        if not self._lease.held:
            if now - self._tried >= TAKE_EVERY:
                self._take()
            return
        with self._queue.lock:
            if self.closed.is_set():
                return
            self._queue.round()
            if now - self._pruned >= PRUNE_EVERY:
                self._pruned = now
                self._queue.prune()
        if now - self._cleaned >= CLEAN_UP_EVERY:
            self._cleaned = now
            self._clean_up()

    def _run(self) -> None:
        while not self.closed.wait(TICK):
            self._guarded(self.round)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
            self.problems.round_succeeded()
        except Exception as error:
            self.problems.round_failed(_reason(error))

    def _take(self) -> None:
        """Become the server that trains here, unless another one is, and restore its queue."""
        self._tried = self._clock()
        with self._queue.lock:
            try:
                if not self._lease.take():
                    self.refusal = ELSEWHERE
                    return
                damaged = import_old_files(self._queue.storage)
                self._limits.load(self._queue.storage)
                self.problems.extend(Problem("", "", text) for text in damaged)
                self.problems.extend(self._queue.restore())
            except Exception as error:
                self._lease.release()
                self.refusal = f"This server shows runs and starts none. {_reason(error)}"
                raise


def _reason(error: Exception) -> str:
    """Why a round failed, for all visitors: without names of runs or files."""
    if isinstance(error, StorageError):
        return str(error)
    if isinstance(error, OSError):
        return f"The runs folder cannot be used: {error.strerror}."
    return f"Unexpected error ({type(error).__name__}), see the server's log."
