"""The epoch slider: step, play and slide through the epochs of one run or of several."""

from collections.abc import Callable, Sequence

import streamlit as st

from app.components import live_updates
from app.server import run_cache
from app.server.visible_runs import runs
from app.state import selection
from app.state.url_state import bound, get, put

PLAY_SECONDS = 0.8  # per epoch while playing


def scrub(*names: str, follow: bool = True, opens_at: int | None = None) -> int:
    """Buttons and a slider for the epoch, also by the keys Left, Right and Space.

    Returns the selected row; of several runs it counts the epochs of all, see `selection.row`.
    follow: rerun the page when a live run has a new epoch. opens_at: the row of an ended run as
    long as no epoch is selected; by default the newest.
    """
    epochs = run_cache.epochs(*names)
    row = selection.row(*names)
    if opens_at is not None and get("epoch") is None:
        row = opens_at
    live = any(runs().info(name).active for name in names)
    playing = st.session_state.get("playing", False)

    def play() -> None:
        st.session_state["playing"] = not playing
        if not playing and row >= len(epochs) - 1:
            _select(names, 0)

    with st.container(horizontal=True, vertical_alignment="bottom", key="scrubber"):
        off = row == 0
        _step_button("epoch-back", "chevron_left", "Previous epoch", "Left", names, row - 1, off)
        st.button(
            "Pause" if playing else "Play",
            icon=":material/pause:" if playing else ":material/play_arrow:",
            key="epoch-play",
            help="Play the epochs",
            on_click=play,
            shortcut="Space",
        )
        last = row >= len(epochs) - 1
        _step_button("epoch-on", "chevron_right", "Next epoch", "Right", names, row + 1, last)
        if len(epochs) > 1:
            slider = bound("epoch", epochs[row], instead=True)  # the selected one may not exist
            st.select_slider("Epoch", epochs, label_visibility="collapsed", **slider)
        newest = " (newest)" if row == len(epochs) - 1 else ""
        st.markdown(f"Epoch **{epochs[row]}** of {epochs[-1]}{newest}", width="content")
    if playing:
        live_updates.poll("play", _play_next(names), every=PLAY_SECONDS)
    elif follow and live and get("epoch") is None:
        live_updates.poll("follow", _new_epoch(names), every=1.0)
    return row


def _step_button(
    key: str, icon: str, text: str, shortcut: str, names: Sequence[str], to: int, off: bool
) -> None:
    def step() -> None:
        st.session_state["playing"] = False
        _select(names, to)

    st.button(
        text,
        icon=f":material/{icon}:",
        help=text,
        key=key,
        on_click=step,
        shortcut=shortcut,
        disabled=off,
    )


def _select(names: Sequence[str], row: int) -> None:
    """Select a row, the nearest one that exists; the newest of a live run is followed."""
    epochs = run_cache.epochs(*names)  # there may be more than when the button was drawn
    newest = row >= len(epochs) - 1
    live = any(runs().info(name).active for name in names)
    put(epoch=None if newest and live else epochs[min(max(row, 0), len(epochs) - 1)])


def _play_next(names: Sequence[str]) -> Callable[[], str]:
    """Advances by one epoch while playing."""

    def play() -> str:
        epochs, row = run_cache.epochs(*names), selection.row(*names) + 1
        if row >= len(epochs) - 1:
            st.session_state["playing"] = False
        put(epoch=epochs[min(row, len(epochs) - 1)])
        return "app"

    return play


def _new_epoch(names: Sequence[str]) -> Callable[[], str | None]:
    """Whether a run has more epochs than now, or none of them trains any more."""
    before = [len(run_cache.records(name)) for name in names]

    def changed() -> str | None:
        for name in names:
            runs().mark_watched(name)
        now = [len(run_cache.records(name)) for name in names]
        live = any(runs().info(name).active for name in names)
        return None if now == before and live else "app"

    return changed
