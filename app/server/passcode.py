"""The teacher's passcode: a global limit on guesses, and turns that no one else can take away."""

import hashlib
import hmac
import ipaddress
import logging
import math
import os
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import streamlit as st

from app.server import visible_runs
from app.server.visitors import Visitor

log = logging.getLogger(__name__)
PAUSE = 1.0  # seconds between two tries of one browser
PER_MINUTE = 10  # tries of one browser
FREE = 5  # turns without a delay
GROWTH = 1 / 30  # seconds that each further turn adds to the delay between two turns
MOST_DELAY = 1.7  # seconds between two turns, at most
HALVED = 300.0  # seconds in which the count of turns halves
KEPT = 15.0  # seconds that a turn is kept for its browser, after the time to try again
LONGEST = 10.0  # seconds after which a waiting browser tries again, at most
MOST_PER_ADDRESS = 40  # browsers that wait at one address
MOST_WAITING = 300  # browsers of all addresses that wait
MOST_REMEMBERED = 10_000  # cookies, addresses, neighborhoods; the oldest are dropped
MOST_TEACHERS = 100
UNLOCKED = 12 * 3600.0  # seconds for which a browser stays the teacher's


@dataclass
class _Place:
    """A browser that waits for its turn, or has it."""

    names: tuple[str, str, str]  # its neighborhood, its address, its cookie
    ready: float  # when its own limits allow a try
    retry_at: float = 0.0  # the time to try again, as shown on the page
    turn: float | None = None  # when it got its turn

    def over(self, now: float) -> bool:
        """Whether its turn has expired unused."""
        return self.turn is not None and max(self.turn, self.retry_at) + KEPT < now


class Passcode:
    """Gives out turns to try the passcode, and compares it.

    A turn is one try. A browser has one a second and ten a minute; all browsers together, however
    many cookies and addresses they use, have 5 at once, then one after a delay that grows to 1.7 s:
    fewer than 400 in ten minutes. Browsers that gave the right passcode before have turns of their
    own, until ten wrong tries in a row.

    A browser that gave the right passcode is the teacher's for UNLOCKED seconds, also after a
    reload or a restart of the server, until it is locked; Streamlit's cookie, by which it is known,
    ends with the browser.

    A browser that tries gets a place, and turns rotate: first among neighborhoods (IPv6 /48, IPv4
    /16), then among their addresses (IPv6 /64), then among the cookies of an address. Next is the
    one without a turn so far or with the oldest one; of equals, the first to arrive. Tries of
    others neither take away nor delay a place or a turn, nor do one's own early tries; a turn is
    kept until 15 s after the time that the page showed. So a new browser waits at most 1.7 s for
    each one that waits at its address, and as much for each other waiting neighborhood and address.

    Not guaranteed: a turn soon if more than 40 new cookies wait at one address or more than 300 in
    total (one of them loses its place then), or among very many neighborhoods.

    clock: a monotonic clock in seconds. teachers: cookies that gave the passcode before; remember:
    called with their new list. unlocked: cookie -> until when it is the teacher's, in seconds since
    1970; keep: called with the new table. Every method may be called from any thread.
    """

    def __init__(
        self,
        secret: str,
        clock: Callable[[], float] = time.monotonic,
        teachers: Sequence[str] = (),
        remember: Callable[[list[str]], None] = lambda _: None,
        unlocked: Mapping[str, float] = MappingProxyType({}),
        keep: Callable[[dict[str, float]], None] = lambda _: None,
    ):
        self._secret, self._clock = secret, clock
        self._teachers, self._remember = list(teachers), remember
        self._unlocked, self._keep = dict(unlocked), keep
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}  # by cookie, in the order of their coming
        self._last: dict[str, float] = {}  # neighborhood, address or cookie -> its last turn
        self._tries: dict[str, deque[float]] = {}  # cookie -> times
        self._next = -math.inf  # when the next turn is given
        self._turns, self._counted = 0.0, 0.0  # recent turns, as of when

    def unlock(self, guess: str, visitor: Visitor) -> str:
        """Try a passcode; returns "" if it is right, else a message with the time to wait."""
        with self._lock:
            now, me = self._clock(), visitor.id
            known = me in self._teachers
            seconds = self._ready(me) - now if known else self._queue(now, visitor)
            if seconds > 0:
                return f"Too many tries: try again in {math.ceil(seconds)} s."
            self._places.pop(me, None)
            tries = self._tries.pop(me, None) or deque(maxlen=PER_MINUTE)
            tries.append(now)
            _keep(self._tries, me, tries)
            if self._secret and hmac.compare_digest(guess.encode(), self._secret.encode()):
                self._know([*(t for t in self._teachers if t != me), me][-MOST_TEACHERS:])
                self._unlock(me, time.time() + UNLOCKED)
                del self._tries[me]
                return ""
            if me in self._teachers and len(tries) == PER_MINUTE:  # the passcode has changed
                self._know([t for t in self._teachers if t != me])
        log.warning(
            "%s wrong passcode from %s, browser %s (about %.0f recent tries)",
            time.strftime("%Y-%m-%d %H:%M:%S%z"),
            visitor.address or "this machine",
            me,
            self._count(now),
        )
        return "That is not the passcode."

    def is_unlocked(self, visitor: Visitor) -> bool:
        """Whether a browser gave the right passcode, within UNLOCKED seconds."""
        return self._unlocked.get(visitor.id, 0.0) > time.time()

    def lock(self, visitor: Visitor) -> None:
        """End it that a browser is the teacher's."""
        with self._lock:
            self._unlock(visitor.id, 0.0)

    def _unlock(self, cookie: str, until: float) -> None:
        others = {c: t for c, t in self._unlocked.items() if c != cookie and t > time.time()}
        self._unlocked = dict([*others.items(), (cookie, until)][-MOST_TEACHERS:])
        self._keep(self._unlocked)

    def _know(self, teachers: list[str]) -> None:
        """Set the browsers that gave the right passcode, newest last."""
        if teachers != self._teachers:
            self._teachers = teachers
            self._remember(teachers)

    def _ready(self, cookie: str) -> float:
        """When one browser's own limits allow its next try."""
        tries = self._tries.get(cookie)
        if not tries:
            return -math.inf
        return max(tries[-1] + PAUSE, tries[0] + 60 if len(tries) == PER_MINUTE else -math.inf)

    def _queue(self, now: float, visitor: Visitor) -> float:
        """Seconds until a browser should try again; 0 if it has its turn."""
        self._give_turns(now)
        place = self._places.get(visitor.id)
        if place is None or place.over(now):
            place = self._enter(now, visitor)
            self._give_turns(now)
        if place.turn is not None:
            return 0.0
        if place.retry_at <= now:
            order = self._order(place)
            ahead = sum(p.turn is None and self._order(p) < order for p in self._places.values())
            queue = self._next - now + ahead * self._delay(now)
            place.retry_at = now + max(min(queue, LONGEST), place.ready - now, 0.5)
        return place.retry_at - now

    def _enter(self, now: float, visitor: Visitor) -> _Place:
        """Give a browser a place; if there are too many, another one loses its place."""
        names = _neighborhood(visitor.address), f"at {visitor.address}", visitor.id
        self._places.pop(visitor.id, None)
        waiting = [place for place in self._places.values() if place.turn is None]
        same_address = [place for place in waiting if place.names[1] == names[1]]
        if len(same_address) >= MOST_PER_ADDRESS:
            self._drop(same_address)
        elif len(waiting) >= MOST_WAITING:
            self._drop(waiting)
        place = self._places[visitor.id] = _Place(names, max(now, self._ready(visitor.id)))
        return place

    def _drop(self, places: list[_Place]) -> None:
        """Remove one of those with the latest turn, at random, so that no timing wins."""
        worst = max(map(self._order, places))
        equals = [place for place in places if self._order(place) == worst]
        del self._places[random.choice(equals).names[2]]

    def _order(self, place: _Place) -> tuple[float, ...]:
        """Sort key of the turns: the smallest is next."""
        return tuple(self._last.get(name, -math.inf) for name in place.names)

    def _give_turns(self, now: float) -> None:
        """Give the turns that are due, and remove those that expired unused."""
        while self._next <= now:
            waiting = [place for place in self._places.values() if place.turn is None]
            at = max(self._next, min((place.ready for place in waiting), default=math.inf))
            if at > now:
                break
            fit = [place for place in waiting if place.ready <= at]
            first = min(fit, key=self._order)
            first.turn = at
            for name in first.names:
                _keep(self._last, name, at)
            self._turns, self._counted = self._count(at) + 1, at
            self._next = at + self._delay(at)
            self._clear(now)

    def _clear(self, now: float) -> None:
        """Remove turns that expired unused."""
        for cookie in [c for c, place in self._places.items() if place.over(now)]:
            del self._places[cookie]

    def _count(self, now: float) -> float:
        return self._turns * 0.5 ** ((now - self._counted) / HALVED)

    def _delay(self, now: float) -> float:
        """Seconds between two turns of all browsers."""
        return min(max(self._count(now) - FREE + 1, 0.0) * GROWTH, MOST_DELAY)


def _keep(table: dict, name: str, value: object) -> None:
    """Set the newest entry of a table; the oldest is dropped if there are too many."""
    table.pop(name, None)
    table[name] = value
    if len(table) > MOST_REMEMBERED:
        del table[next(iter(table))]


def _neighborhood(address: str) -> str:
    """The network around an address: usually all of it belongs to one provider or customer."""
    try:
        inner = ipaddress.ip_network(address)
    except ValueError:
        return "near "
    return f"near {inner.supernet(new_prefix=16 if inner.version == 4 else 48)}"


@st.cache_resource(show_spinner=False)
def passcodes() -> Passcode:
    """The server's passcode, from MIXNN_PASSCODE; teachers' browsers are in its storage."""
    manager, secret = visible_runs.manager(), os.environ.get("MIXNN_PASSCODE", "")

    def remember(key: str, value: Any) -> None:
        if manager.trains_here:
            manager.storage.put("teachers", key, value)

    known = manager.storage.table("teachers")
    salt, digest = known.get("passcode", (secrets.token_hex(16), ""))
    now = hashlib.scrypt(secret.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1).hex()
    if not hmac.compare_digest(now, digest):  # the passcode has changed: nobody is unlocked
        remember("unlocked", {})
        remember("passcode", [salt, now])
    return Passcode(
        secret,
        teachers=known.get("browsers", []),
        remember=lambda browsers: remember("browsers", browsers),
        unlocked=known.get("unlocked", {}) if now == digest and secret else {},
        keep=lambda unlocked: remember("unlocked", unlocked),
    )
