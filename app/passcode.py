"""The teacher's passcode: tries are counted, so that it cannot be guessed."""

import hmac
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import streamlit as st

from app.visitors import Visitor

log = logging.getLogger(__name__)
PAUSE = 1.0  # seconds between two tries of one client
PER_MINUTE = 10  # tries of one client
FREE = 5  # failures of all clients together that delay nobody
MOST_DELAY = 30.0  # seconds; so that the teacher gets in while others try
DECAY = 60.0  # seconds in which the count of failures halves
MOST_CLIENTS = 10_000  # remembered at once; the oldest go


@dataclass
class _Client:
    tries: deque = field(default_factory=lambda: deque(maxlen=PER_MINUTE))  # times
    asked: float | None = None  # since when it waits for the delay that all have


class Passcode:
    """Counts tries by cookie and by address, and failures of all clients.

    A client is a cookie, and an address as well: fresh cookies from one address share its tries. A
    browser that gave the right passcode before is counted by its cookie alone, so that nobody
    beside the teacher, behind the same address, can lock it out. clock: seconds, only growing.
    """

    def __init__(self, secret: str, clock: Callable[[], float] = time.monotonic):
        self._secret, self._clock = secret, clock
        self._lock = threading.Lock()
        self._clients: dict[str, _Client] = {}
        self._known: set[str] = set()  # cookies that gave it before
        self._failures, self._failed = 0.0, 0.0  # how many, as of when

    def unlock(self, said: str, visitor: Visitor) -> str:
        """Try a passcode; returns "" where it is right, else why not, with the time to wait."""
        with self._lock:
            now, clients = self._clock(), self._of(visitor)
            seconds = self._wait(now, clients, visitor.id in self._known)
            if seconds > 0:
                return f"Too many tries: try again in {int(seconds) + 1} s."
            for client in clients:
                client.tries.append(now)
                client.asked = None
            if self._secret and hmac.compare_digest(said.encode(), self._secret.encode()):
                self._known.add(visitor.id)
                return ""
            self._failures, self._failed = self._count(now) + 1, now
            number = self._failures
        log.warning(
            "%s wrong passcode from %s, browser %s (about %.0f of late)",
            time.strftime("%Y-%m-%d %H:%M:%S%z"), visitor.address or "this machine", visitor.id,
            number,
        )  # fmt: skip
        return "That is not the passcode."

    def _of(self, visitor: Visitor) -> list[_Client]:
        """What is counted of a client: its cookie and, unless it is known, its address."""
        names = [f"cookie {visitor.id}"]
        if visitor.id not in self._known:
            names.append(f"address {visitor.address}")
        found = []
        for name in names:
            found.append(self._clients.pop(name, None) or _Client())
            self._clients[name] = found[-1]
        while len(self._clients) > MOST_CLIENTS:
            del self._clients[next(iter(self._clients))]
        return found

    def _wait(self, now: float, clients: list[_Client], known: bool) -> float:
        """Seconds until these may try."""
        waits = [0.0]
        for client in clients:
            if client.tries:
                waits.append(client.tries[-1] + PAUSE - now)
            if len(client.tries) == PER_MINUTE:
                waits.append(client.tries[0] + 60 - now)
        delay = 0.0 if known else self._delay(now)
        if delay:
            # each client waits from its own first request on: the fastest cannot take all turns
            for client in clients:
                client.asked = now if client.asked is None else client.asked
            waits.append(max(client.asked for client in clients) + delay - now)
        return max(waits)

    def _count(self, now: float) -> float:
        return self._failures * 0.5 ** ((now - self._failed) / DECAY)

    def _delay(self, now: float) -> float:
        """Seconds that every client waits: doubled with each failure beyond the free ones."""
        beyond = self._count(now) - FREE
        return 0.0 if beyond < 0 else min(2.0 ** min(beyond, 10.0), MOST_DELAY)


@st.cache_resource(show_spinner=False)
def passcodes() -> Passcode:
    """The one of this server, from MIXNN_PASSCODE."""
    return Passcode(os.environ.get("MIXNN_PASSCODE", ""))
