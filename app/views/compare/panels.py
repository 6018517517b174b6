"""The panels of Compare: curves of several runs, and losses and a map of each at one epoch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures, text
from app.server import escaping
from app.state.url_state import bound, get
from engine.analysis.label_outcomes import outcome_counts, outcomes
from engine.charts import compare as charts
from engine.charts import curves, live_curves, theme
from engine.embedding.projection import pca
from engine.runs.folder import RunFolder

if TYPE_CHECKING:
    from app.views.compare.comparison import EpochView

ALWAYS = ("test_accuracy", "memorized", "label_accuracy")  # the first three curves
MAX_IN_LEGEND = 14  # classes


def curve_panels(lines: list[curves.Curve], training: bool) -> None:
    """Four curves; the visitor chooses what the fourth shows."""
    others = [metric for metric in curves.METRICS if metric not in ALWAYS]
    fourth = get("metric") if get("metric") in others else "fit_clean"
    columns = [*st.columns(2, gap="medium"), *st.columns(2, gap="medium")]
    for column, metric in zip(columns, (*ALWAYS, fourth), strict=True):
        with column:
            if metric == fourth:
                st.selectbox(
                    "Fourth curve",
                    others,
                    label_visibility="collapsed",
                    format_func=lambda key: curves.METRICS[key].capitalize(),
                    **bound("metric", fourth, instead=True),
                )
            else:
                st.markdown(f"**{curves.METRICS[metric].capitalize()}**")
            curve_panel(lines, metric, training)


def curve_panel(lines: list[curves.Curve], metric: str, training: bool) -> None:
    """A metric of all runs over the epochs. training: whether any of them still trains."""
    values = [r["metrics"].get(metric) for line in lines for r in line.records]
    if all(value is None for value in values):
        st.info("These runs do not have it: it needs the true labels, or a validation part.")
    elif training:  # a Plotly chart would be rebuilt with every epoch
        live_panel(lines, metric)
    else:
        last = ", ".join(
            f"{line.name} {text.percent(line.records[-1]['metrics'].get(metric))}" for line in lines
        )
        figures.show(
            curves.metric_curves(lines, metric, each_seed=get("each_seed")),
            f"compare-{metric}",
            over_epochs=True,
            alt=f"{curves.METRICS[metric]} over the epochs; at the end: {last}",
            data=lambda: curves.metric_table(lines),
        )


def live_panel(lines: list[curves.Curve], metric: str) -> None:
    """A metric of all runs as a chart that grows with them."""
    rows: list[live_curves.Row] = [
        (live_curves.LINE, r["epoch"], line.name, r["metrics"][metric], "", "")
        for line in lines
        for r in [*line.before, *line.records]
        if r["metrics"].get(metric) is not None
    ]
    frame = pd.DataFrame(rows + live_curves.name_rows(rows), columns=live_curves.COLUMNS)
    span = (int(frame["epoch"].min()), max(int(frame["epoch"].max()), 1))
    spec = live_curves.curves_spec({line.name: line.name for line in lines}, span)
    st.vega_lite_chart(frame, spec, key=f"live-{metric}", height=230)


def in_columns(items: list[Any]) -> list[tuple[Any, Any]]:
    """Each item with a column of the page, at most three in a row."""
    wide = min(max(len(items), 2), 3)
    columns = [column for _ in range(0, len(items), wide) for column in st.columns(wide)]
    return list(zip(items, columns, strict=False))


def loss_panels(views: dict[str, EpochView], short: dict[str, str]) -> None:
    """Losses of each run at the epoch, on the same axes."""
    st.subheader("Losses: can each tell right labels from wrong ones?", anchor=False)
    st.markdown(
        "The loss of each network on the labels after correction. Two modes far apart mean that "
        "wrong labels stand out; a single mode near 0 that contains missed labels means that these "
        "are memorized."
    )
    losses = {name: losses_at(view) for name, view in views.items()}
    edges = charts.common_bins([loss for loss, _ in losses.values()])
    for name, column in in_columns(list(views)):
        loss, codes = losses[name]
        with column:
            panel_title(short[name], views[name])
            shares = ", ".join(
                f"{text.percent(n / len(loss))} {outcome.word}"
                for outcome, n in outcome_counts(codes).items()
                if n
            )
            figures.show(
                charts.loss_histogram(loss, codes, edges),
                f"compare-losses-{short[name]}",
                alt=f"Histogram of the losses of {short[name]}; of its labels {shares}",
            )


def panel_title(short: str, view: EpochView) -> None:
    """The short name of a run and the epoch shown."""
    st.markdown(f"**{escaping.markdown(short)}**, epoch {epoch_of(view)}")


def losses_at(view: EpochView) -> tuple[np.ndarray, np.ndarray]:
    """Losses (N,) and the LabelOutcome (N,) of each label."""
    labels = view.run.labels
    corrected = view.run.row("soft", view.row).argmax(1)
    codes = outcomes(labels["given"], labels.get("true"), corrected)
    return view.run.row("loss", view.row), codes


def map_panels(views: dict[str, EpochView], short: dict[str, str]) -> None:
    """Maps of each run's features at the epoch."""
    st.subheader("Maps: do classes stay together?", anchor=False)
    st.markdown(
        "Each network's features of the same images, projected onto the two directions in which "
        "they vary most (PCA). The color is the label after correction; crosses are labels that "
        "are wrong."
    )
    class_legend([classes_of(view) for view in views.values()])
    for name, column in in_columns(list(views)):
        view, run = views[name], views[name].run
        if missing := run.not_logged("panel_features"):
            with column:
                panel_title(short[name], view)
                st.info(escaping.lines(missing), icon=":material/info:")
            continue
        samples = panel_part(run.labels["panel"])
        true = run.labels.get("true")
        labels = run.row("soft", view.row)[samples].argmax(1)
        wrong = np.zeros(len(samples), bool) if true is None else labels != true[samples]
        fig = charts.embedding_map(
            panel_layout(run, view.row), labels, wrong, classes_of(view), samples=samples
        )
        with column:
            panel_title(short[name], view)
            figures.show(
                fig,
                f"compare-map-{short[name]}",
                alt=f"Map of the features of {len(samples)} images in {short[name]}; "
                f"{int(wrong.sum())} of their labels are wrong and marked by crosses",
            )


def class_legend(classes_of_runs: list[list[str]]) -> None:
    """The colors of the classes, if all runs have the same ones and they are few."""
    classes = classes_of_runs[0]
    if any(other != classes for other in classes_of_runs) or len(classes) > MAX_IN_LEGEND:
        st.caption("Point at a dot to read its class.")
        return
    chips = "".join(
        '<span style="white-space:nowrap">'
        f'<span style="color:{theme.class_color(number)}">●</span> '
        f"{escaping.html(name)}</span>"
        for number, name in enumerate(classes)
    )
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:2px 14px;font-size:14px">{chips}</div>')


def panel_part(samples: np.ndarray) -> np.ndarray:
    """The part of the panel that is shown, spread evenly over it."""
    return samples[_positions(len(samples))]


@lru_cache(maxsize=256)
def panel_layout(run: RunFolder, row: int) -> np.ndarray:
    """PCA (P, 2) of a row's panel, aligned to that of the first row."""
    features = run.array("panel_features", row + 1)[row]
    features = np.asarray(features[_positions(len(features))], np.float32)
    return pca(features, previous=None if row == 0 else panel_layout(run, 0))


def classes_of(view: EpochView) -> list[str]:
    """Names of the classes of a run."""
    return view.run.info["data"]["classes"]


def epoch_of(view: EpochView) -> int:
    """The epoch of a view's row."""
    return view.run.epochs[view.row]["epoch"]


def _positions(n: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, charts.MAX_POINTS)).astype(int))
