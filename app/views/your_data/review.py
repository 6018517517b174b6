"""The review: one suspicious label after the other, its evidence, a decision by key."""

from typing import Any

import numpy as np
import streamlit as st

from app.components import page
from app.server import escaping
from app.server.decisions import Decision
from app.server.label_issues import issues_of
from app.server.run_info import RunsError
from app.server.run_view import RunView
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state import selection
from app.state.url_state import bound, get, put
from app.views.your_data import evidence
from engine.analysis.label_issues import LabelIssues

MAX_CHOICES = 9  # labels that have a key
MAX_CHARACTERS = 48  # of small buttons that fit into one line
SMALL = (
    ".st-key-others kbd{display:none} .st-key-others button{min-height:2rem;padding:0 .7rem}"
    ".st-key-others{padding:.2rem 0}"
)
MIN_LIKELIHOOD = 0.005  # below it a label has no row of its own
HOW_LIKELY = (
    "How likely each label is: the network's prediction for this image, averaged over the epochs. "
    "The given label counts only as far as the network agrees with it."
)
READ_ONLY = (
    "This run belongs to another visitor, who decides on its labels: you can only view them."
)
FORK = " Fork it, or start your own, to decide yourself."
SHOWN = {"open": "Not decided yet", "decided": "Decided", "all": "All suspicious"}


@st.fragment
@page.guarded
def show(name: str) -> None:
    """A suspicious label of a run, its evidence, the decision and the list, on one screen."""
    runs().mark_watched(name)
    if not runs().may_control(name, visitor()):
        st.info(READ_ONLY + ("" if runs().private(name) else FORK), icon=":material/visibility:")
    view = RunView(name)
    _reset_filters(len(view.classes))
    issues, decisions = issues_of(view), evidence.reviews_of(name).latest()
    evidence.warn(issues)
    if not len(issues.flagged) and get("sample") is None:
        st.success("No label of this run looks wrong. There is nothing to review.")
        return
    queue, sample = _queue(issues, decisions), selection.sample(len(issues.given))
    if sample is None:
        sample = int(queue[0]) if len(queue) else None
    _progress(view, issues, decisions, queue, sample)
    if sample is None:
        _all_done(issues)
        st.button(
            "Undo",
            shortcut="U",
            on_click=_undo,
            args=(name,),
            icon=":material/undo:",
            key="undo-done",
        )
        return
    images = evidence.images_of(view)
    left, middle, right = st.columns([3, 4, 4], gap="medium")
    with left:
        evidence.image(view, issues, sample, images, decisions)
    with middle:
        _choices(view, issues, sample)
    with right:
        evidence.neighbors(view, issues, sample, images)
    evidence.listing(view, issues, queue, decisions, images)


def _queue(issues: LabelIssues, decisions: dict[int, Decision]) -> np.ndarray:
    """The suspicious samples that the filters let through, most suspicious first."""
    order = issues.flagged
    decided = np.isin(order, list(decisions))
    keep = {"open": ~decided, "decided": decided, "all": np.ones(len(order), bool)}[
        get("desk_show")
    ]
    if get("desk_class") is not None:
        keep &= issues.given[order] == get("desk_class")
    if get("desk_sure"):
        keep &= issues.confidence()[order] >= get("desk_sure")
    return order[keep]


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


def _reset_filters(n_classes: int) -> None:
    """Reset filters of a link that do not fit this run."""
    if (get("desk_class") or 0) >= n_classes:
        put(desk_class=None)
    if not 0 <= (get("desk_sure") or 0) <= 1:
        put(desk_sure=None)


def _filters(classes: list[str]) -> None:
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


def _choices(view: RunView, issues: LabelIssues, sample: int) -> None:
    """The possible labels, most likely first, each with a key; other classes; keep, skip, undo."""
    name, classes = view.name, view.classes
    likely, given = issues.pred_probs[sample], int(issues.given[sample])
    order = offered(likely, given)
    keys = keys_of(classes, order)
    st.markdown("**What does it show?**", help=HOW_LIKELY)
    styles, disabled = [], not runs().may_control(name, visitor())
    with st.container(gap="xxsmall", key="picks"):
        for number, label in enumerate(order, start=1):
            key = f"pick-{sample}-{number}"
            mark = " (given)" if label == given else ""
            st.button(
                f"**{escaping.markdown(classes[label])}**{mark} :gray[{_percent(likely[label])}]",
                key=key,
                width="stretch",
                shortcut=keys[label],
                disabled=disabled,
                on_click=_decide,
                args=(name, sample, label, given),
            )
            styles.append(
                f".st-key-{key} button{{background-image:linear-gradient(rgba(0,114,178,.28),"
                f"rgba(0,114,178,.28));background-repeat:no-repeat;background-size:"
                f"{100 * likely[label]:.1f}% 100%}}"
            )
    st.html(f"<style>{SMALL}{''.join(styles)}</style>")
    _other_classes(view, sample, given, [c for c in range(len(classes)) if c not in order])
    with st.container(horizontal=True, gap="small", key="desk-keys"):
        st.button(
            "Keep",
            key=f"keep-{sample}",
            shortcut="K",
            on_click=_decide,
            args=(name, sample, given, given),
            icon=":material/check:",
            disabled=disabled,
            help="The given label is right",
        )
        st.button(
            "Skip",
            key=f"skip-{sample}",
            shortcut="S",
            on_click=_decide,
            args=(name, sample, given, given, "skip"),
            icon=":material/skip_next:",
            disabled=disabled,
            help="I cannot tell: keep the given label",
        )
        st.button(
            "Undo",
            key=f"undo-{sample}",
            shortcut="U",
            on_click=_undo,
            args=(name,),
            icon=":material/undo:",
            help="Undo your last decision and return to it",
            disabled=disabled,
        )


def offered(likely: np.ndarray, given: int) -> list[int]:
    """The labels with a row of their own, most likely first; the given one is among them."""
    ranked = np.argsort(-likely, kind="stable").tolist()
    labels = [c for n, c in enumerate(ranked) if n < 3 or likely[c] >= MIN_LIKELIHOOD][:MAX_CHOICES]
    return labels if given in labels else [*labels[: MAX_CHOICES - 1], given]


def keys_of(classes: list[str], order: list[int]) -> dict[int, str]:
    """The key of each label offered: its position; for classes named 0 to 9 the digit itself.

    order: the labels offered, in order.
    """
    places = enumerate(order, start=1)
    return {c: classes[c] if _are_digits(classes) else str(place) for place, c in places}


def _are_digits(classes: list[str]) -> bool:
    return all(len(name) == 1 and name in "0123456789" for name in classes)


def _other_classes(view: RunView, sample: int, given: int, others: list[int]) -> None:
    """Every class that has no row: small buttons if they are few and short, else a list."""
    name, classes = view.name, view.classes
    disabled = not runs().may_control(name, visitor())
    if not others:
        return
    if sum(len(classes[c]) + 4 for c in others) > MAX_CHARACTERS:
        key = f"other-{sample}"
        st.selectbox(
            "Another class",
            others,
            index=None,
            format_func=lambda c: classes[c],
            key=key,
            placeholder="Another class",
            label_visibility="collapsed",
            disabled=disabled,
            on_change=_decide_other,
            args=(name, sample, given, key),
        )
        return
    with st.container(horizontal=True, gap="xxsmall", key="others"):
        for c in others:
            st.button(
                escaping.markdown(classes[c]),
                key=f"other-{sample}-{c}",
                shortcut=classes[c] if _are_digits(classes) else None,
                disabled=disabled,
                on_click=_decide,
                args=(name, sample, c, given),
            )


def _percent(share: float) -> str:
    if share < 0.01:
        return r"\<1 %"
    return r"\>99 %" if share > 0.99 else f"{100 * share:.0f} %"


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


def _is_filtered() -> bool:
    return get("desk_class") is not None or bool(get("desk_sure")) or get("desk_show") != "open"


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


@page.guarded
def _decide(name: str, sample: int, label: int, given: int, kind: str | None = None) -> None:
    """Record a decision and continue with the next undecided label of the list."""
    _check_owner(name)
    kind = kind or ("keep" if label == given else "change")
    reviews, issues = evidence.reviews_of(name), issues_of(RunView(name))
    queue = _queue(issues, reviews.latest())
    later = queue[
        np.searchsorted(_rank(issues, queue), _rank(issues, np.array([sample]))[0], "right") :
    ]
    reviews.decide(sample, kind, label, by=visitor().id)
    left = [s for s in (*later.tolist(), *queue.tolist()) if s != sample]
    put(sample=left[0] if left else None)


def _check_owner(name: str) -> None:
    """Raise RunsError for a visitor who may not decide on labels of this run."""
    if not runs().may_control(name, visitor()):
        raise RunsError(READ_ONLY)


def _rank(issues: LabelIssues, samples: np.ndarray) -> np.ndarray:
    """Positions in the order of suspicion; after all others for samples that are not suspicious."""
    places = np.full(len(issues.given), len(issues.flagged))
    places[issues.flagged] = np.arange(len(issues.flagged))
    return places[samples]


def _decide_other(name: str, sample: int, given: int, key: str) -> None:
    if (label := st.session_state[key]) is not None:
        _decide(name, sample, label, given)


@page.guarded
def _undo(name: str) -> None:
    _check_owner(name)
    undone = evidence.reviews_of(name).undo(visitor().id)
    if undone is None:
        st.toast("Nothing to undo.")
    else:
        put(sample=undone.sample)
