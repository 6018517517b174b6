"""The choice of a run, its state as a badge, and the page of a run without an epoch."""

import streamlit as st

from app.components import live_updates
from app.components.page import empty
from app.server import escaping, run_cache
from app.server.run_info import RunInfo
from app.server.visible_runs import runs
from app.state import selection
from app.state.url_state import bound, get, put
from engine.runs.records import epochs_file

SIGNS = {  # of a run's state: shape beside color
    "queued": "◷", "running": "▶", "paused": "⏸", "done": "✓", "stopped": "■", "failed": "✕",
    "interrupted": "⚠", "broken": "✕",
}  # fmt: skip
COLORS = {
    "queued": "gray", "running": "blue", "paused": "orange", "done": "green", "stopped": "gray",
    "failed": "red", "interrupted": "orange", "broken": "red",
}  # fmt: skip


def state_badge(where: RunInfo) -> None:
    """A run's state as a small badge: sign, word and color."""
    text = f"{SIGNS[where.state]} {where.state}"
    if where.state == "queued":
        text += f", number {where.position}"
    st.badge(text, color=COLORS[where.state], width="content")


def chosen_run() -> str | None:
    """The selected run, or the newest one and a message where there is no such run; None: none."""
    found, name = selection.run(), get("run")
    if name is not None and found != name:
        instead = ": showing the newest one instead" if found else ""
        st.error(f"run = {escaping.markdown(repr(name))} is not on this server{instead}.")
    return found


def pick_run(*, with_epochs: bool = True) -> str:
    """A picker of runs; the page stops with an empty state where there is nothing to show."""
    chosen = chosen_run()
    if chosen is None:
        empty("There is no run yet. One click on **Train** starts one; it takes seconds.")
    if get("run") != chosen:
        put(run=chosen)
    where = runs().info(chosen)
    with st.container(horizontal=True, vertical_alignment="center", key="run-picker"):
        # the options bear no state: an option that changes its text loses the choice
        st.selectbox("Run", runs().names(), label_visibility="collapsed", **bound("run"))
        state_badge(where)
    if where.state == "broken":
        st.error(f"{escaping.lines(where.message)}. Choose another run, or delete this folder.")
        st.stop()
    if with_epochs:
        need_epochs(where)
    return chosen


def need_epochs(where: RunInfo) -> None:
    """Stop the page where a run has no epoch to show yet; come back by itself when it has."""
    if epochs_file(runs().folder(where.name)).exists() and run_cache.records(where.name):
        return
    if where.state == "failed":
        st.error(f"This run failed before its first epoch: {escaping.lines(where.message)}")
        st.stop()
    if not where.active:
        empty("This run ended before its first epoch. Resume it on **Train**, or choose another.")
    st.info("The first epoch is under way; this page fills itself in a moment.")
    runs().mark_watched(where.name)

    def changed() -> str | None:
        runs().mark_watched(where.name)
        there = epochs_file(runs().folder(where.name)).exists() and run_cache.records(where.name)
        return None if not there and runs().info(where.name).active else "app"

    live_updates.keep_looking("wait-epoch", changed, every=1.0)
    st.stop()
