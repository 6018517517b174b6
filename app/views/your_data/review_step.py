"""Step 3 of Your data: the run while it trains, then the review of its labels."""

import streamlit as st

from app.components import live_updates, page, run_picker
from app.components.text import time_left
from app.server import escaping
from app.server.visible_runs import runs
from app.state.url_state import link
from app.views.your_data import review

ENDED_EARLY = {"failed": "failed", "stopped": "was stopped", "interrupted": "was interrupted"}


def show() -> None:
    """The progress of the run while it trains, then the review of its labels."""
    name = run_picker.pick_run(with_epochs=False)
    info = runs().info(name)
    if info.active:
        show_progress(name)
        return
    if info.state in ENDED_EARLY:
        st.warning(f"This run {ENDED_EARLY[info.state]}: {escaping.lines(info.message)}.")
        st.page_link("views/train/page.py", label="Resume it on Train", query_params=link(run=name))
    run_picker.need_epochs(info)
    review.show(name)


def show_progress(name: str) -> None:
    """The progress of the run; the page continues with the review by itself."""

    def changed() -> str | None:
        runs().mark_watched(name)
        return None if runs().info(name).active else "app"

    @page.guarded
    def progress() -> None:
        info = runs().info(name)
        if info.state == "queued":
            st.info(f"Waiting: number {info.position} in the queue.")
            return
        share = (info.epoch + info.batch / max(info.n_batches, 1) / 2) / max(info.n_epochs, 1)
        left = time_left(info.seconds_left)
        state = "Paused at" if info.state == "paused" else "Training:"
        st.progress(min(share, 1.0), f"{state} epoch {info.epoch + 1} of {info.n_epochs}{left}")
        st.markdown(
            "The network first learns what most labels agree on. Labels that contradict it have "
            "large losses, and the most suspicious ones will appear here when the run is done. You "
            "may close this page: the run continues, and this link leads back to it."
        )

    live_updates.poll("learning", changed, every=1.0, draw=progress)
    st.page_link(
        "views/train/page.py",
        label="Watch it train on Train",
        icon=":material/monitoring:",
        query_params=link(run=name),
    )
