"""The passcode: how often it can be tried, and that the teacher still gets in."""

import logging
from collections.abc import Callable

import pytest
import streamlit as st

from app.server import passcode, visible_runs
from app.server.passcode import KEPT, LONGEST, Passcode
from app.server.run_manager import RunManager, runs
from app.server.visitors import Visitor, network

WRONG = "That is not the passcode."
TICK = 0.5  # seconds between two presses of an attacker's cookie
Attack = Callable[[int], list[Visitor]]  # who presses in a tick


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def client(cookie: object, address: str = "10.0.0.1") -> Visitor:
    return Visitor(f"cookie {cookie}", address=network(address))


def guesses(gate: Passcode, clock: Clock, seconds: float, attack: Attack) -> int:
    """Wrong tries that are really compared."""
    n = 0
    for tick in range(int(seconds / TICK)):
        for visitor in attack(tick):
            if gate.unlock("wrong", visitor) == WRONG:
                n += 1
                getattr(attack, "guessed", id)(visitor)
        clock.now += TICK
    return n


def seconds_shown(message: str) -> int:
    assert "try again in" in message
    return int(message.split()[-2])


def way_in(
    gate: Passcode, clock: Clock, attack: Attack, teacher: Visitor, every: float | None = None
) -> float:
    """Seconds until the right passcode opens, tried at the shown times or regularly."""
    start = clock.now
    while message := gate.unlock("open", teacher):
        guesses(gate, clock, every or seconds_shown(message), attack)
        assert clock.now - start < 300, "never"
    return clock.now - start


def crowd(addresses: list[str], a_tick: int = 10, renew: bool = True) -> Callable[[], Attack]:
    """One cookie at each address, some of which press in a tick; renew: after each guess."""

    def start() -> Attack:
        known = {}

        def press(tick: int) -> list[Visitor]:
            some = [
                (tick * a_tick + k) % len(addresses) for k in range(min(a_tick, len(addresses)))
            ]
            return [known.setdefault(k, client(f"{k} {tick}", addresses[k])) for k in some]

        press.guessed = lambda visitor: renew and known.pop(int(visitor.id.split()[1]))
        return press

    return start


# attack, the teacher's address, most guesses in ten minutes
ATTACKS = {
    "three tabs of the teacher's address": (lambda: lambda _: 3 * [client("s", "")], "", 100),
    "thirty cookies of the same address": (crowd(30 * [""], 30, renew=False), "", 400),
    "thirty cookies of the same address, new after each guess": (crowd(30 * [""], 30), "", 400),
    "one /64": (crowd([f"2001:db8::{k:x}" for k in range(2000)]), "2001:db9::1", 400),
    "a hundred /64 of one /48": (
        crowd([f"2001:db8:0:{k:x}::1" for k in range(100)]),
        "2001:db9::1",
        400,
    ),
    "one /48": (crowd([f"2001:db8:0:{k:x}::1" for k in range(2000)]), "2001:db9::1", 400),
    "fifty IPv4": (crowd([f"{k + 20}.1.2.3" for k in range(50)], 50), "", 400),
}

FAST = {(1, None), (20, 5.0), (130, None)}  # seconds before the teacher tries, and between tries


def test_one_try_a_second(clock):
    gate = Passcode("open", clock)
    assert gate.unlock("wrong", client(1)) == WRONG
    assert "try again in" in gate.unlock("open", client(1))  # the right one does not pass either
    clock.now += 1.01
    assert gate.unlock("open", client(1)) == ""


def test_ten_a_minute(clock):
    assert guesses(Passcode("open", clock), clock, 60, lambda _: [client(1)]) == 10


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "one /48" else ()) for n in ATTACKS]
)
def test_few_guesses_in_total(clock, name):
    start, _, most = ATTACKS[name]
    n = guesses(Passcode("open", clock), clock, 600, start())
    print(f"{name}: {n} guesses")
    assert 5 <= n <= most


@pytest.mark.parametrize(
    ("after", "every"),
    [
        pytest.param(after, every, marks=() if (after, every) in FAST else pytest.mark.slow)
        for after in (1, 20, 130)
        for every in (None, 5.0)
    ],
)
@pytest.mark.parametrize("name", ATTACKS)
def test_the_teacher_gets_in(clock, name, after, every):
    start, address, _ = ATTACKS[name]
    gate, attack = Passcode("open", clock), start()
    guesses(gate, clock, after, attack)
    seconds = way_in(gate, clock, attack, client("teacher", address), every)
    print(f"{name}, begun {after} s before, every {every}: {seconds} s")
    assert seconds <= 60


def test_the_common_delay_grows_and_decays(clock):
    gate = Passcode("open", clock)

    def free() -> int:
        fresh = [client(f"{clock.now} {k}", f"{k + 20}.1.2.3") for k in range(9)]
        return sum(gate.unlock("wrong", visitor) == WRONG for visitor in fresh)

    assert free() == 5
    attack = ATTACKS["fifty IPv4"][0]()
    first, second, third = (guesses(gate, clock, 30, attack) for _ in range(3))
    assert first > second > third
    clock.now += 3600
    assert free() >= 4


def test_a_turn_is_kept_and_early_presses_cost_nothing(clock):
    attack = ATTACKS["thirty cookies of the same address"][0]()
    gate = Passcode("open", clock)
    guesses(gate, clock, 5, attack)
    gate.unlock("wrong", client("teacher", ""))
    clock.now += 1
    shown = seconds_shown(gate.unlock("open", client("teacher", "")))
    assert shown <= LONGEST
    guesses(gate, clock, shown + KEPT - 1, attack)  # others tried all the time
    assert gate.unlock("open", client("teacher", "")) == ""
    clock.now += 10
    pressed = [gate.unlock("wrong", client("other", "")) for _ in range(5)]
    waits = [seconds_shown(message) for message in pressed if message != WRONG]
    assert waits == sorted(waits, reverse=True)


def test_unused_turns_expire(clock):
    gate = Passcode("open", clock)
    for k in range(2000):
        gate.unlock("wrong", client(k, f"2{k:03x}:db8::1"))
    assert len(gate._places) <= passcode.MOST_WAITING + 10
    clock.now += 3600
    assert gate.unlock("open", client("teacher")) == ""
    assert not gate._places


def test_a_browser_that_knew_it_does_not_queue_until_it_fails_ten_times(clock):
    kept: list[list[str]] = []
    gate = Passcode("open", clock, remember=kept.append)
    assert gate.unlock("open", client("teacher")) == ""
    flood = lambda tick: [client(f"{tick} {k}") for k in range(50)]  # noqa: E731
    again = Passcode("open", clock, teachers=kept[-1], remember=kept.append)  # after a restart
    guesses(again, clock, 30, flood)
    assert again.unlock("open", client("teacher")) == ""
    for _ in range(10):
        clock.now += 7
        assert again.unlock("wrong", client("teacher")) == WRONG
    assert kept[-1] == []


def test_the_storage_keeps_the_browsers(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNN_PASSCODE", "open")
    runs = RunManager(tmp_path)
    monkeypatch.setattr(visible_runs, "manager", lambda: runs)
    try:
        passcode.passcodes.clear()
        assert passcode.passcodes().unlock("open", client("teacher")) == ""
        passcode.passcodes.clear()
        assert passcode.passcodes()._teachers == ["cookie teacher"]
    finally:
        passcode.passcodes.clear()
        runs.close()


def test_without_a_passcode_no_one_gets_in(clock):
    assert Passcode("", clock).unlock("", client(1))


def test_failures_are_logged_with_time_and_address(clock, caplog):
    with caplog.at_level(logging.WARNING):
        Passcode("open", clock).unlock("wrong", client(1, "192.0.2.7"))
    assert "wrong passcode from 192.0.2.7" in caplog.text
    assert "20" in caplog.text
    assert "wrong'" not in caplog.text


def test_a_browser_stays_unlocked_until_locked_or_the_passcode_changes(root, monkeypatch):
    me, other = Visitor("me"), Visitor("other")
    monkeypatch.setenv("MIXNN_PASSCODE", "owl")
    assert not passcode.passcodes().unlock("owl", me)

    def restart() -> passcode.Passcode:
        runs().close()
        st.cache_resource.clear()
        return passcode.passcodes()

    assert restart().is_unlocked(me)
    assert not restart().is_unlocked(other)
    passcode.passcodes().lock(me)
    assert not restart().is_unlocked(me)
    assert not passcode.passcodes().unlock("owl", me)
    assert restart().is_unlocked(me)
    monkeypatch.setenv("MIXNN_PASSCODE", "another")
    assert not restart().is_unlocked(me)
    monkeypatch.setattr(passcode, "UNLOCKED", -1.0)
    assert not passcode.passcodes().unlock("another", me)
    assert not passcode.passcodes().is_unlocked(me)
