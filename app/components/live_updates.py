"""Live updates: a page requests its next update only after the last one has arrived.

Streamlit's own interval keeps running in the browser whether or not the server has responded. On a
slow server each request then discards what the previous one drew, and no response ever arrives.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from app.server.pacing import BEHIND, PATIENCE, Busy, pace, turns

LOST = 45.0  # seconds until the browser asks again without a response, as after a restart
RETRY = 5.0  # seconds until a page that got no turn tries again
BUSY = "The server is busy: this page opens automatically in a moment."
VIEWER = "updates.viewer"  # of the session
SINCE = "updates.since"  # of the session: when a page that still waits was first requested

_serials = itertools.count(1)
_mount = st.components.v2.component(
    "mixnn.poll",
    html="<span></span>",
    css=":host { display: none }",
    js="""
const waiting = new WeakMap(); // mounted element -> its serial and timer
export default function ({ data, parentElement, setTriggerValue }) {
  const { serial, wait } = data;
  const before = waiting.get(parentElement);
  if (before?.serial === serial) return;
  clearTimeout(before?.timer);
  const timer = setTimeout(() => setTriggerValue("poll", serial), 1000 * wait);
  waiting.set(parentElement, { serial, timer });
  return () => clearTimeout(waiting.get(parentElement)?.timer);
}
""",
)


@contextmanager
def turn() -> Iterator[None]:
    """An update's turn to compute, after pages requested at the same time (see `in_turn`)."""
    with turns.turn(since=time.monotonic() + BEHIND, wanted=_still_wanted) as own:
        began = time.perf_counter()
        yield
        if own:  # else it is part of a page, or of a larger update
            pace.note(time.perf_counter() - began)


def poll(
    key: str,
    changed: Callable[[], str | None],
    *,
    every: float,
    draw: Callable[[], None] = lambda: None,
) -> None:
    """Check repeatedly for something new, every `every` seconds or, under load, less often.

    key: unique on the page. changed: returns what to rerun: None for nothing, "app" for the whole
    page, or the key of a fragment. It is called before anything is drawn, so it has to be cheap; if
    it fails, the whole page reruns and shows the error. draw: draws what every check updates, such
    as a progress bar.
    """

    @st.fragment(run_every=LOST)
    def update() -> None:
        with turn():
            draw()
            _schedule(key, changed, every)

    update()


def in_turn(page: Callable[[], None]) -> None:
    """Run a page in its turn; one that waits too long says so and tries again automatically."""
    began = time.monotonic()
    note, shown = st.empty(), False

    def wanted() -> None:
        nonlocal shown
        _still_wanted()
        if not shown and time.monotonic() - began > 1:
            note.info(BUSY, icon=":material/hourglass:")
            shown = True

    try:
        since = st.session_state.setdefault(SINCE, began)  # a retry keeps its place in line
        with turns.turn(since=since, patience=PATIENCE, wanted=wanted):
            st.session_state.pop(SINCE, None)
            note.empty()
            page()
    except Busy:
        note.info(BUSY, icon=":material/hourglass:")
        _schedule("come-back", lambda: None, RETRY)


def _schedule(key: str, changed: Callable[[], str | None], every: float) -> None:
    """Have the browser send one request, `every` seconds or more after it received this."""

    def take() -> None:
        try:
            scope = changed()
        except Exception:
            scope = "app"
        if scope is not None:
            st.rerun(scope)

    viewer = st.session_state.setdefault(VIEWER, next(_serials))
    wait = pace.seconds(viewer, every)
    _mount(key=key, data={"serial": next(_serials), "wait": wait}, on_poll_change=take)


def _still_wanted() -> None:
    """Raises Streamlit's own exception if the visitor left or requested something else."""
    st.session_state.get(SINCE)
