"""Deciding on a label: the labels to choose from, each with a key, and what a decision does."""

import numpy as np
import streamlit as st

from app.components import page
from app.server import escaping
from app.server.decisions import Decision
from app.server.label_issues import issues_of
from app.server.run_view import RunView
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import get, put
from app.views.your_data.reviews import check_owner, reviews_of
from engine.analysis.label_issues import LabelIssues

DECISIONS = {  # that keep the given label: key, icon, meaning
    "keep": ("K", ":material/check:", "The given label is right"),
    "skip": ("S", ":material/skip_next:", "I cannot tell: keep the given label"),
    "remove": (
        "X",
        ":material/delete:",
        "It belongs to no class: leave it out of the exported data set",
    ),
}
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


def choices(view: RunView, issues: LabelIssues, sample: int) -> None:
    """The possible labels, the suggested one first, each with a key; keep, skip, undo."""
    name, classes = view.name, view.classes
    likely, given = issues.pred_probs[sample], int(issues.given[sample])
    order = sorted(offered(likely, given), key=lambda label: label != issues.suggested[sample])
    keys = keys_of(classes, order)
    st.markdown("**What does it show?**", help=HOW_LIKELY)
    styles, disabled = [], not runs().may_control(name, visitor())
    with st.container(gap="xxsmall", key="picks"):
        for number, label in enumerate(order, start=1):
            key = f"pick-{sample}-{number}"
            mark = " (given)" if label == given else ""
            st.button(
                f"**{escaping.markdown(classes[label])}**{mark} :gray[· {_percent(likely[label])}]",
                key=key,
                width="stretch",
                shortcut=keys[label],
                disabled=disabled,
                on_click=decide,
                args=(name, sample, label, given),
            )
            styles.append(
                f".st-key-{key} button{{background-image:linear-gradient(rgba(0,114,178,.28),"
                f"rgba(0,114,178,.28));background-repeat:no-repeat;background-size:"
                f"{100 * likely[label]:.1f}% 100%}}"
            )
    st.html(f"<style>{SMALL}{''.join(styles)}</style>")
    _other_classes(view, sample, given, [c for c in range(len(classes)) if c not in order])
    _keep_skip_undo(name, sample, given, disabled)


def _keep_skip_undo(name: str, sample: int, given: int, disabled: bool) -> None:
    with st.container(horizontal=True, gap="small", key="desk-keys"):
        for kind, (key, icon, meaning) in DECISIONS.items():
            st.button(
                kind.capitalize(),
                key=f"{kind}-{sample}",
                shortcut=key,
                on_click=decide,
                args=(name, sample, given, given, kind),
                icon=icon,
                disabled=disabled,
                help=meaning,
            )
        st.button(
            "Undo",
            key=f"undo-{sample}",
            shortcut="U",
            on_click=undo,
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
            on_change=decide_other,
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
                on_click=decide,
                args=(name, sample, c, given),
            )


def _percent(share: float) -> str:
    if share < 0.01:
        return r"\<1 %"
    return r"\>99 %" if share > 0.99 else f"{100 * share:.0f} %"


def queue_of(issues: LabelIssues, decisions: dict[int, Decision]) -> np.ndarray:
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


@page.guarded
def decide(name: str, sample: int, label: int, given: int, kind: str | None = None) -> None:
    """Record a decision and continue with the next undecided label of the list."""
    check_owner(name)
    kind = kind or ("keep" if label == given else "change")
    reviews, issues = reviews_of(name), issues_of(RunView(name))
    queue = queue_of(issues, reviews.latest())
    later = queue[
        np.searchsorted(_rank(issues, queue), _rank(issues, np.array([sample]))[0], "right") :
    ]
    reviews.decide(sample, kind, label, by=visitor().id)
    left = [s for s in (*later.tolist(), *queue.tolist()) if s != sample]
    put(sample=left[0] if left else None)


def decide_other(name: str, sample: int, given: int, key: str) -> None:
    """Record the class selected in a list. key: of its widget."""
    if (label := st.session_state[key]) is not None:
        decide(name, sample, label, given)


@page.guarded
def undo(name: str) -> None:
    """Undo the visitor's last decision and return to its sample."""
    check_owner(name)
    undone = reviews_of(name).undo(visitor().id)
    if undone is None:
        st.toast("Nothing to undo.")
    else:
        put(sample=undone.sample)


def _rank(issues: LabelIssues, samples: np.ndarray) -> np.ndarray:
    """Positions in the order of suspicion; after all others for samples that are not suspicious."""
    places = np.full(len(issues.given), len(issues.flagged))
    places[issues.flagged] = np.arange(len(issues.flagged))
    return places[samples]
