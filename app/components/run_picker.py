"""The selection of a run, its state as a badge, and what a page shows before the first epoch."""

import contextlib
from typing import Literal

import streamlit as st
from streamlit.errors import StreamlitPageNotFoundError

from app.components import live_updates, run_names
from app.components.messages import empty
from app.server import escaping, run_cache
from app.server.run_info import RunInfo
from app.server.visible_runs import runs
from app.state import selection
from app.state.url_state import bound, get, link, put
from engine.runs.records import epochs_file

SYMBOLS = {  # of a state, so that color alone does not carry it; no emoji, which fonts may lack
    "queued": "◷", "running": "▶", "paused": "‖", "done": "✓", "stopped": "■", "failed": "✕",
    "interrupted": "!", "broken": "✕",
}  # fmt: skip
ICONS = {  # the same, drawn
    "queued": "schedule", "running": "play_arrow", "paused": "pause", "done": "check",
    "stopped": "stop", "failed": "close", "interrupted": "warning", "broken": "close",
}  # fmt: skip
COLORS: dict[str, Literal["gray", "blue", "orange", "green", "red"]] = {
    "queued": "gray", "running": "blue", "paused": "orange", "done": "green", "stopped": "gray",
    "failed": "red", "interrupted": "orange", "broken": "red",
}  # fmt: skip


def state_badge(info: RunInfo) -> None:
    """The state of a run as a small badge: symbol, word and color."""
    place = f", number {info.position}" if info.state == "queued" else ""
    icon = f":material/{ICONS[info.state]}:"
    st.badge(info.state + place, icon=icon, color=COLORS[info.state], width="content")


def waiting_words(position: int) -> str:
    """What a queued run waits for. position: in the queue, from 1."""
    if position == 1:
        return "This run starts as soon as training is possible: it is the next one."
    runs_ahead = "1 run is" if position == 2 else f"{position - 1} runs are"
    return f"Waiting in the queue: {runs_ahead} ahead."


def badge_is_current(shown: RunInfo) -> bool:
    """Whether a run still has the state and the place in the queue that its badge shows."""
    now = runs().info(shown.name)
    return (now.state, now.position) == (shown.state, shown.position)


def chosen_run() -> str | None:
    """The selected run, or the newest one with an error message if the selected one does not exist.

    None if there is no run.
    """
    existing, name = selection.run(), get("run")
    if name is not None and existing != name:
        instead = ": showing the newest one instead" if existing else ""
        st.error(f"run = {escaping.markdown(repr(name))} is not on this server{instead}.")
    return existing


def pick_run(*, with_epochs: bool = True) -> str:
    """A selectbox of runs; returns the selected one. Without a run the page ends in an empty state.

    with_epochs: also end the page, with a message, while the run has no completed epoch.
    """
    chosen = chosen_run()
    if chosen is None:
        empty("There is no run yet. Start one on **Train**; it takes seconds.")
    if get("run") != chosen:
        put(run=chosen)
    info = runs().info(chosen)
    with st.container(horizontal=True, vertical_alignment="center", key="run-picker"):
        select_run("Run")
        state_badge(info)
        player_link(chosen)
    if info.state == "broken":
        st.error(f"{escaping.lines(info.message)}. Select another run, or delete this folder.")
        st.stop()
    if with_epochs:
        need_epochs(info)
    return chosen


def player_link(name: str, beside: str | None = None, label: str = "Player") -> None:
    """A link to the player of a run, or of two, at the selected epoch and sample.

    None where a page runs by itself, without the others.
    """
    with contextlib.suppress(StreamlitPageNotFoundError):
        st.page_link(
            "views/player/page.py",
            label=label,
            icon=":material/slideshow:",
            query_params=link(run=name, against=beside),
            width="content",
        )


def select_run(label: str) -> None:
    """The list of runs, by labels that say what differs; it selects the run of all pages."""
    labels = run_names.labels()
    st.selectbox(
        label,
        runs().names(),
        format_func=lambda name: labels.get(name, name),
        label_visibility="collapsed",
        **bound("run"),
    )


def has_epochs(name: str) -> bool:
    return epochs_file(runs().folder(name)).exists() and bool(run_cache.records(name))


def need_epochs(info: RunInfo) -> None:
    """End the page while a run has no completed epoch; the page reruns when it has one."""
    if has_epochs(info.name):
        return
    if info.state == "failed":
        st.error(f"This run failed before its first epoch: {escaping.lines(info.message)}")
        st.stop()
    if not info.active:
        empty(
            "This run ended before its first epoch was complete. Resume it on **Train**, or select "
            "another run."
        )
    st.info("The first epoch is in progress; this page updates automatically.")
    runs().mark_watched(info.name)

    def changed() -> str | None:
        runs().mark_watched(info.name)
        waiting = not has_epochs(info.name) and runs().info(info.name).active
        return None if waiting and badge_is_current(info) else "app"

    live_updates.poll("wait-epoch", changed, every=1.0)
    st.stop()
