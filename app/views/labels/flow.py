"""Which labels became which, and when: the flow of labels and their flips over the epochs."""

import streamlit as st

from app.components import figures
from app.state.url_state import bound, get
from app.views.labels.label_table import LabelView, flow_table
from engine.analysis import label_changes
from engine.analysis.label_outcomes import LabelOutcome
from engine.charts import labels as charts
from engine.charts import theme


def flow(labels: LabelView) -> None:
    """Given labels at the left, corrected labels at the right."""
    st.subheader("Which labels became which?", anchor=False)
    truth_known = labels.true is not None
    shown = (
        LabelOutcome.possible(truth_known) if get("kept") else charts.changed_outcomes(truth_known)
    )
    legend(shown, truth_known)
    st.toggle("Show unchanged labels, too", **bound("kept"), disabled=not labels.n_changed)
    fig = charts.label_flow(
        labels.given, labels.corrected, labels.true, labels.classes, kept=get("kept")
    )
    figures.show(
        fig,
        f"{labels.name}-flow-epoch{labels.epoch}",
        alt=f"Flow from given labels at the left to corrected labels at the right at epoch "
        f"{labels.epoch}; {labels.n_changed} labels changed",
        data=lambda: flow_table(labels),
    )


def legend(shown: tuple[LabelOutcome, ...], truth_known: bool) -> None:
    """The color, mark and meaning of each outcome."""
    spans = "".join(
        '<span><span style="display:inline-block;width:14px;'
        f"height:14px;background:{theme.OUTCOMES[outcome].color};border-radius:3px;"
        'vertical-align:-2px;margin-right:6px"></span>'
        f"{theme.OUTCOMES[outcome].mark} {charts.outcome_meaning(outcome, truth_known)}</span>"
        for outcome in shown
    )
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:2px 18px;font-size:14px">{spans}</div>')


def flips(labels: LabelView) -> None:
    """How many labels flipped in each epoch."""
    st.subheader("When did labels flip?", anchor=False)
    until_now = labels.flips.until(labels.epoch)
    st.markdown(label_changes.flip_summary(until_now, labels.given, labels.corrected))
    if not len(labels.flips.epoch):
        return
    first = min(int(labels.flips.epoch[0]), labels.records[0]["epoch"])
    fig = charts.flips_over_time(
        labels.flips,
        labels.true,
        (first, labels.records[-1]["epoch"]),
        begins=labels.correction_start,
    )
    figures.show(
        fig,
        f"{labels.name}-flips",
        alt="Bars: how many labels flipped in each epoch, by outcome",
        over_epochs=True,
    )
