"""Pages that wait for their turn, and updates that redraw only what has changed."""

import threading
from contextlib import contextmanager

import pytest

from app.components import live_updates
from app.server import pacing
from app.server.pacing import AT_ONCE, turns
from tests.app.conftest import app


@contextmanager
def all_turns_taken():
    """Other scripts hold every turn."""
    let_go, holding = threading.Event(), threading.Barrier(AT_ONCE + 1)

    def hold():
        with turns.turn():
            holding.wait(10)
            let_go.wait(30)

    threads = [threading.Thread(target=hold, daemon=True) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    holding.wait(10)
    try:
        yield
    finally:
        let_go.set()
        for thread in threads:
            thread.join(10)


@pytest.fixture
def impatient(root, monkeypatch):
    monkeypatch.setattr(pacing, "POLL", 0.05)
    monkeypatch.setattr(pacing, "LONG", 1000.0)
    monkeypatch.setattr(live_updates, "PATIENCE", 0.3)


def components(at) -> list:
    return [c for c in at.get("bidi_component") if c.proto.component_name == "mixnn.poll"]


def test_a_page_without_a_turn_says_so_and_retries_by_itself(impatient):
    with all_turns_taken():
        at = app("noise")
        assert [box.value for box in at.info] == [live_updates.BUSY]
        assert not at.header
        assert len(components(at)) == 1
    at.run()
    assert at.header
    assert live_updates.BUSY not in [box.value for box in at.info]
    assert not at.exception


def test_a_retry_keeps_the_place_in_line(impatient):
    with all_turns_taken():
        at = app("noise")
        came = at.session_state[live_updates.SINCE]
        at.run()
        assert at.session_state[live_updates.SINCE] == came
    at.run()
    assert live_updates.SINCE not in at.session_state
