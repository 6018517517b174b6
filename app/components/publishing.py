"""The button "Publish": one run, or two, as one HTML file that needs no server."""

import streamlit as st

from app.components import downloads, live_updates
from app.server import escaping, run_cache
from app.server.publishing import Publication
from app.server.visible_runs import runs

JOB = "publishing.job"  # of the session: what is published, and the thread that writes it
HELP = (
    "One HTML file with this player, tables, settings and the corrected labels. It opens without "
    "a server and loads nothing."
)


def button(*names: str) -> None:
    """Write the page when clicked, show that it is written, then offer to save it.

    names: visible runs with an epoch. Whoever saves the page must still see them at that moment.
    """
    what = tuple((name, len(run_cache.records(name))) for name in names)
    known, job = st.session_state.get(JOB, ((), None))
    if job is not None and [name for name, _ in known] != list(names):
        st.session_state.pop(JOB)
        job = None
    if job is not None and job.is_alive():
        _wait(job)
    elif job is not None and job.size and known == what:
        downloads.button(
            f"Save the page ({job.size / 1e6:.1f} MB)",
            job.content,
            f"{'-and-'.join(names)}.html",
            mime="text/html",
            key="publish-save",
            type="primary",
        )
    else:
        if job is not None and job.refusal:
            st.error(escaping.lines(job.refusal))
        st.button(
            "Publish", icon=":material/ios_share:", key="publish", help=HELP,
            on_click=_begin, args=(names, what),
        )  # fmt: skip


def _begin(names: tuple[str, ...], what: tuple[tuple[str, int], ...]) -> None:
    for name in names:
        runs().info(name)  # whether the visitor may see it
    job = Publication([run_cache.run(name) for name in names])
    st.session_state[JOB] = (what, job)
    job.start()


def _wait(job: Publication) -> None:
    def note() -> None:
        st.caption(f":material/hourglass: Writing the page … {job.seconds} s")

    live_updates.poll("publishing", lambda: None if job.is_alive() else "app", every=1.0, draw=note)
