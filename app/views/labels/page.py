"""Labels: did correction work?"""

import numpy as np
import pandas as pd
import streamlit as st

from app.components import downloads, epoch_slider, figures, run_picker
from app.components.images import wall
from app.components.page import head, word
from app.components.text import percent
from app.server import escaping
from app.server.run_view import RunView
from app.state.url_state import bound, get, link, put
from app.views.labels.label_table import Labels, changes, flow_table, not_yet
from app.views.your_data import evidence
from engine.analysis import label_changes
from engine.analysis.label_export import label_rows
from engine.analysis.label_outcomes import LabelOutcome
from engine.charts import labels as charts
from engine.charts import theme
from engine.errors import StoreError
from engine.noise.class_dependent import observed_matrix
from engine.tables import frame_csv

MOST_LISTED = 2000  # rows of the list on the page; the CSV has all
MOST_SHOWN = 16  # images of harmed labels
LISTED = ("corrected", "missed", "harmed", "changed")  # outcomes that the list may be filtered by


def say(labels: Labels) -> None:
    """What correction has done up to now, in sentences and four numbers."""
    if not labels.n_changed:
        st.info(not_yet(labels), icon=":material/schedule:")
        soon = [r["epoch"] for r in labels.records if r["metrics"]["changed_labels"]]
        if soon and soon[0] > labels.epoch:
            st.button(
                f"Go to epoch {soon[0]}, where labels change first",
                icon=":material/arrow_forward:",
                on_click=lambda: put(epoch=soon[0]),
            )
        return
    truth_known = labels.true is not None
    st.markdown(label_changes.outcome_summary(labels.counts, labels.epoch, truth_known=truth_known))
    n = len(labels.given)
    with st.container(horizontal=True):
        if labels.true is None:
            st.metric("Labels changed", f"{labels.n_changed:,} of {n:,}", border=True)
            return
        wrong, n_right = (labels.given != labels.true).sum(), (labels.given == labels.true).sum()
        right = (labels.corrected == labels.true).mean()
        gained = 100 * (right - n_right / n)
        counts = labels.counts
        plain = dict(border=True, delta_color="off", delta_arrow="off", height="stretch")
        st.metric(
            "Labels right",
            percent(right),
            f"{gained:+.1f} points",
            border=True,
            help=f"{percent(n_right / n)} of the given labels were right.",
        )
        for kind, whole, of in (
            (LabelOutcome.CORRECTED, wrong, "wrong"),
            (LabelOutcome.MISSED, wrong, "wrong"),
            (LabelOutcome.HARMED, n_right, "right"),
        ):
            share = percent(counts[kind] / whole if whole else None)
            st.metric(
                titled(kind),
                f"{counts[kind]:,} of {whole:,}",
                share,
                help=f"{kind.meaning()} Of all given labels that were {of}.",
                **plain,
            )


def titled(kind: LabelOutcome) -> str:
    """ "✓ Corrected", with the mark that it has in charts."""
    return f"{theme.OUTCOMES[kind].mark} {kind.word.capitalize()}"


def flow(labels: Labels) -> None:
    """Which labels became which."""
    st.subheader("Which labels became which?", anchor=False)
    truth_known = labels.true is not None
    kinds = (
        LabelOutcome.possible(truth_known) if get("kept") else charts.changed_outcomes(truth_known)
    )
    legend(kinds, truth_known)
    st.toggle(
        "Show labels that did not change, too", **bound("kept"), disabled=not labels.n_changed
    )
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


def legend(kinds: tuple[LabelOutcome, ...], truth_known: bool) -> None:
    """Colors of a picture in words, each with its mark."""
    spans = "".join(
        '<span style="white-space:nowrap"><span style="display:inline-block;width:14px;'
        f"height:14px;background:{theme.OUTCOMES[kind].color};border-radius:3px;"
        'vertical-align:-2px;margin-right:6px"></span>'
        f"{theme.OUTCOMES[kind].mark} {charts.outcome_meaning(kind, truth_known)}</span>"
        for kind in kinds
    )
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:2px 18px;font-size:14px">{spans}</div>')


def confusion(labels: Labels) -> None:
    """Labels against the truth, before and after."""
    st.subheader("How right are the labels?", anchor=False)
    if labels.true is None:
        st.info("The true labels of this data are not known, so nobody can say which are right.")
        return
    st.segmented_control(
        "Labels",
        ["after", "before"],
        label_visibility="collapsed",
        required=True,
        format_func={"before": "As given", "after": f"Corrected, epoch {labels.epoch}"}.get,
        **bound("confusion"),
    )
    after = get("confusion") == "after"
    now = labels.corrected if after else labels.given
    n = len(labels.classes)
    counts = np.bincount(labels.true * n + now, minlength=n * n).reshape(n, n)
    fig = charts.class_matrix(
        observed_matrix(labels.true, now, n),
        labels.classes,
        counts=counts,
        rows="true label",
        columns="corrected label" if after else "given label",
        height=430,
    )
    right = percent((now == labels.true).mean())
    figures.show(
        fig,
        f"{labels.name}-confusion-{get('confusion')}-epoch{labels.epoch}",
        alt=f"Table of true label (row) against label (column), in percent of the row; {right} "
        "lie on the diagonal and are right",
        data=lambda: cells(counts, labels.classes, "true_label", "label", "labels"),
    )
    st.caption(f"Percent of each true class; {right} lie on the diagonal and are right.")


def cells(
    values: np.ndarray, classes: list[str], rows: str, columns: str, value: str
) -> pd.DataFrame:
    """A (C, C) table as one line per cell."""
    frame = pd.DataFrame(values, index=classes, columns=classes)
    return frame.rename_axis(rows).rename_axis(columns, axis=1).stack().rename(value).reset_index()


def transitions(labels: Labels) -> None:
    """The noise as correction sees it, against the noise as it is."""
    st.subheader("Can the noise be read from the corrections?", anchor=False)
    n = len(labels.classes)
    estimated = observed_matrix(labels.corrected, labels.given, n)
    share = percent((labels.given != labels.corrected).mean())
    text = (
        "**Estimated** needs no truth: of the samples that correction now calls a class, the share "
        f"that was given each label. By that, **{share}** of the given labels are wrong."
    )
    actual = None
    if labels.true is not None:
        actual = observed_matrix(labels.true, labels.given, n)
        gap = np.abs(estimated - actual)[actual.sum(1) > 0].mean()
        really = percent((labels.given != labels.true).mean())
        text += (
            f" Really it is **{really}**. The cells of the two tables differ by "
            f"{100 * gap:.1f} points on average."
        )
    st.markdown(text)
    left, right = st.columns(2)
    for place, values, words in (
        (left, estimated, "estimated"),
        (right, actual, "true"),
    ):
        with place:
            if values is None:
                st.info("The true transition matrix of this data is not known.")
                continue
            st.markdown(f"**{words.capitalize()}**")
            fig = charts.class_matrix(
                values,
                labels.classes,
                columns="given label",
                rows="corrected label" if words == "estimated" else "true label",
            )
            figures.show(
                fig,
                f"{labels.name}-transition-{words}-epoch{labels.epoch}",
                alt=f"The {words} transition matrix: of each class (row), the share that was given "
                "each label (column)",
                data=lambda values=values: cells(
                    values, labels.classes, "class", "given_label", "share"
                ),
            )


def over_time(labels: Labels) -> None:
    """When labels flipped."""
    st.subheader("When did labels flip?", anchor=False)
    seen = labels.flips.until(labels.epoch)
    st.markdown(label_changes.flip_summary(seen, labels.given, labels.corrected))
    if not len(labels.flips.epoch):
        return
    first = min(int(labels.flips.epoch[0]), labels.records[0]["epoch"])
    fig = charts.flips_over_time(
        labels.flips,
        labels.true,
        (first, labels.records[-1]["epoch"]),
        chosen=labels.epoch,
        begins=labels.begins,
    )
    figures.show(
        fig, f"{labels.name}-flips", alt="Bars: how many labels flipped in each epoch, by outcome"
    )


def harmed(labels: Labels) -> None:
    """Right labels that correction made wrong, with their images."""
    if labels.true is None:
        return
    found = np.flatnonzero(labels.outcomes == LabelOutcome.HARMED)
    st.subheader(f"{titled(LabelOutcome.HARMED)}: right labels that are wrong now", anchor=False)
    if not len(found):
        st.markdown("None: no label that was right has been changed.")
        return
    found = found[np.argsort(-labels.confidence[found], kind="stable")]
    more = f" The {MOST_SHOWN} surest of {len(found)}." if len(found) > MOST_SHOWN else ""
    st.markdown(
        "Each was given its true label, and training talked itself out of it; look whether the "
        f"image is hard, or the truth doubtful. The percentage is how sure the soft label is.{more}"
    )
    found = found[:MOST_SHOWN].tolist()
    try:
        images = labels.view.pixels(found)
    except StoreError as error:
        st.caption(escaping.lines(error))
        images = [None] * len(found)
    with st.container(horizontal=True, key="harmed"):
        for sample, image in zip(found, images, strict=True):
            card(labels, sample, image, 96)


def card(labels: Labels, sample: int, image: np.ndarray | None, size: int) -> None:
    """One image, what became of its label, and the way to its page."""
    was, now = (labels.classes[c[sample]] for c in (labels.given, labels.corrected))
    words = f"{was} → {now}\n{100 * labels.confidence[sample]:.0f} %"
    with st.container(width=max(size, 128), gap="xxsmall"):
        if image is None:
            st.caption(escaping.lines(words))
        else:
            alt = f"sample {sample}, given {was}, corrected {now}"
            wall([image], [words], size=size, alts=[alt])
        st.page_link(
            "views/sample/page.py",
            label=f"Sample {sample}",
            icon=":material/image_search:",
            query_params=link(run=labels.name, epoch=labels.epoch, sample=sample),
        )


COLUMNS = {
    "sample": st.column_config.NumberColumn("Sample", format="%d"),
    "name": "Name",
    "given": "Given",
    "corrected": "Corrected",
    "true": "True",
    "outcome": "Outcome",
    "confidence": st.column_config.NumberColumn(
        "Confidence", format="percent", help="The share of the corrected class in the soft label."
    ),
    "p_clean": st.column_config.NumberColumn(
        "P(clean)",
        format="percent",
        help=f"Of the given label, before correction. {word('P(clean)')}",
    ),
    "first_flip": st.column_config.NumberColumn("First flip", help="Epoch of its first change."),
    "last_flip": st.column_config.NumberColumn("Last flip", help="Epoch of its last change."),
    "flips": st.column_config.NumberColumn("Flips", help="How often its label changed."),
}


def listing(labels: Labels) -> None:
    """The list of changes; a row picks a sample, whose image stands beside."""
    st.subheader("Every change", anchor=False)
    every = changes(labels)
    if labels.true is not None:
        st.segmented_control(
            "Which",
            ["all", *LISTED],
            required=True,
            format_func=lambda key: (
                "All changes" if key == "all" else titled(LabelOutcome[key.upper()])
            ),
            label_visibility="collapsed",
            **bound("changes"),
        )
    kinds = [kind.word for kind in charts.changed_outcomes(labels.true is not None)]
    if labels.true is not None and get("changes") != "all":
        kinds = [get("changes")]
    shown = every[every["outcome"].isin(kinds)]
    with st.container(horizontal=True, vertical_alignment="center"):
        figures.save_csv(f"{labels.name}-changes-epoch{labels.epoch}", shown)
        save_labels(labels)
    if warning := evidence.suspects_of(labels.view).warning:
        st.caption(f"All labels, CSV: {warning}")
    if shown.empty:
        st.markdown("Nothing to list here.")
        return
    if len(shown) > MOST_LISTED:
        st.caption(f"The first {MOST_LISTED:,} of {len(shown):,}; the CSV has all.")
        shown = shown.head(MOST_LISTED)
    table, beside = st.columns([4, 1])
    samples = shown["sample"].tolist()
    with table:
        pick_row(shown, samples)
    with beside:
        if get("sample") in samples:
            sample = get("sample")
            try:
                card(labels, sample, labels.view.pixels([sample])[0], 150)
            except StoreError as error:
                st.caption(escaping.lines(error))
                card(labels, sample, None, 150)
        else:
            st.caption("Click the box at the left of a row to see its image here.")


def pick_row(shown: pd.DataFrame, samples: list[int]) -> None:
    """The table; its marked row is the chosen sample."""
    key = "changes-table"
    rows = [samples.index(get("sample"))] if get("sample") in samples else []
    st.session_state[key] = {"selection": {"rows": rows, "columns": [], "cells": []}}

    def take() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        put(sample=samples[rows[0]] if rows else None)

    st.dataframe(
        shown,
        key=key,
        hide_index=True,
        column_config=COLUMNS,
        height=min(38 + 35 * len(shown), 360),
        on_select=take,
        selection_mode="single-row",
    )


def save_labels(labels: Labels) -> None:
    """All labels of this epoch as the command line exports them."""

    def text() -> str:
        issues = evidence.suspects_of(labels.view)
        return frame_csv(pd.DataFrame(label_rows(labels.run, labels.view.row, issues)))

    downloads.button(
        "All labels, CSV",
        text,
        f"{labels.name}-labels-epoch{labels.epoch}.csv",
        mime="text/csv",
        type="tertiary",
        help="One row per sample: given label, proposed change, P(clean), neighbors, and more. "
        "The raw end state of correction stands in soft_label_argmax.",
    )


def page() -> None:
    head(
        "Did correction work?",
        "Training may change labels it holds for wrong; here stands which ones, when, and whether "
        "that helped.",
        "given label",
        "corrected label",
        "true label",
        "soft label",
        "correction",
        "confusion",
        "transition matrix",
        "P(clean)",
        "alpha",
    )
    name = run_picker.pick_run()
    labels = Labels(RunView(name, epoch_slider.scrub(name)))
    say(labels)
    if labels.n_changed:
        left, right = st.columns(2, gap="large")
        with left:
            flow(labels)
        with right:
            confusion(labels)
        over_time(labels)
        harmed(labels)
        listing(labels)
        transitions(labels)
    else:
        confusion(labels)
        if labels.begins is not None:
            over_time(labels)


page()
