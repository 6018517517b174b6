"""The teacher's passcode: few guesses for all together, and turns that nobody can take away."""

import hmac
import ipaddress
import logging
import math
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from app.server import visible_runs
from app.server.visitors import Visitor

log = logging.getLogger(__name__)
PAUSE = 1.0  # seconds between two tries of one browser
PER_MINUTE = 10  # tries of one browser
FREE = 5  # turns that come without a delay
GROWTH = 1 / 30  # seconds that each further turn adds to the delay between two turns
MOST_DELAY = 1.7  # seconds between two turns, at most
HALVED = 300.0  # seconds in which the count of turns halves
KEPT = 15.0  # seconds that a turn is kept for its browser, from when it was asked to come back
LONGEST = 10.0  # seconds after which one who waits is asked to come back, at most
MOST_BESIDE = 40  # that wait at one address
MOST_WAITING = 300  # of all addresses
MOST_REMEMBERED = 10_000  # cookies, addresses, neighborhoods; the oldest go
MOST_TEACHERS = 100


@dataclass
class _Place:
    """A browser that waits for its turn, or has it."""

    names: tuple[str, str, str]  # its neighborhood, its address, its cookie
    ready: float  # from when on its own limits allow a try
    asked: float = 0.0  # when it was asked to come back
    turn: float | None = None  # since when it has its turn

    def over(self, now: float) -> bool:
        """Whether its turn was not taken."""
        return self.turn is not None and max(self.turn, self.asked) + KEPT < now


class Passcode:
    """Gives out turns to try the passcode, and compares it.

    A turn is one try. A browser has one a second and ten a minute; all browsers together, however
    many cookies and addresses they use, have 5 at once, then one after a delay that grows to 1.7 s:
    below 400 in ten minutes. Browsers that gave the right passcode before have turns of their own;
    ten wrong tries in a row end that.

    Who presses gets a place, and turns go around: first among neighborhoods (IPv6 /48, IPv4 /16),
    then among their addresses (IPv6 /64), then among the cookies there. Whoever had none, or its
    last one longest ago, is next; of equals, who came first. Others' presses neither take a place
    or turn away nor delay it, and one's own early presses do not either; a turn is kept until 15 s
    after the time that the page named. So a fresh browser waits at most 1.7 s for each that waits
    at its address, and as much for each other neighborhood and address that waits.

    Not guaranteed: a turn soon where more than 40 fresh cookies wait at one address or more than
    300 in all (one of them loses its place then), or among very many neighborhoods.

    clock: seconds, only growing. teachers: cookies that gave it before; remember: called with
    their new list. Every method may be called from any thread.
    """

    def __init__(
        self,
        secret: str,
        clock: Callable[[], float] = time.monotonic,
        teachers: Sequence[str] = (),
        remember: Callable[[list[str]], None] = lambda _: None,
    ):
        self._secret, self._clock = secret, clock
        self._teachers, self._remember = list(teachers), remember
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}  # by cookie, in the order of their coming
        self._last: dict[str, float] = {}  # neighborhood, address or cookie -> its last turn
        self._tries: dict[str, deque[float]] = {}  # cookie -> times
        self._next = -math.inf  # when the next turn is given
        self._turns, self._counted = 0.0, 0.0  # how many of late, as of when

    def unlock(self, said: str, visitor: Visitor) -> str:
        """Try a passcode; returns "" where it is right, else why not, with the time to wait."""
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
            if self._secret and hmac.compare_digest(said.encode(), self._secret.encode()):
                self._know([*(t for t in self._teachers if t != me), me][-MOST_TEACHERS:])
                del self._tries[me]
                return ""
            if me in self._teachers and len(tries) == PER_MINUTE:  # the passcode is another one now
                self._know([t for t in self._teachers if t != me])
        log.warning(
            "%s wrong passcode from %s, browser %s (about %.0f tries of late)",
            time.strftime("%Y-%m-%d %H:%M:%S%z"),
            visitor.address or "this machine",
            me,
            self._count(now),
        )
        return "That is not the passcode."

    def _know(self, teachers: list[str]) -> None:
        """Replace the browsers that gave the right passcode, newest last."""
        if teachers != self._teachers:
            self._teachers = teachers
            self._remember(teachers)

    def _ready(self, cookie: str) -> float:
        """From when on one browser's own limits allow a try."""
        tries = self._tries.get(cookie)
        if not tries:
            return -math.inf
        return max(tries[-1] + PAUSE, tries[0] + 60 if len(tries) == PER_MINUTE else -math.inf)

    def _queue(self, now: float, visitor: Visitor) -> float:
        """Seconds until a browser should come back; 0 where it has its turn."""
        self._give_turns(now)
        place = self._places.get(visitor.id)
        if place is None or place.over(now):
            place = self._enter(now, visitor)
            self._give_turns(now)
        if place.turn is not None:
            return 0.0
        if place.asked <= now:
            order = self._order(place)
            ahead = sum(p.turn is None and self._order(p) < order for p in self._places.values())
            queue = self._next - now + ahead * self._delay(now)
            place.asked = now + max(min(queue, LONGEST), place.ready - now, 0.5)
        return place.asked - now

    def _enter(self, now: float, visitor: Visitor) -> _Place:
        """Give a browser a place; where there are too many, another one loses its place."""
        names = _neighborhood(visitor.address), f"at {visitor.address}", visitor.id
        self._places.pop(visitor.id, None)
        waiting = [place for place in self._places.values() if place.turn is None]
        beside = [place for place in waiting if place.names[1] == names[1]]
        if len(beside) >= MOST_BESIDE:
            self._drop(beside)
        elif len(waiting) >= MOST_WAITING:
            self._drop(waiting)
        place = self._places[visitor.id] = _Place(names, max(now, self._ready(visitor.id)))
        return place

    def _drop(self, places: list[_Place]) -> None:
        """Remove one of those that had a turn last; any of them, so that no rhythm wins."""
        worst = max(map(self._order, places))
        equals = [place for place in places if self._order(place) == worst]
        del self._places[random.choice(equals).names[2]]

    def _order(self, place: _Place) -> tuple[float, ...]:
        """Who is next: the smallest."""
        return tuple(self._last.get(name, -math.inf) for name in place.names)

    def _give_turns(self, now: float) -> None:
        """Give the turns that came up until now, and clear those that were not taken."""
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
        """Remove turns that were not taken."""
        for cookie in [c for c, place in self._places.items() if place.over(now)]:
            del self._places[cookie]

    def _count(self, now: float) -> float:
        return self._turns * 0.5 ** ((now - self._counted) / HALVED)

    def _delay(self, now: float) -> float:
        """Seconds between two turns of all."""
        return min(max(self._count(now) - FREE + 1, 0.0) * GROWTH, MOST_DELAY)


def _keep(table: dict, name: str, value: object) -> None:
    """Set the newest entry of a table; the oldest goes where there are too many."""
    table.pop(name, None)
    table[name] = value
    if len(table) > MOST_REMEMBERED:
        del table[next(iter(table))]


def _neighborhood(address: str) -> str:
    """The network around an address: one provider or customer mostly has all of it."""
    try:
        inner = ipaddress.ip_network(address)
    except ValueError:
        return "near "
    return f"near {inner.supernet(new_prefix=16 if inner.version == 4 else 48)}"


@st.cache_resource(show_spinner=False)
def passcodes() -> Passcode:
    """The one of this server, from MIXNN_PASSCODE; teachers' browsers are in its storage."""
    manager = visible_runs.manager()

    def remember(teachers: list[str]) -> None:
        if manager.alone:
            manager.storage.put("teachers", "browsers", teachers)

    teachers = manager.storage.table("teachers").get("browsers", [])
    return Passcode(os.environ.get("MIXNN_PASSCODE", ""), teachers=teachers, remember=remember)
