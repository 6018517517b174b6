"""Runs: who trains, who waits, what is there? A teacher's view behind a passcode."""

import math
import os

import streamlit as st

from app.components import live_updates, page, run_picker
from app.components.text import minutes, time_left
from app.server import escaping
from app.server.passcode import passcodes
from app.server.run_info import RunInfo
from app.server.run_settings import GB
from app.server.visible_runs import runs
from app.server.visitors import TEACHER, has_login, visitor
from app.state.url_state import link

SHOWN = 50  # ended runs listed at once


def passcode() -> None:
    """Ask for the teacher's passcode, where the server has one."""
    secret = os.environ.get("MIXNN_PASSCODE", "")
    if visitor().teacher:
        st.success(
            "You are the teacher here: you may see, steer and stop every run.",
            icon=":material/school:",
        )
        return
    with st.expander("I am the teacher", icon=":material/key:"):
        if not secret:
            st.markdown("Start the server with `MIXNN_PASSCODE` in its environment to use this.")
            return
        with st.form("passcode", border=False):
            said = st.text_input("Passcode", type="password")
            if st.form_submit_button("Unlock"):
                refusal = passcodes().unlock(said, visitor())
                if not refusal:
                    st.session_state[TEACHER] = True
                    st.rerun()
                st.error(refusal)


def login() -> None:
    """Streamlit's own login, where the server has it: teachers are those of MIXNN_TEACHERS."""
    if not has_login():
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.user.get("is_logged_in", False):
            st.button("Log out", key="logout", on_click=st.logout)
            st.caption(f"Logged in as {st.user.get('email', 'somebody without an address')}.")
        else:
            st.button("Log in", key="login", icon=":material/login:", on_click=st.login)


def row(where: RunInfo) -> None:
    """A run, its state, and what its owner or the teacher may do."""
    name, me = where.name, visitor()
    mine = runs().may_control(name, me)
    with st.container(horizontal=True, vertical_alignment="center"):
        run_picker.state_badge(where)
        st.page_link(
            "views/train/page.py",
            label=escaping.markdown(name),
            query_params=link(run=name, epoch=None),
        )
        who = (
            "yours"
            if where.owner == me.id
            else escaping.markdown(where.owner[:4]) or "command line"
        )
        words = [f"visitor: {who}"]
        if where.state in ("running", "paused"):
            left = time_left(where.seconds_left)
            words += [f"epoch {where.epoch} of {where.n_epochs - 1}{left}"]
            words += [f"last watched {minutes(where.unwatched)} ago"]
        if where.pinned:
            words.append("goes on unwatched, and is kept" if where.active else "kept")
        if runs().private(name):
            words.append("private")
        st.caption(" · ".join(words))
        st.space("stretch")
        if where.state != "queued":
            st.button(
                "Let go" if where.pinned else "Pin",
                key=f"pin-{name}",
                disabled=not mine,
                help="A pinned run goes on although nobody watches it, and is kept when old runs "
                "are removed",
                on_click=page.guarded(runs().pin),
                args=(name, me, not where.pinned),
            )
        if where.active:
            st.button(
                "Stop",
                key=f"stop-{name}",
                disabled=not mine,
                on_click=page.guarded(runs().stop),
                args=(name, me),
            )
        elif me.teacher:
            with st.popover("Delete"):
                st.markdown(
                    f"Delete **{escaping.markdown(name)}** and everything in it? "
                    "This cannot be undone."
                )
                st.button(
                    "Delete for good",
                    key=f"delete-{name}",
                    type="primary",
                    on_click=page.guarded(runs().delete),
                    args=(name, me),
                )


@page.guarded
def active() -> None:
    """The queue."""
    found, (training, waiting) = runs().active(), runs().n_active()
    st.subheader(f"{training} training, {waiting} waiting", anchor=False)
    if hidden := training + waiting - len(found):
        st.caption(f"{hidden} of them are private to other visitors.")
    elif not found:
        st.caption("Nothing trains now. Whatever is started comes here first.")
    for where in found:
        row(where)


@page.guarded
def change_limits() -> None:
    """Take up what the teacher entered; another teacher's page does not put back what it shows."""
    chosen = st.session_state
    runs().limit(visitor(), slots=chosen["slots"], per_visitor=chosen["limit"])


def kept() -> str:
    """When runs are removed, and when that happened last."""
    when = []
    if math.isfinite(days := runs().keep_days):
        when.append(f"{days:g} days after its end")
    if math.isfinite(most := runs().keep_bytes):
        when.append(f"the oldest first, when all take more than {most / GB:g} GB")
    if not when:
        return "Runs stay until they are deleted."
    text = f"A visitor's run that is neither pinned nor decided on is removed {', or '.join(when)}."
    gone = runs().last_cleanup()
    if gone:
        text += f" Last on {gone['at'][:10]}: {gone['old']} for their age, "
        text += f"{gone['large']} for their size."
    return text


page.head(
    "What runs on this server?",
    "Runs share the processor, so they wait in a queue and train one after the other. They go on "
    "when you leave the page; a run that nobody watches for long is stopped and can be resumed.",
    "fork",
    "epoch",
)
passcode()
login()
for problem in runs().problems:
    st.warning(escaping.lines(problem))
if visitor().teacher:
    left, right = st.columns(2)
    left.number_input(
        "Runs that train at once", 1, 8, runs().slots, key="slots", on_change=change_limits
    )
    right.number_input(
        "Runs that a visitor may have queued or training",
        1,
        50,
        runs().per_visitor,
        key="limit",
        on_change=change_limits,
    )
live_updates.poll("queue", lambda: None, every=2.0, draw=active)
busy = {where.name for where in runs().active()}
ended = [name for name in runs().names() if name not in busy]
st.subheader(f"{len(ended)} ended", anchor=False)
st.caption(kept())
if len(ended) > SHOWN:
    st.caption(f"The newest {SHOWN} are listed; Compare has them all.")
for name in ended[:SHOWN]:
    row(runs().info(name))
