"""The epoch slider: step, play and slide through the epochs of one run or of several."""

from collections.abc import Sequence

import streamlit as st

from app.components import live_updates
from app.server import run_cache
from app.server.visible_runs import runs
from app.state import selection
from app.state.url_state import bound, get, put

PLAY_SECONDS = 0.8  # an epoch while the scrubber plays


def scrub(*names: str, follow: bool = True) -> int:
    """An epoch scrubber: step, play, slide, by Left, Right and Space; returns the row chosen.

    Of several runs it goes over the epochs of all: see `selection.row`. follow: draw the page anew
    when a live run has a new epoch.
    """
    epochs = run_cache.epochs(*names)
    row = selection.row(*names)
    live = any(runs().info(name).active for name in names)
    playing = st.session_state.get("playing", False)

    def step(by: int) -> None:
        st.session_state["playing"] = False
        go_to(selection.row(*names) + by)

    def go_to(row: int) -> None:
        epochs = run_cache.epochs(*names)  # there may be more than when the button was drawn
        newest = row >= len(epochs) - 1
        put(epoch=None if newest and live else epochs[min(max(row, 0), len(epochs) - 1)])

    def play() -> None:
        st.session_state["playing"] = not playing
        if not playing and row >= len(epochs) - 1:
            go_to(0)

    with st.container(horizontal=True, vertical_alignment="bottom", key="scrubber"):
        st.button(
            "",
            icon=":material/chevron_left:",
            help="One epoch back",
            key="epoch-back",
            on_click=step,
            args=(-1,),
            shortcut="Left",
            disabled=row == 0,
        )
        st.button(
            "",
            icon=":material/pause:" if playing else ":material/play_arrow:",
            key="epoch-play",
            help="Play the epochs",
            on_click=play,
            shortcut="Space",
        )
        st.button(
            "",
            icon=":material/chevron_right:",
            help="One epoch on",
            key="epoch-on",
            on_click=step,
            args=(1,),
            shortcut="Right",
            disabled=row >= len(epochs) - 1,
        )
        if len(epochs) > 1:
            slider = bound("epoch", epochs[row], instead=True)  # the chosen one may not be there
            st.select_slider("Epoch", epochs, label_visibility="collapsed", **slider)
        newest = " (newest)" if row == len(epochs) - 1 else ""
        st.markdown(f"Epoch **{epochs[row]}** of {epochs[-1]}{newest}", width="content")
    if playing or (follow and live and get("epoch") is None):
        _advance(names, [len(run_cache.records(name)) for name in names], playing)
    return row


def _advance(names: Sequence[str], n_epochs: list[int], playing: bool) -> None:
    """Go on by itself: while it plays, or when a live run has a new epoch."""

    def follow() -> str | None:
        for name in names:
            runs().mark_watched(name)
        now = [len(run_cache.records(name)) for name in names]
        live = any(runs().info(name).active for name in names)
        return None if now == n_epochs and live else "app"

    def play() -> str:
        epochs, row = run_cache.epochs(*names), selection.row(*names) + 1
        if row >= len(epochs) - 1:
            st.session_state["playing"] = False
        put(epoch=epochs[min(row, len(epochs) - 1)])
        return "app"

    if playing:
        live_updates.keep_looking("play", play, every=PLAY_SECONDS)
    else:
        live_updates.keep_looking("follow", follow, every=1.0)
