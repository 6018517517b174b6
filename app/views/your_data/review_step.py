"""Step 3 of Your data: the run while it trains, then the review of its labels."""

from typing import Any

import numpy as np
import streamlit as st

from app.components import images, live_updates, page, run_picker
from app.components.text import time_left
from app.server import escaping
from app.server.decisions import Decision
from app.server.label_issues import issues_of
from app.server.run_info import RunInfo
from app.server.run_view import RunView
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state import selection
from app.state.url_state import bound, get, link, put
from app.views.your_data import decide, evidence, review_wall
from app.views.your_data.reviews import READ_ONLY, reviews_of
from engine.analysis.label_issues import LabelIssues

ENDED_EARLY = {"failed": "failed", "stopped": "was stopped", "interrupted": "was interrupted"}
FORK = " Fork it, or start your own, to decide yourself."
VIEWS = {"one": "One by one", "wall": "Wall"}
SHOWN = {"open": "Not decided yet", "decided": "Decided", "all": "All suspicious"}


def show() -> None:
    """The progress of the run while it trains, then the review of its labels."""
    name = run_picker.pick_run(with_epochs=False)
    info = runs().info(name)
    if info.active:
        show_progress(info)
        return
    if info.state in ENDED_EARLY:
        st.warning(f"This run {ENDED_EARLY[info.state]}: {escaping.lines(info.message)}.")
        st.page_link("views/train/page.py", label="Resume it on Train", query_params=link(run=name))
    run_picker.need_epochs(info)
    page.switch("Review", VIEWS, **bound("desk_view"))
    # The wall is no fragment: after a restart of the server the browser sends the decisions that
    # wait before the page has run again, and Streamlit would drop a message for a fragment then.
    (review_all if get("desk_view") == "wall" else review)(name)


def show_progress(shown: RunInfo) -> None:
    """The progress of the run; the page continues with the review by itself.

    shown: what the badge of the page says of the run.
    """
    name = shown.name

    def changed() -> str | None:
        runs().mark_watched(name)
        return None if run_picker.badge_is_current(shown) else "app"

    @page.guarded
    def progress() -> None:
        info = runs().info(name)
        if info.state == "queued":
            st.info(run_picker.waiting_words(info.position), icon=":material/hourglass:")
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


@page.guarded
def review_all(name: str) -> None:
    """All labels of a run on the wall."""
    _say_who_decides(name)
    view = RunView(name)
    issues = issues_of(view)
    evidence.estimate(issues)
    review_wall.show(view, issues)


@st.fragment
@page.guarded
def review(name: str) -> None:
    """A suspicious label of a run, its evidence, the decision and the list, on one screen."""
    _say_who_decides(name)
    view = RunView(name)
    _reset_filters(len(view.classes))
    issues, decisions = issues_of(view), reviews_of(name).latest()
    evidence.estimate(issues)
    if not len(issues.flagged) and get("sample") is None:
        if issues.noise is not None:
            st.success("No label of this run looks wrong. There is nothing to review.")
        return
    queue, sample = decide.queue_of(issues, decisions), selection.sample(len(issues.given))
    if sample is None:
        sample = int(queue[0]) if len(queue) else None
    _progress(view, issues, decisions, queue, sample)
    if sample is None:
        _all_done(issues)
        st.button(
            "Undo",
            shortcut="U",
            on_click=decide.undo,
            args=(name,),
            icon=":material/undo:",
            key="undo-done",
        )
        return
    data = evidence.images_of(view)
    with st.container(key="desk"):
        left, middle, right = st.columns([3, 4, 4], gap="medium")
    with left:
        evidence.image(view, issues, sample, data, decisions)
    with middle:
        decide.choices(view, issues, sample)
    with right:
        evidence.neighbors(view, issues, sample, data)
    evidence.listing(view, issues, queue, decisions, data)


def _say_who_decides(name: str) -> None:
    runs().mark_watched(name)
    if not runs().may_control(name, visitor()):
        st.info(READ_ONLY + ("" if runs().private(name) else FORK), icon=":material/visibility:")


def _progress(
    view: RunView,
    issues: LabelIssues,
    decisions: dict[int, Decision],
    queue: np.ndarray,
    sample: int | None,
) -> None:
    decided = [decisions[s] for s in issues.flagged.tolist() if s in decisions]
    counts = {
        word: sum(d.kind == kind for d in decided) for kind, word in evidence.DECISIONS.items()
    }
    summary = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    text = f"**{len(decided):,} of {len(issues.flagged):,}** suspicious labels decided"
    n_other = int((issues.suggested != issues.given)[issues.flagged].sum())
    suggestions = f"for the first {n_other:,} another label is suggested"
    with st.container(horizontal=True, vertical_alignment="bottom", key="desk-progress"):
        st.progress(len(decided) / max(len(issues.flagged), 1), f"{text}: {summary or suggestions}")
        if sample is not None:
            _steps(queue, sample)
        with st.popover("Filter •" if _is_filtered() else "Filter", icon=":material/filter_list:"):
            _filters(view.classes)


def _filters(classes: list[str]) -> None:
    images.smooth_toggle("review")
    st.selectbox("Show", list(SHOWN), format_func=SHOWN.__getitem__, **_restart("desk_show"))
    st.selectbox(
        "Given label",
        [-1, *range(len(classes))],
        format_func=lambda c: "any" if c < 0 else classes[c],
        **_restart("desk_class", -1, convert=lambda c: None if c < 0 else c),
    )
    st.slider(
        "Suggestion at least this likely",
        0.0,
        1.0,
        step=0.05,
        **_restart("desk_sure", 0.0, convert=lambda share: share or None),
    )


def _restart(name: str, *shown: Any, **options: Any) -> dict[str, Any]:
    """Like `bound`; a change also goes back to the start of the list."""
    widget = bound(name, *shown, **options)
    take = widget["on_change"]

    def change() -> None:
        take()
        put(sample=None)

    return widget | {"on_change": change}


def _reset_filters(n_classes: int) -> None:
    """Reset filters of a link that do not fit this run."""
    if (get("desk_class") or 0) >= n_classes:
        put(desk_class=None)
    if not 0 <= (get("desk_sure") or 0) <= 1:
        put(desk_sure=None)


def _is_filtered() -> bool:
    return get("desk_class") is not None or bool(get("desk_sure")) or get("desk_show") != "open"


def _steps(queue: np.ndarray, sample: int) -> None:
    """Backward and forward through the queue without a decision."""
    places = np.flatnonzero(queue == sample)
    at = int(places[0]) if len(places) else -1
    for icon, key, to in (("chevron_left", "Left", at - 1), ("chevron_right", "Right", at + 1)):
        exists = 0 <= to < len(queue)
        st.button(
            "",
            icon=f":material/{icon}:",
            key=f"go-{key}-{sample}",
            shortcut=key,
            disabled=not exists,
            on_click=put,
            kwargs={"sample": int(queue[to]) if exists else None},
            help="Next label" if to > at else "Previous label",
        )


def _all_done(issues: LabelIssues) -> None:
    if _is_filtered():
        st.info("No suspicious label passes the filter.")
        st.button(
            "Clear the filter",
            on_click=put,
            icon=":material/filter_list_off:",
            kwargs=dict(desk_show=None, desk_class=None, desk_sure=None),
        )
    else:
        st.success(f"All {len(issues.flagged):,} suspicious labels are decided. Well done.")
        if st.button("Download the results", type="primary", key="to-take"):
            put(step="take")
            st.rerun()
