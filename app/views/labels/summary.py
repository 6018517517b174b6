"""What correction has done up to an epoch: a sentence and four numbers, or why nothing yet."""

import streamlit as st

from app.components.text import percent
from app.server import escaping
from app.server.label_issues import issues_of
from app.state.url_state import put
from app.views.labels.label_table import LabelView, outcome_title
from engine.analysis import label_changes
from engine.analysis.label_outcomes import LabelOutcome
from engine.charts.theme import METHODS


def show(labels: LabelView) -> None:
    """How many labels are wrong, and what correction has done, in sentences and four numbers."""
    st.caption(f"By the epochs before correction: {issues_of(labels.view).estimate()}")
    if missing := labels.run.not_logged("panel_features"):
        st.info(f"Neighbors cannot vote. {escaping.lines(missing)}", icon=":material/info:")
    if not labels.n_changed:
        st.info(why_unchanged(labels), icon=":material/schedule:")
        first_change_button(labels)
        return
    truth_known = labels.true is not None
    st.markdown(label_changes.outcome_summary(labels.counts, labels.epoch, truth_known=truth_known))
    with st.container(horizontal=True, key="label-numbers"):
        numbers(labels)


def why_unchanged(labels: LabelView) -> str:
    """Why no label has changed at this epoch, and when correction starts."""
    config, start = labels.run.config, labels.correction_start
    if start is None and labels.run.is_recorded:
        return (
            "All given labels are kept. If the loop corrects labels, log them with "
            "`recorder.log(epoch, soft=...)`."
        )
    if start is None:
        method = METHODS.get(config.method, config.method)
        return (
            f"This run's method ({method}) corrects no labels: all given labels are kept. "
            "**MixNN**, **MixNN+**, **SSR** and **SELC** correct them; choose one on Train."
        )
    if labels.epoch >= start:
        text = (
            f"Correction started at epoch {start} and has changed no label up to epoch "
            f"{labels.epoch}"
        )
        if labels.record["settings"]["correction"] != "ema":
            return f"{text}: for none is another class likely enough."
        alpha = labels.record["settings"]["alpha"]
        return f"{text}: with alpha {alpha:g} soft labels take a while to move that far."
    if start >= config.epochs:
        return (
            f"No label will be corrected: correction would start at epoch {start}, but the run "
            f"ends with epoch {config.epochs - 1}. Let it start earlier, or train longer."
        )
    return (
        f"No label is corrected yet at epoch {labels.epoch}: correction starts at epoch {start}. "
        "Until then the network trains on the given labels."
    )


def first_change_button(labels: LabelView) -> None:
    """A button to the first epoch that changed labels, if it is a later one."""
    epochs = [r["epoch"] for r in labels.records if r["metrics"]["changed_labels"]]
    if epochs and epochs[0] > labels.epoch:
        st.button(
            f"Go to epoch {epochs[0]}, where labels change first",
            icon=":material/arrow_forward:",
            on_click=lambda: put(epoch=epochs[0]),
        )


def numbers(labels: LabelView) -> None:
    """Labels right now, and how many were corrected, missed and harmed."""
    n = len(labels.given)
    if labels.true is None:
        st.metric("Labels changed", f"{labels.n_changed:,} of {n:,}", border=True)
        return
    n_right = int((labels.given == labels.true).sum())
    n_wrong = n - n_right
    right = (labels.corrected == labels.true).mean()
    st.metric(
        "Labels right",
        percent(right),
        f"{100 * (right - n_right / n):+.1f} points",
        border=True,
        help=f"{percent(n_right / n)} of the given labels were right.",
    )
    for outcome, total, before in (
        (LabelOutcome.CORRECTED, n_wrong, "wrong"),
        (LabelOutcome.MISSED, n_wrong, "wrong"),
        (LabelOutcome.HARMED, n_right, "right"),
    ):
        count = labels.counts[outcome]
        st.metric(
            outcome_title(outcome),
            f"{count:,} of {total:,}",
            percent(count / total if total else None),
            border=True,
            delta_color="off",
            delta_arrow="off",
            height="stretch",
            help=f"{outcome.meaning()} Of all given labels that were {before}.",
        )
