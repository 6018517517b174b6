"""Looking again: a live page asks for the next look only after the last one was answered.

An interval of Streamlit's own goes on in the browser whether or not the server has answered. On a
slow server each look then drops what the one before it drew, and no answer arrives at all.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from app.server.pacing import BEHIND, PATIENCE, Busy, pace, turns

LOST = 45.0  # seconds; an answer that never came, or a server that was started again
RETRY = 5.0  # seconds until a page that was sent away comes back
BUSY = "The server is busy: this page opens by itself in a moment."
VIEWER = "looks.viewer"  # of the session
SINCE = "looks.since"  # of the session: when a page that still waits was asked for first

_serials = itertools.count(1)
_mount = st.components.v2.component(
    "mixnn.look",
    html="<span></span>",
    css=":host { display: none }",
    js="""
const waiting = new WeakMap(); // mounted element -> its serial and timer
export default function ({ data, parentElement, setTriggerValue }) {
  const { serial, wait } = data;
  const before = waiting.get(parentElement);
  if (before?.serial === serial) return;
  clearTimeout(before?.timer);
  const timer = setTimeout(() => setTriggerValue("look", serial), 1000 * wait);
  waiting.set(parentElement, { serial, timer });
  return () => clearTimeout(waiting.get(parentElement)?.timer);
}
""",
)


@contextmanager
def turn() -> Iterator[None]:
    """A look's turn to compute: behind pages that came with it; pages take theirs by `in_turn`."""
    with turns.turn(since=time.monotonic() + BEHIND, wanted=_still_wanted) as own:
        began = time.perf_counter()
        yield
        if own:  # else it is part of a page, or of a larger look
            pace.note(time.perf_counter() - began)


def keep_looking(
    key: str,
    changed: Callable[[], str | None],
    *,
    every: float,
    draw: Callable[[], None] = lambda: None,
) -> None:
    """Look again and again whether there is something new, `every` seconds or less often.

    changed: what to draw again: None for nothing, "app" for the whole page, or the key of a
    fragment. It is called before anything is drawn, so it has to be cheap; where it fails the
    whole page is drawn, which says why. draw: what every look draws, such as a progress bar.
    """

    @st.fragment(run_every=LOST)
    def look() -> None:
        with turn():
            draw()
            _ask_again(key, changed, every)

    look()


def in_turn(page: Callable[[], None]) -> None:
    """Run a page when its turn comes; one that waits too long says so and comes back by itself."""
    began = time.monotonic()
    note, said = st.empty(), []

    def wanted() -> None:
        _still_wanted()
        if not said and time.monotonic() - began > 1:
            said.append(note.info(BUSY, icon=":material/hourglass:"))

    try:
        since = st.session_state.setdefault(SINCE, began)  # who comes back keeps the place in line
        with turns.turn(since=since, patience=PATIENCE, wanted=wanted):
            st.session_state.pop(SINCE, None)
            note.empty()
            page()
    except Busy:
        note.info(BUSY, icon=":material/hourglass:")
        _ask_again("come-back", lambda: None, RETRY)


def _ask_again(key: str, changed: Callable[[], str | None], every: float) -> None:
    """Have the browser ask once more, some time after it received this."""

    def take() -> None:
        try:
            what = changed()
        except Exception:
            what = "app"
        if what is not None:
            st.rerun(what)

    viewer = st.session_state.setdefault(VIEWER, next(_serials))
    wait = pace.seconds(viewer, every)
    _mount(key=key, data={"serial": next(_serials), "wait": wait}, on_look_change=take)


def _still_wanted() -> None:
    """Raises Streamlit's own exception where the visitor left, or asked for something else."""
    st.session_state.get(SINCE)
