"""Scheduling of pages on a server with many visitors: turns to compute, and when pages poll again.

Thirty pages that compute at the same time in one interpreter all take thirty times as long; in
turns the first one is done after one thirtieth of that time. Independent of Streamlit.
"""

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

AT_ONCE = 2  # pages that compute at once: one may wait for the disk while another computes
LONG = 3.0  # seconds; a longer turn no longer counts: the check of an upload takes minutes
BEHIND = 2.0  # seconds that an update waits longer than a new page that came with it
MOST_WAITING = 100  # pages in line; further ones have to retry
PATIENCE = 12.0  # seconds in line, then a page has to retry
POLL = 0.5  # seconds between two checks whether a waiting page is still wanted
COURTESY = 0.02  # seconds at most that training waits after a batch while a page computes
SHARE = 0.4  # of the turns that all updates may take
LONGEST = 20.0  # seconds at most between two updates of one viewer


class Busy(Exception):
    """There was no turn in time, or too many pages wait."""


class _Ticket:
    def __init__(self, since: float):
        self.since, self.called = since, threading.Event()


class Turns:
    """Turns to compute, at most `at_once` at a time, first come, first served.

    Thread-safe; a turn within a turn of the same thread is the same turn.
    """

    def __init__(self, at_once: int = AT_ONCE, *, clock: Callable[[], float] = time.monotonic):
        self._at_once, self._clock = at_once, clock
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int, _Ticket]] = []  # a heap
        self._numbers = itertools.count()
        self._held: dict[_Ticket, float] = {}  # since when
        self._idle = threading.Event()
        self._idle.set()
        self._mine = threading.local()

    @contextmanager
    def turn(
        self,
        *,
        since: float | None = None,
        patience: float | None = None,
        wanted: Callable[[], None] = lambda: None,
    ) -> Iterator[bool]:
        """Wait for a turn and hold it; yields whether it is a turn of its own.

        since: place in line, a time of the clock; by default now. patience: most seconds in line;
        None: no limit. wanted: called regularly while waiting; what it raises ends the wait.
        Raises Busy if there is no turn in time, or if too many wait.
        """
        if getattr(self._mine, "held", False):
            yield False
            return
        ticket = self._wait(since, patience, wanted)
        self._mine.held = True
        try:
            yield True
        finally:
            self._mine.held = False
            self._give_back(ticket)

    def _wait(
        self, since: float | None, patience: float | None, wanted: Callable[[], None]
    ) -> _Ticket:
        now = self._clock()
        ticket = _Ticket(now if since is None else since)
        with self._lock:
            if patience is not None and len(self._waiting) >= MOST_WAITING:
                raise Busy
            heapq.heappush(self._waiting, (ticket.since, next(self._numbers), ticket))
            self._call()
        try:
            while not ticket.called.wait(POLL):
                wanted()
                with self._lock:
                    self._call()  # a turn may have become long
                if patience is not None and self._clock() - now > patience:
                    raise Busy
        except BaseException:
            self._give_back(ticket)
            raise
        return ticket

    def _call(self) -> None:
        """Give the free turns; call with the lock held."""
        while self._waiting and self._n_counted() < self._at_once:
            _, _, ticket = heapq.heappop(self._waiting)
            self._held[ticket] = self._clock()
            self._idle.clear()
            ticket.called.set()

    def _n_counted(self) -> int:
        now = self._clock()
        return sum(now - since < LONG for since in self._held.values())

    def _give_back(self, ticket: _Ticket) -> None:
        with self._lock:
            if self._held.pop(ticket, None) is None:  # it was still in line
                self._waiting = [entry for entry in self._waiting if entry[2] is not ticket]
                heapq.heapify(self._waiting)
            self._call()
            if not self._held:
                self._idle.set()

    @property
    def n_waiting(self) -> int:
        """Number of pages in line."""
        return len(self._waiting)

    def courtesy(self) -> None:
        """Wait up to COURTESY seconds while pages compute; training calls it after every batch."""
        if self._idle.is_set():
            return
        with self._lock:
            busy = self._n_counted()
        if busy:
            self._idle.wait(COURTESY)


class Pace:
    """How long a viewer's page waits until its next update, from how long recent updates took."""

    def __init__(
        self,
        at_once: int = AT_ONCE,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ):
        self._at_once, self._clock, self._chance = at_once, clock, chance
        self._lock = threading.Lock()
        self._seconds = 0.0  # moving average of an update
        self._viewers: dict[Hashable, float] = {}  # time of its last update

    def note(self, seconds: float) -> None:
        """Record how many seconds an update held its turn."""
        with self._lock:
            self._seconds += 0.05 * (seconds - self._seconds)

    def seconds(self, viewer: Hashable, base: float) -> float:
        """Seconds until this viewer's next update: base to LONGEST, randomly varied by 15 %.

        All viewers' updates together take at most SHARE of the turns.
        """
        now = self._clock()
        with self._lock:
            self._viewers[viewer] = now
            for other in [v for v, t in self._viewers.items() if now - t > 3 * LONGEST]:
                del self._viewers[other]
            needed = len(self._viewers) * self._seconds / self._at_once / SHARE
        return min(max(base, needed), LONGEST) * (0.85 + 0.3 * self._chance())


turns, pace = Turns(), Pace()
