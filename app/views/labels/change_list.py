"""Every label that changed: the harmed ones with their images, and the list of all."""

import numpy as np
import pandas as pd
import streamlit as st

from app.components import downloads, figures
from app.components.images import smooth_toggle, wall
from app.components.page import switch, word
from app.server import escaping
from app.server.label_issues import issues_of
from app.state.url_state import bound, get, link, put
from app.views.labels.label_table import LabelView, change_table, outcome_title
from engine.analysis.label_export import label_rows
from engine.analysis.label_outcomes import LabelOutcome
from engine.charts import labels as charts
from engine.errors import StoreError
from engine.files import frame_csv

MAX_LISTED = 2000  # rows of the list on the page; the CSV has all
MAX_IMAGES = 16  # of harmed labels
FILTERS = ("corrected", "missed", "harmed", "changed")  # outcomes
TABLE = "changes-table"  # key of the widget
COLUMNS = {
    "sample": st.column_config.NumberColumn("Sample", format="%d"),
    "name": st.column_config.Column("Name"),
    "given": st.column_config.Column("Given"),
    "corrected": st.column_config.Column("Corrected"),
    "true": st.column_config.Column("True"),
    "outcome": st.column_config.Column("Outcome"),
    "confidence": st.column_config.NumberColumn(
        "Confidence", format="percent", help="The share of the corrected class in the soft label."
    ),
    "p_clean": st.column_config.NumberColumn(
        "P(clean)",
        format="percent",
        help=f"Of the given label, before correction. {word('P(clean)')}",
    ),
    "decision": st.column_config.Column(
        "Proposed",
        help="By the evidence before correction: keep the given label, change or review it.",
    ),
    "first_flip": st.column_config.NumberColumn("First flip", help="Epoch of its first change."),
    "last_flip": st.column_config.NumberColumn("Last flip", help="Epoch of its last change."),
    "flips": st.column_config.NumberColumn("Flips", help="How often its label changed."),
}


def harmed(labels: LabelView) -> None:
    """Right labels that correction made wrong, with their images."""
    if labels.true is None:
        return
    samples = np.flatnonzero(labels.outcomes == LabelOutcome.HARMED)
    title = outcome_title(LabelOutcome.HARMED)
    st.subheader(f"{title}: right labels that are wrong now", anchor=False)
    if not len(samples):
        st.markdown("None: no label that was right has been changed.")
        return
    samples = samples[np.argsort(-labels.confidence[samples], kind="stable")]
    more = ""
    if len(samples) > MAX_IMAGES:
        more = f" Shown are the {MAX_IMAGES} with the highest confidence of {len(samples)}."
    st.markdown(
        "Each was given its true label, and correction replaced it; check whether the image is "
        "ambiguous, or the true label doubtful. The percentage is the confidence of the soft "
        f"label.{more}"
    )
    smooth_toggle("harmed")
    with st.container(horizontal=True, key="harmed"):
        for sample, image in images_of(labels, samples[:MAX_IMAGES].tolist()).items():
            card(labels, sample, image, 96)


def images_of(labels: LabelView, samples: list[int]) -> dict[int, np.ndarray | None]:
    """Sample -> image; None, and a caption that says why, if the images are missing."""
    try:
        return dict(zip(samples, labels.view.pixels(samples), strict=True))
    except StoreError as error:
        st.caption(escaping.lines(error))
        return dict.fromkeys(samples)


def card(labels: LabelView, sample: int, image: np.ndarray | None, size: int) -> None:
    """One image, its label before and after, and the link to its page."""
    given, corrected = (labels.classes[c[sample]] for c in (labels.given, labels.corrected))
    caption = f"{given} → {corrected}\n{100 * labels.confidence[sample]:.0f} %"
    with st.container(width=max(size, 128), gap="xxsmall"):
        if image is None:
            st.caption(escaping.lines(caption))
        else:
            alt = f"sample {sample}, given {given}, corrected {corrected}"
            wall([image], [caption], size=size, alts=[alt])
        st.page_link(
            "views/sample/page.py",
            label=f"Sample {sample}",
            icon=":material/image_search:",
            query_params=link(run=labels.name, epoch=labels.epoch, sample=sample),
        )


def listing(labels: LabelView) -> None:
    """The list of changes; a selected row shows its image at the right."""
    st.subheader("All changes", anchor=False)
    shown = filtered(labels, change_table(labels))
    with st.container(horizontal=True, vertical_alignment="center"):
        figures.save_csv(f"{labels.name}-changes-epoch{labels.epoch}", shown)
        save_labels(labels)
    if warning := issues_of(labels.view).warning:
        st.caption(f"All labels, CSV: {warning}")
    if shown.empty:
        st.markdown("There are no such changes.")
        return
    if len(shown) > MAX_LISTED:
        st.caption(f"The first {MAX_LISTED:,} of {len(shown):,}; the CSV has all.")
        shown = shown.head(MAX_LISTED)
    left, right = st.columns([4, 1])
    samples = shown["sample"].tolist()
    with left:
        selectable_table(shown, samples)
    with right:
        sample = get("sample")
        if sample in samples:
            card(labels, sample, images_of(labels, [sample])[sample], 150)
        else:
            st.caption("Click the box at the left of a row to see its image here.")


def filtered(labels: LabelView, table: pd.DataFrame) -> pd.DataFrame:
    """The filter by outcome, and the rows that pass it."""
    truth_known = labels.true is not None
    if truth_known:
        titles = {key: outcome_title(LabelOutcome[key.upper()]) for key in FILTERS}
        titles = {"all": "All changes"} | titles
        switch("Which", titles, **bound("changes"))
    words = [outcome.word for outcome in charts.changed_outcomes(truth_known)]
    if truth_known and get("changes") != "all":
        words = [get("changes")]
    return table[table["outcome"].isin(words)]


def selectable_table(shown: pd.DataFrame, samples: list[int]) -> None:
    """The table; its selected row is the selected sample."""
    rows = [samples.index(get("sample"))] if get("sample") in samples else []
    st.session_state[TABLE] = {"selection": {"rows": rows, "columns": [], "cells": []}}

    def take() -> None:
        rows = st.session_state[TABLE]["selection"]["rows"]
        put(sample=samples[rows[0]] if rows else None)

    st.dataframe(
        shown,
        key=TABLE,
        hide_index=True,
        column_config=COLUMNS,
        height=min(38 + 35 * len(shown), 360),
        on_select=take,
        selection_mode="single-row",
    )


def save_labels(labels: LabelView) -> None:
    """A button that saves all labels of this epoch as the command line exports them."""

    def text() -> str:
        rows = label_rows(labels.run, labels.view.row, issues_of(labels.view))
        return frame_csv(pd.DataFrame(rows)) or ""

    downloads.button(
        "All labels, CSV",
        text,
        f"{labels.name}-labels-epoch{labels.epoch}.csv",
        mime="text/csv",
        type="tertiary",
        help="One row per sample: given label, decision (keep, change, review), the reason, label "
        "quality, P(clean), neighbors, and more. "
        "The raw result of correction is in soft_label_argmax.",
    )
