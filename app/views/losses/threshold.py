"""The threshold on P(clean), and how well the labels below it match the wrong ones."""

import numpy as np
import streamlit as st

from app.components import figures
from app.components.glossary import GLOSSARY
from app.components.text import percent
from app.state.url_state import bound, get, put
from engine.analysis import loss_analysis
from engine.charts import losses as charts


def take_threshold(key: str) -> None:
    """Set the threshold to the point clicked in a chart, on a curve that has thresholds."""
    for point in st.session_state[key]["selection"]["points"]:
        if point.get("customdata") is not None:  # bars and components have none
            value = float(np.ravel(point["customdata"])[0])
            put(threshold=round(min(max(value, 0.0), 1.0), 2))


def detection(clean: np.ndarray, wrong: np.ndarray | None, at: str) -> None:
    """The threshold and its precision, recall and ROC curve.

    clean: (n,) P(clean). wrong: (n,) bool, which labels are wrong, None if not known. at: run and
    epoch, for the names of files.
    """
    threshold = get("threshold")
    st.slider(
        "Threshold on P(clean)",
        0.0,
        1.0,
        step=0.01,
        **bound("threshold", within=(0, 1)),
        help=GLOSSARY["threshold"] + " Drag it, or click on the curve of P(clean) or on the ROC.",
    )
    if wrong is None:
        n = int((clean < threshold).sum())
        st.markdown(
            f"**{n:,}** of {len(clean):,} labels ({percent(n / len(clean))}) have a P(clean) below "
            f"{threshold:.2f} and are flagged as **suspicious**. The true labels of this data set "
            "are not known, so neither is how many of them are wrong: review them on **Your data**."
        )
        return
    result = loss_analysis.detection(clean, wrong, threshold)
    with st.container(horizontal=True, key="verdict"):
        st.metric("Precision", percent(result.precision), help=GLOSSARY["precision"], width=110)
        st.metric("Recall", percent(result.recall), help=GLOSSARY["recall"], width=110)
        st.metric("F1", percent(result.f1), help=GLOSSARY["F1"], width=110)
    st.markdown(in_words(result, threshold))
    curve = loss_analysis.roc_curve(clean, wrong)
    if curve is None:
        st.info("All labels shown here are right, or all are wrong: there is no ROC curve.")
        return
    curve = curve.thinned(100)
    figures.show(
        charts.roc_curve(curve, result, threshold),
        "roc",
        of=at,
        selection_mode="points",
        on_select=lambda: take_threshold("chart-roc"),
        alt=f"ROC curve with AUROC {curve.auroc:.3f}; at threshold {threshold:.2f} "
        f"{percent(result.recall)} of the wrong labels and "
        f"{percent(result.false_positive_rate)} of the right ones are flagged",
    )


def in_words(result: loss_analysis.Detection, threshold: float) -> str:
    """The counts of a detection in one or two sentences."""
    text = (
        f"**{result.n_flagged:,}** of {result.n:,} labels have a P(clean) below {threshold:.2f} "
        "and are flagged as suspicious. "
    )
    if result.n_flagged:
        text += (
            f"**{result.n_found:,}** of them are really wrong and "
            f"{result.n_flagged - result.n_found:,} are right. "
        )
    missed = result.n_wrong - result.n_found
    return text + (
        f"{missed:,} of the {result.n_wrong:,} wrong labels are not flagged."
        if result.n_wrong
        else "No label is wrong in this epoch."
    )
