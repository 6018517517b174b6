"""What the Noise page shows of labels: rates, transition matrices, classes and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures, images
from app.components.glossary import GLOSSARY
from app.components.text import percent
from app.state.url_state import bound, get, put
from engine.charts import noise as charts
from engine.noise.class_dependent import INSTANCE_DEPENDENT

if TYPE_CHECKING:
    from app.views.noise.noisy_labels import LabelNoise
    from engine.data import Data

N_IMAGES = 27, 24  # of a run, of settings: full rows on a wide screen


def summary(labels: LabelNoise) -> None:
    """The requested and the actual rate, and why they differ."""
    n = len(labels.given)
    with st.container(horizontal=True, key="noise-summary"):
        st.metric("Requested", percent(labels.requested), help=GLOSSARY["noise rate"], width=150)
        st.metric(
            "Really wrong",
            percent(labels.actual),
            width=170,
            help="The share of given labels that differ from the true ones.",
        )
        if labels.wrong is not None:
            st.metric("Wrong labels", f"{int(labels.wrong.sum()):,} of {n:,}", width=240)
        else:
            st.metric("Samples", f"{n:,}", width=200)
    st.markdown(labels.explanation())


def matrices(labels: LabelNoise, observed: np.ndarray) -> None:
    """The requested and the observed transition matrix; of human labels only the observed one."""
    requested = "Expected" if labels.kind in INSTANCE_DEPENDENT else "Requested"
    shown = [
        (requested, "transition-requested", labels.matrix),
        ("Observed", "transition-drawn", observed),
    ]
    if labels.kind == "human":
        shown = [("Labels that people gave", "transition-drawn", observed)]
    highest = max(float(values.max()) for *_, values in shown)
    numbered = len(labels.names) <= charts.MAX_CLASSES_WITH_NUMBERS
    for column, (title, file, values) in zip(st.columns(2, gap="medium"), shown, strict=False):
        with column:
            st.markdown(
                f"**{title}**: of each true class, the share with each given label"
                + (", in percent" if numbered else "")
            )
            figures.show(
                charts.matrix_heatmap(values, labels.names, highest=highest),
                file,
                data=lambda values=values: long_table(values, labels.names),
                alt=f"{title} transition matrix of {len(values)} classes: on average "
                f"{percent(float(values.diagonal().mean()))} of a class keep their label",
            )
    if deviation := labels.largest_deviation():
        st.caption(deviation)


def long_table(values: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """A matrix (C, C) as rows of true class, given label and share."""
    return pd.DataFrame(
        [(t, g, values[i, j]) for i, t in enumerate(names) for j, g in enumerate(names)],
        columns=["true", "given", "share"],
    )


def class_rates(labels: LabelNoise, observed: np.ndarray) -> None:
    """The requested and the actual noise rate of each class."""
    st.subheader("Noise rate by class", anchor=False)
    requested, actual = 1 - labels.matrix.diagonal(), 1 - observed.diagonal()
    present = labels.sizes > 0
    actual, requested = np.where(present, actual, 0), np.where(present, requested, 0)
    table = pd.DataFrame(
        {
            "class": list(labels.names),
            "samples": labels.sizes,
            "requested": requested,
            "actual": actual,
        }
    )
    worst = int(actual.argmax())
    figures.show(
        charts.noise_rates(labels.names, requested, actual, labels.sizes),
        "noise-by-class",
        data=table,
        alt=f"Share of wrong labels in each class; the most in {labels.names[worst]} with "
        f"{percent(float(actual[worst]))}",
    )


def class_filter(title: str, param: str, names: Sequence[str]) -> None:
    if get(param) is not None and get(param) >= len(names):
        put(**{param: None})
    st.selectbox(
        title,
        range(len(names)),
        width=200,
        placeholder="any",
        **bound(param),
        format_func=names.__getitem__,
    )


def wrong_samples(
    labels: LabelNoise, true: np.ndarray, name: str | None, data: Data | None
) -> None:
    """Random samples with wrong labels; true: (N,) the true labels, data: if name is None."""
    st.subheader("Samples with wrong labels", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", key="wall-controls"):
        class_filter("True class", "class", labels.names)
        class_filter("Given label", "given_class", labels.names)
        st.button(
            "Draw others",
            icon=":material/casino:",
            on_click=lambda: put(draw=get("draw") + 1),
            help="Another random selection; the link reproduces it.",
        )
    classes = dict(true=get("class"), given=get("given_class"))
    rows = labels.sample_wrong(**classes, n=N_IMAGES[name is None], seed=get("draw"))
    total = len(labels.sample_wrong(**classes, n=len(labels.given), seed=0))
    if not total:
        st.info("No wrong label has these classes: select others.")
        return
    st.caption(f"{len(rows)} of {total:,} wrong labels with these classes, drawn at random.")
    captions = [f"is {labels.names[true[i]]}\ngiven {labels.names[labels.given[i]]}" for i in rows]
    if name is not None:
        images.linked_wall(name, rows, captions)
    elif data is not None:
        images.wall(data.pictures(rows), captions, size=80)


def without_truth(labels: LabelNoise) -> None:
    """What can be shown if the true labels are not known: the sizes of the given classes."""
    st.info(
        "The true labels are not known, so there is no transition matrix and no actual rate. "
        "**Labels** shows what correction predicts instead, **Your data** lists the labels that "
        "are probably wrong."
    )
    figures.show(
        charts.label_counts(labels.names, labels.sizes),
        "given-labels",
        alt=f"How often each of {len(labels.names)} labels was given",
        data=pd.DataFrame({"label": list(labels.names), "samples": labels.sizes}),
    )
