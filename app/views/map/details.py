"""Next to the map: the selected sample with its neighbors, and the samples in the lasso."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures
from app.components.images import picture, wall
from app.components.scatter.coloring import Labels
from app.server import escaping
from app.server.run_view import RunView
from app.state import selection as selected
from app.state.url_state import get, link, put
from engine.charts import theme
from engine.errors import StoreError

MAX_IMAGES, MAX_ROWS = 60, 2000  # samples of a selection shown as images, and in the table


def labels_of(view: RunView, ids: np.ndarray) -> Labels:
    """Labels, P(clean) and losses of some samples after an epoch."""
    known, soft, row = view.labels, view.run.array("soft"), view.row
    given = known["given"][ids]
    return Labels(
        classes=view.classes,
        given=given,
        true=known["true"][ids] if "true" in known else None,
        corrected=soft[row][ids].argmax(1),
        before=soft[row - 1][ids].argmax(1) if row else given,
        clean=view.values("clean")[ids],
        loss=view.values("loss")[ids],
    )


def neighbors_of(view: RunView, sample: int) -> tuple[np.ndarray, np.ndarray]:
    """What a sample was mixed with in an epoch: neighbors (K,) and weights (K+1,), its own first.

    Raises StoreError if the stored neighbors are not sample numbers.
    """
    run, row, k = view.run, view.row, view.record["n_neighbors"]
    ids = np.array(run.array("neighbors")[row, :k, sample])
    run.check_ids("neighbors", ids)
    return ids, np.array(run.array("weights")[row, : k + 1, sample])


def sample_panel(view: RunView) -> None:
    """The selected sample and what it was mixed with."""
    sample = selected.sample(view.n)
    if sample is None:
        st.markdown("**Click a point** to see its image, its labels and its neighbors.")
        st.markdown(
            "Hold **Shift** and drag, or use the lasso tool, to select points. The selection is "
            "kept on the other pages."
        )
        return
    labels = labels_of(view, np.array([sample]))
    st.markdown(f"**Sample {escaping.markdown(view.sample_name(sample))}**")
    true = None if labels.true is None else labels.true[0]
    classes = {"given": labels.given[0], "true": true, "corrected": labels.corrected[0]}
    lines = [
        f"{word} **{escaping.markdown(labels.classes[c])}**"
        for word, c in classes.items()
        if c is not None
    ]
    try:
        image = view.pixels([sample])[0]
        picture(image, size=112, alt=f"Image of sample {sample}")
    except StoreError as error:
        st.caption(escaping.lines(error))
    st.markdown("  \n".join([*lines, f"P(clean) **{labels.clean[0]:.2f}**"]))
    ids, weights = neighbors_of(view, sample)
    if not len(ids):
        st.caption("No samples were mixed in this epoch, so there are no neighbors to show.")
    else:
        mixed_with(view, ids, weights)
    st.page_link(
        "views/sample/page.py",
        label="Open this sample",
        icon=":material/image_search:",
        query_params=link(),
    )


def mixed_with(view: RunView, ids: np.ndarray, weights: np.ndarray) -> None:
    """Images of the neighbors with their weights, and how many are not on the map."""
    panel = view.labels["panel"]
    neighbors = labels_of(view, ids)
    st.caption(f"Its own weight is {weights[0]:.0%}; the rest is its neighbors':")
    captions = [
        f"{neighbors.classes[c]}\n{w:.0%}"
        for c, w in zip(neighbors.corrected, weights[1:], strict=True)
    ]
    marks = None
    if neighbors.true is not None:
        marks = ["" if right else theme.WRONG for right in neighbors.corrected == neighbors.true]
    try:
        wall(view.pixels(ids), captions, size=52, marks=marks)
    except StoreError:
        st.caption(escaping.markdown(", ".join(captions), escaping.MOST_ERROR))
    outside = int((~np.isin(ids, panel)).sum())
    if outside:
        st.caption(f"{outside} of them are not among the samples on the map.")


def selection(view: RunView) -> None:
    """The samples in the lasso: numbers, table, images and CSV."""
    ids = np.array([i for i in get("lasso") if i < view.n], dtype=np.int64)
    if not len(ids):
        return
    labels = labels_of(view, ids)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(f"{len(ids):,} selected samples", anchor=False, width="content")
        figures.save_csv("map-selection", lambda: table(view, labels, ids))
        st.button(
            "Clear",
            icon=":material/close:",
            type="tertiary",
            key="clear-lasso",
            on_click=lambda: put(lasso=()),
        )
    st.markdown(selection_summary(labels))
    left, right = st.columns([3, 4])
    with left:
        st.dataframe(
            table(view, labels_of(view, ids[:MAX_ROWS]), ids[:MAX_ROWS]),
            hide_index=True,
            height=330,
            key="lasso-table",
            alt="The selected samples with their labels",
            column_config={
                "P(clean)": st.column_config.ProgressColumn(
                    min_value=0, max_value=1, format="%.2f"
                ),
                "loss": st.column_config.NumberColumn(format="%.3f"),
            },
        )
        if len(ids) > MAX_ROWS:
            st.caption(f"The first {MAX_ROWS:,} are listed; the CSV has all.")
    with right, st.container(height=348, border=False):
        selected_images(view, labels, ids)


def selection_summary(labels: Labels) -> str:
    """Given labels, mean P(clean) and shares of wrong labels of a selection, in Markdown."""
    counts = np.bincount(labels.given, minlength=len(labels.classes))
    top = [
        f"{escaping.markdown(labels.classes[c])} ({counts[c]:,})"
        for c in counts.argsort()[::-1][:3]
        if counts[c]
    ]
    text = f"Given labels: mostly {', '.join(top)}. Mean P(clean) {labels.clean.mean():.2f}."
    if labels.true is not None:
        given = (labels.given != labels.true).mean()
        corrected = (labels.corrected != labels.true).mean()
        text += f" Wrong: {given:.0%} of the given labels, {corrected:.0%} of the corrected ones."
    return text


def table(view: RunView, labels: Labels, ids: np.ndarray) -> pd.DataFrame:
    """One row per sample: id, labels, P(clean) and loss; labels are those of ids (n,)."""
    names = np.array(labels.classes, dtype=object)
    columns: dict[str, Any] = {"id": ids}
    if "ids" in view.labels:
        columns |= {"name": [view.sample_name(int(i)) for i in ids]}
    columns |= {"given": names[labels.given]}
    if labels.true is not None:
        columns |= {"true": names[labels.true]}
    return pd.DataFrame(
        columns
        | {"corrected": names[labels.corrected], "P(clean)": labels.clean, "loss": labels.loss}
    )


def selected_images(view: RunView, labels: Labels, ids: np.ndarray) -> None:
    """The first images of a selection; a frame marks wrong corrected labels."""
    try:
        images = view.pixels(ids[:MAX_IMAGES])
    except StoreError as error:
        st.caption(escaping.lines(error))
        return
    marks = None
    if labels.true is not None:
        wrong = (labels.corrected != labels.true)[:MAX_IMAGES]
        marks = [theme.WRONG if w else "" for w in wrong]
    captions = [labels.classes[c] for c in labels.corrected[:MAX_IMAGES]]
    wall(images, captions, size=56, marks=marks)
    more = f" The first {MAX_IMAGES} of {len(ids):,}." if len(ids) > MAX_IMAGES else ""
    frame = " A frame: still wrong." if labels.true is not None else ""
    st.caption(f"Below each image its corrected label.{frame}{more}")
