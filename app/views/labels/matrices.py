"""The confusion matrices of labels and predictions, and the transition matrix of the noise."""

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures
from app.components.page import switch
from app.components.text import percent
from app.server import escaping
from app.server.label_issues import issues_of
from app.state.url_state import bound, get
from app.views.labels.label_table import LabelView
from engine.analysis.confusion import confused_pairs, confusion_counts
from engine.charts import labels as charts
from engine.noise.class_dependent import observed_matrix

MAX_PAIRS = 5  # of classes in a list


def confusion(labels: LabelView) -> None:
    """Labels against true labels, before or after correction."""
    st.subheader("How many labels are right?", anchor=False)
    if labels.true is None:
        st.info("The true labels of this data are not known, so neither is which labels are right.")
        return
    titles = {"after": f"Corrected, epoch {labels.epoch}", "before": "As given"}
    switch("Labels", titles, **bound("confusion"))
    after = get("confusion") == "after"
    shown = labels.corrected if after else labels.given
    n = len(labels.classes)
    counts = confusion_counts(labels.true, shown, n)
    fig = charts.class_matrix(
        observed_matrix(labels.true, shown, n),
        labels.classes,
        counts=counts,
        rows="true label",
        columns="corrected label" if after else "given label",
        height=430,
    )
    right = percent((shown == labels.true).mean())
    figures.show(
        fig,
        f"{labels.name}-confusion-{get('confusion')}-epoch{labels.epoch}",
        alt=f"Table of true label (row) against label (column), in percent of the row; {right} "
        "of the labels lie on the diagonal and are right",
        data=lambda: long_table(counts, labels.classes, "true_label", "label", "labels"),
    )
    st.caption(f"Percent of each true class; {right} of the labels lie on the diagonal: right.")


def predictions(labels: LabelView) -> None:
    """The network's predictions against true labels, and which classes are confused most."""
    st.subheader("Which classes does the network confuse?", anchor=False)
    if labels.true is None:
        st.info("The true labels of this data are not known: predictions cannot be checked.")
        return
    if missing := labels.run.not_logged("prediction"):
        st.info(escaping.lines(missing), icon=":material/info:")
        return
    predicted, n = np.array(labels.view.values("prediction"), np.int64), len(labels.classes)
    counts = confusion_counts(labels.true, predicted, n)
    right = percent(np.trace(counts) / max(counts.sum(), 1))
    st.markdown(
        f"Predictions for the training images after epoch {labels.epoch}: **{right}** show the "
        "true class, whatever the labels say."
    )
    left, right_side = st.columns(2, gap="large")
    with left:
        figures.show(
            charts.class_matrix(
                counts / np.maximum(counts.sum(1, keepdims=True), 1),
                labels.classes,
                counts=counts,
                rows="true label",
                columns="prediction",
            ),
            f"{labels.name}-predictions-epoch{labels.epoch}",
            alt=f"Table of true label (row) against prediction (column), in percent of the row; "
            f"{right} of the images lie on the diagonal",
            data=lambda: long_table(counts, labels.classes, "true_label", "prediction", "images"),
        )
    with right_side:
        pairs("Confused most by the network", "Predicted", labels, counts)
        given = confusion_counts(labels.true, labels.given, n)
        pairs("Confused most by the noise", "Given", labels, given)


def pairs(title: str, column: str, labels: LabelView, counts: np.ndarray) -> None:
    """A table of the most confused pairs of classes of a (C, C) confusion matrix."""
    st.markdown(f"**{title}**")
    found = confused_pairs(counts, MAX_PAIRS)
    if not found:
        st.caption("No image.")
        return
    names = [escaping.markdown(name) for name in labels.classes]
    rows = [(names[a], names[b], f"{n:,}", percent(share)) for a, b, n, share in found]
    st.table(pd.DataFrame(rows, columns=["True", column, "Images", "Share of the class"]))


def transitions(labels: LabelView) -> None:
    """The transition matrix estimated from the corrected labels, next to the true one."""
    st.subheader("Can the noise be estimated from the corrections?", anchor=False)
    n = len(labels.classes)
    estimated = observed_matrix(labels.corrected, labels.given, n)
    actual = None if labels.true is None else observed_matrix(labels.true, labels.given, n)
    st.markdown(estimate_words(labels, estimated, actual))
    left, right = st.columns(2)
    with left:
        transition_matrix(labels, estimated, "estimated", rows="corrected label")
    with right:
        if actual is None:
            st.info("The true transition matrix of this data is not known.")
        else:
            transition_matrix(labels, actual, "true", rows="true label")


def estimate_words(labels: LabelView, estimated: np.ndarray, actual: np.ndarray | None) -> str:
    """How the estimate is made, and how far it is from the truth if that is known."""
    share = percent((labels.given != labels.corrected).mean())
    text = (
        "**Estimated** needs no true labels: of the samples with a corrected label, the share with "
        f"each given label. By this estimate, **{share}** of the given labels are wrong. The "
        f"evidence before correction says: {issues_of(labels.view).estimate()}"
    )
    if actual is None or labels.true is None:
        return text
    gap = np.abs(estimated - actual)[actual.sum(1) > 0].mean()
    wrong = percent((labels.given != labels.true).mean())
    return (
        f"{text} In truth it is **{wrong}**. The cells of the two matrices differ by "
        f"{100 * gap:.1f} points on average."
    )


def transition_matrix(labels: LabelView, matrix: np.ndarray, kind: str, *, rows: str) -> None:
    """A (C, C) transition matrix with its title; rows: what its rows are."""
    st.markdown(f"**{kind.capitalize()}**")
    figures.show(
        charts.class_matrix(matrix, labels.classes, columns="given label", rows=rows),
        f"{labels.name}-transition-{kind}-epoch{labels.epoch}",
        alt=f"The {kind} transition matrix: of each class (row), the share with each given label "
        "(column)",
        data=lambda: long_table(matrix, labels.classes, "class", "given_label", "share"),
    )


def long_table(
    matrix: np.ndarray, classes: list[str], rows: str, columns: str, value: str
) -> pd.DataFrame:
    """A (C, C) matrix as a table with one row per cell and the three columns named."""
    frame = pd.DataFrame(matrix, index=classes, columns=classes)
    cells = pd.Series(frame.rename_axis(rows).rename_axis(columns, axis=1).stack(), name=value)
    return cells.reset_index()
