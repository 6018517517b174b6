"""The passcode: how often it can be tried, and that the teacher gets in all the same."""

import logging

import pytest

from app.passcode import MOST_DELAY, Passcode
from app.visitors import Visitor


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def client(number: int, address: str = "10.0.0.1") -> Visitor:
    return Visitor(f"cookie{number}", address=address)


def guesses(gate: Passcode, clock: Clock, seconds: int, visitor_of) -> int:
    """Wrong tries that are really compared, of one every tenth of a second."""
    n = 0
    for tick in range(10 * seconds):
        n += gate.unlock("wrong", visitor_of(tick)) == "That is not the passcode."
        clock.now += 0.1
    return n


def test_one_try_a_second(clock):
    gate = Passcode("open", clock)
    assert gate.unlock("wrong", client(1)) == "That is not the passcode."
    assert "try again in" in gate.unlock("open", client(1))  # the right one does not pass either
    clock.now += 1.01
    assert gate.unlock("open", client(1)) == ""


def test_ten_a_minute_by_cookie_and_by_address(clock):
    assert guesses(Passcode("open", clock), clock, 60, lambda _: client(1)) <= 10
    clock.now += 600
    assert guesses(Passcode("open", clock), clock, 60, client) <= 10  # a fresh cookie each time


def test_many_addresses_meet_a_growing_delay_that_decays(clock):
    gate = Passcode("open", clock)
    n = guesses(gate, clock, 60, lambda tick: client(tick, f"10.0.{tick % 50}.1"))
    assert n <= 5 + 50 * 60 / MOST_DELAY  # without it: 50 addresses x 10
    clock.now += 3600
    waits = []
    for number in range(14):
        said = gate.unlock("wrong", client(number, f"10.1.{number}.1"))
        if "try again" in said:
            waits.append(int(said.split()[-2]))
            clock.now += waits[-1]
            said = gate.unlock("wrong", client(number, f"10.1.{number}.1"))
        assert said == "That is not the passcode."
    assert len(waits) == 14 - 5  # so many failures are free
    assert waits[0] < waits[2] < waits[-1] <= MOST_DELAY + 1
    clock.now += 3600
    assert gate.unlock("open", client(1)) == ""


def test_the_teacher_gets_in_while_others_guess(clock):
    gate = Passcode("open", clock)
    attack = lambda tick: client(tick, f"10.0.{tick % 50}.1")  # noqa: E731
    guesses(gate, clock, 60, attack)
    teacher = client(7777, "10.9.9.9")
    start = clock.now
    while gate.unlock("open", teacher):
        guesses(gate, clock, 1, attack)
        assert clock.now - start < MOST_DELAY + 3
    # known from now on: nobody beside it, at the same address, locks it out
    guesses(gate, clock, 30, lambda tick: client(tick, "10.9.9.9"))
    assert gate.unlock("open", teacher) == ""


def test_no_passcode_lets_nobody_in(clock):
    assert Passcode("", clock).unlock("", client(1))


def test_failures_are_logged_with_time_and_address(clock, caplog):
    with caplog.at_level(logging.WARNING):
        Passcode("open", clock).unlock("wrong", client(1, "192.0.2.7"))
    assert "wrong passcode from 192.0.2.7" in caplog.text
    assert "20" in caplog.text
    assert "wrong'" not in caplog.text
