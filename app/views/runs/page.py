"""Runs: the queue and all runs of this server, with a teacher's controls."""

import math
from collections.abc import Callable
from typing import Any

import streamlit as st

from app.components import live_updates, page, passcode_form, run_list, run_names, run_picker
from app.components.text import minutes, time_left
from app.server import escaping
from app.server.run_info import RunInfo
from app.server.run_settings import GB
from app.server.visible_runs import runs
from app.server.visitors import Visitor, has_login, visitor
from app.state.url_state import get, link, put
from app.views.runs import marked_runs
from engine.analysis import run_table


def login() -> None:
    """Streamlit's own login, if it is configured: e-mails in MIXNN_TEACHERS are teachers."""
    if not has_login():
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.user.get("is_logged_in", False):
            st.button("Log out", key="logout", on_click=st.logout)
            st.caption(f"Logged in as {st.user.get('email', 'a user without an e-mail address')}.")
        else:
            st.button("Log in", key="login", icon=":material/login:", on_click=st.login)


def row(infos: list[RunInfo], labels: dict[str, str]) -> None:
    """An active run, or several of one request, with its state and the buttons of its owner."""
    info, name = infos[0], infos[0].name
    allowed = runs().may_control(name, visitor())
    with st.container(horizontal=True, vertical_alignment="center"):
        run_picker.state_badge(info)
        st.page_link(
            "views/train/page.py",
            label=escaping.markdown(labels.get(name, name)),
            query_params=link(run=name, epoch=None),
        )
        if len(infos) > 1:
            n = len(infos) - 1
            st.caption(f"and {n} more run{'s' * (n > 1)} of the same request")
        st.caption(details(info))
        st.space("stretch")
        if info.state != "queued":
            marked_runs.pin_button(info, "pin-active")
        if len(infos) > 1:
            button("Stop all", "stop-all", stop_group, info.group, off=not allowed)
        else:
            button("Stop", "stop", runs().stop, name, off=not allowed)


def stop_group(group: str, who: Visitor) -> None:
    """Stop the runs of one request."""
    runs().stop_group(group, who)


def details(info: RunInfo) -> str:
    """Owner, progress and marks of a run, in Markdown."""
    words = [run_list.owner_in_words(info.owner)]
    if info.state in ("running", "paused"):
        left = time_left(info.seconds_left)
        words.append(f"epoch {info.epoch} of {info.n_epochs - 1}{left}")
        words.append(f"last watched {minutes(info.unwatched)} ago")
    if info.pinned:
        words.append("pinned")
    if runs().private(info.name):
        words.append("private")
    return escaping.markdown(" · ".join(words))


def button(
    label: str,
    key: str,
    command: Callable[[str, Visitor], object],
    name: str,
    *,
    off: bool = False,
    **options: Any,
) -> None:
    """A button that gives a command for a run; an error is shown on the page."""
    st.button(
        label,
        key=f"{key}-{name}",
        disabled=off,
        on_click=page.guarded(command),
        args=(name, visitor()),
        **options,
    )


@page.guarded
def active() -> None:
    """The runs that train or wait in the queue."""
    visible, (training, waiting) = runs().active(), runs().n_active()
    st.subheader(f"{training} training, {waiting} waiting", anchor=False)
    if hidden := training + waiting - len(visible):
        st.caption(f"{hidden} of them are private runs of other visitors.")
    elif not visible:
        st.caption("No run is training. Runs that are started appear here.")
    labels = run_names.labels()
    together: dict[str, list[RunInfo]] = {}
    for info in visible:
        together.setdefault(info.group or info.name, []).append(info)
    for infos in together.values():
        row(infos, labels)


@page.guarded
def change_limits() -> None:
    """Apply the limits that the teacher entered; only a change does, not what a page shows."""
    entered = st.session_state
    runs().limit(visitor(), slots=entered["slots"], per_visitor=entered["limit"])


def retention() -> str:
    """When runs are removed automatically, and when that last happened."""
    rules = []
    if math.isfinite(days := runs().keep_days):
        rules.append(f"{days:g} days after its end")
    if math.isfinite(limit := runs().keep_bytes):
        rules.append(f"the oldest first, when all runs take more than {limit / GB:g} GB")
    if not rules:
        return "Runs are kept until they are deleted."
    text = (
        "A visitor's run that is not pinned and has no decisions on its labels is removed "
        f"{', or '.join(rules)}."
    )
    last = runs().last_cleanup()
    if last:
        text += f" Last on {last['at'][:10]}: {last['old']} for their age, "
        text += f"{last['large']} for their size."
    return text


page.head(
    "What runs on this server?",
    "Runs share the processor, so they wait in a queue and train one after another. They continue "
    "when you leave the page; a run that no one watches for long is stopped and can be resumed.",
    "fork",
    "epoch",
)
passcode_form.form()
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
states = {info.name: info.state for info in runs().active()}
rows = run_table.rows(runs().root, states, shown=runs().sees_folder)
st.subheader(f"All runs: {len(rows)}", anchor=False)
st.caption(retention())
if rows:
    names = run_names.labels(rows)
    marked = [name for name in get("marked") if name in names]
    actions = st.container()  # above the table, so that marking a row moves nothing below it
    run_list.table(rows, names, marked, lambda chosen: put(marked=tuple(chosen)))
    with actions:
        marked_runs.show(rows, marked, names)
