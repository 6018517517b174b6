"""Turns to compute, the pace of live updates, and results computed once for all viewers."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.server import pacing as pace_module
from app.server.pacing import BEHIND, LONG, LONGEST, MOST_WAITING, SHARE, Busy, Pace, Turns
from engine.caching import newest, once


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Script:
    """A thread that takes a turn and holds it until it is let go."""

    def __init__(self, turns: Turns, order: list, name: str, **line):
        self.let_go, self.error = threading.Event(), None

        def work():
            try:
                with turns.turn(**line):
                    order.append(name)
                    self.let_go.wait(10)
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def end(self):
        self.let_go.set()
        self.thread.join(10)


def until(true, seconds: float = 5.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pace_module, "POLL", 0.01)


def test_no_more_compute_at_once_than_allowed_and_pages_come_before_updates():
    clock, order = Clock(), []
    turns = Turns(2, clock=clock)
    first = [Script(turns, order, name) for name in "ab"]
    until(lambda: len(order) == 2)
    update = Script(turns, order, "update", since=clock.now + BEHIND)
    until(lambda: turns.n_waiting == 1)
    clock.now += 1
    page = Script(turns, order, "page")
    until(lambda: turns.n_waiting == 2)
    assert len(order) == 2
    first[0].end()
    until(lambda: len(order) == 3)
    first[1].end()
    until(lambda: len(order) == 4)
    assert order[2:] == ["page", "update"]
    update.end(), page.end()


def test_an_update_that_waited_long_enough_comes_before_a_new_page():
    clock, order = Clock(), []
    turns = Turns(1, clock=clock)
    first = Script(turns, order, "a")
    until(lambda: order)
    update = Script(turns, order, "update", since=clock.now + BEHIND)
    until(lambda: turns.n_waiting == 1)
    clock.now += BEHIND + 0.5
    page = Script(turns, order, "page")
    until(lambda: turns.n_waiting == 2)
    first.end()
    until(lambda: len(order) == 2)
    update.end(), page.end()
    assert order == ["a", "update", "page"]


def test_a_turn_within_a_turn_is_the_same_one():
    turns = Turns(1)
    with turns.turn() as own, turns.turn() as inner:
        assert own
        assert not inner
    with turns.turn() as own:
        assert own


def test_a_long_turn_blocks_no_one():
    clock, order = Clock(), []
    turns = Turns(1, clock=clock)
    check = Script(turns, order, "check")
    until(lambda: order)
    page = Script(turns, order, "page")
    until(lambda: turns.n_waiting == 1)
    clock.now += LONG + 0.1
    until(lambda: len(order) == 2)
    check.end(), page.end()


def test_a_page_that_waits_too_long_or_finds_a_long_line_is_refused():
    clock, order = Clock(), []
    turns = Turns(1, clock=clock)
    first = Script(turns, order, "a")
    until(lambda: order)
    late = Script(turns, order, "late", patience=5)
    until(lambda: turns.n_waiting == 1)
    clock.now += 2
    assert late.thread.is_alive()
    turns._held = dict.fromkeys(turns._held, clock.now + 10)  # a short turn still
    clock.now += 4
    late.thread.join(5)
    assert isinstance(late.error, Busy)
    assert turns.n_waiting == 0
    line = [Script(turns, order, "line") for _ in range(MOST_WAITING)]
    until(lambda: turns.n_waiting == MOST_WAITING)
    with pytest.raises(Busy), turns.turn(patience=5):
        pass
    for script in [first, *line]:
        script.let_go.set()
    for script in [first, *line]:
        script.thread.join(10)
    assert order.count("line") == MOST_WAITING


def test_a_script_that_is_no_longer_wanted_leaves_the_line():
    class Stopped(BaseException):
        pass

    def wanted():
        if unwanted.is_set():
            raise Stopped

    unwanted, order, turns = threading.Event(), [], Turns(1)
    first = Script(turns, order, "a")
    until(lambda: order)
    closed = Script(turns, order, "closed", wanted=wanted)
    until(lambda: turns.n_waiting == 1)
    unwanted.set()
    closed.thread.join(5)
    assert isinstance(closed.error, Stopped)
    assert turns.n_waiting == 0
    first.end()
    with turns.turn():
        pass


def test_training_waits_a_moment_for_pages_and_not_at_all_without(monkeypatch):
    monkeypatch.setattr(pace_module, "COURTESY", 0.2)
    clock, order = Clock(), []
    turns = Turns(1, clock=clock)
    began = time.monotonic()
    for _ in range(1000):
        turns.courtesy()
    assert time.monotonic() - began < 0.1
    page = Script(turns, order, "page")
    until(lambda: order)
    began = time.monotonic()
    turns.courtesy()
    assert 0.15 < time.monotonic() - began < 2
    clock.now += LONG + 1  # a check of an upload must not slow training for minutes
    began = time.monotonic()
    turns.courtesy()
    assert time.monotonic() - began < 0.1
    page.end()


def test_updates_take_a_share_of_the_turns_for_any_number_of_viewers():
    clock = Clock()
    pace = Pace(2, clock=clock, chance=lambda: 0.5)
    assert pace.seconds("one", 1.4) == pytest.approx(1.4)
    for _ in range(300):
        pace.note(0.2)
    for viewer in range(30):
        wait = pace.seconds(viewer, 1.4)
    assert 31 * 0.2 / wait == pytest.approx(2 * SHARE, rel=0.01)
    for _ in range(300):
        pace.note(5.0)
    assert pace.seconds("one", 1.4) == LONGEST
    for _ in range(300):
        pace.note(0.001)
    assert pace.seconds("one", 1.4) == pytest.approx(1.4)
    clock.now += 3 * LONGEST + 1  # they left
    for _ in range(300):
        pace.note(0.2)
    assert pace.seconds("one", 0.1) == pytest.approx(0.2 / 2 / SHARE, rel=0.01)


def test_viewers_update_at_different_times():
    pace = Pace()
    waits = [pace.seconds("one", 1.0) for _ in range(100)]
    assert min(waits) < 0.9
    assert max(waits) > 1.1
    assert min(waits) >= 0.85
    assert max(waits) <= 1.15


def test_what_thirty_request_at_once_is_computed_once():
    computed, barrier = [], threading.Barrier(30)

    @once(maxsize=4)
    def drawn(n: int) -> int:
        computed.append(n)
        time.sleep(0.05)
        return n * n

    def ask(i):
        barrier.wait()
        results[i] = drawn(7)

    results = [None] * 30
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [49] * 30
    assert computed == [7]


def test_a_failure_is_tried_again():
    tries = []

    @once(maxsize=4)
    def drawn(n: int) -> int:
        tries.append(n)
        if len(tries) == 1:
            raise OSError("once")
        return n

    with pytest.raises(OSError, match="once"):
        drawn(1)
    assert drawn(1) == 1
    assert drawn(1) == 1
    assert tries == [1, 1]


def test_of_each_key_only_the_newest_value_is_kept_and_computed_once():
    computed = []

    @newest(maxsize=8)
    def value(key: str, stamp: int) -> list[int]:
        computed.append((key, stamp))
        time.sleep(0.02)
        return [stamp]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(value, ["a"] * 8, [1] * 8)) == [[1]] * 8
    assert computed == [("a", 1)]
    assert value("a", 2) == [2]
    assert value("b", 1) == [1]
    assert value("a", 1) == [1]  # the older one was dropped, and is computed again
    assert computed == [("a", 1), ("a", 2), ("b", 1), ("a", 1)]
