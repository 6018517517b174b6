"""Metrics over the epochs of one run or several, as plotly figures; for notebooks as well.

from engine.charts.curves import Curve, curves
curves([Curve("MixNN", run.epochs)], "test_accuracy").show()
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from engine.charts.escaping import plotly
from engine.charts.theme import DASHES, OKABE_ITO, SYMBOLS, epoch_line, figure

METRICS = {  # metric of a record -> title; all are shares
    "test_accuracy": "test images right",
    "memorized": "wrong labels memorized",
    "fit_clean": "clean labels learned",
    "label_accuracy": "training labels right",
    "clean_auroc": "P(clean), AUROC",
    "detection_auroc": "detection of wrong labels, AUROC",
    "train_accuracy": "training images right",
    "val_accuracy": "validation images right",
    "changed_labels": "labels changed",
    "clean_share": "mean P(clean)",
    "test_calibration_error": "test calibration error",
}


@dataclass(frozen=True)
class Curve:
    """One run in a picture: its short name, its records, and those of its parent before a fork."""

    name: str
    records: Sequence[dict[str, Any]]
    before: Sequence[dict[str, Any]] = ()


def metric_curves(
    runs: Sequence[Curve], metric: str, *, epoch: int | None = None, height: int = 280
) -> go.Figure:
    """A metric over the epochs, one line a run, distinct by color, dash and symbol.

    epoch: the chosen epoch, marked by a line. Epochs of a fork's parent are thin. Epochs
    without a value are left out.
    """
    fig = figure(height=height, x="epoch")
    fig.update_layout(margin=dict(l=52, r=12, t=56, b=36), legend=dict(font_size=13))
    for number, run in enumerate(runs):
        color, dash, symbol = run_style(number)
        line = dict(color=color, dash=dash, width=2.5)
        if run.before:
            x, y = _points([*run.before, *run.records[:1]], metric)
            fig.add_scatter(
                x=x,
                y=y,
                mode="lines",
                line=line | dict(width=1),
                opacity=0.6,
                showlegend=False,
                name=f"{plotly(run.name)}, before the fork",
                hovertemplate=_hover(run.name + " (parent)"),
            )
        x, y = _points(run.records, metric)
        step = max(1, len(x) // 12)  # a symbol here and there tells lines apart in gray
        sizes = [7 if i % step == 0 or len(x) <= 12 else 0 for i in range(len(x))]
        fig.add_scatter(
            x=x,
            y=y,
            mode="lines+markers",
            line=line,
            name=plotly(run.name),
            marker=dict(symbol=symbol, color=color, size=sizes),
            hovertemplate=_hover(run.name),
        )
    if epoch is not None:
        epoch_line(fig, epoch, "")
    fig.update_yaxes(tickformat=".0%", range=_span(fig))
    fig.update_xaxes(tickformat="d", rangemode="tozero", title_standoff=4)
    return fig


def metric_table(runs: Sequence[Curve], metrics: Sequence[str] = tuple(METRICS)) -> pd.DataFrame:
    """The numbers of the curves: run, epoch and a column per metric."""
    return pd.DataFrame(
        [
            {"run": run.name, "epoch": record["epoch"]}
            | {name: record["metrics"].get(name) for name in metrics}
            for run in runs
            for record in run.records
        ],
        columns=["run", "epoch", *metrics],
    )


def run_style(number: int) -> tuple[str, str, str]:
    """Color, dash and symbol of the run at this position of a comparison."""
    return (
        OKABE_ITO[number % len(OKABE_ITO)],
        DASHES[number % len(DASHES)],
        SYMBOLS[number % len(SYMBOLS)],
    )


def _points(records: Sequence[dict[str, Any]], metric: str) -> tuple[list[int], list[float]]:
    points = [(r["epoch"], r["metrics"].get(metric)) for r in records]
    points = [(epoch, value) for epoch, value in points if value is not None]
    return [epoch for epoch, _ in points], [value for _, value in points]


def _span(fig: go.Figure) -> list[float]:
    """From 0 to a round share above all lines, so that heights compare."""
    most = max((max(trace.y) for trace in fig.data if len(trace.y)), default=1.0)
    return [-0.02, next((top for top in (0.1, 0.25, 0.5) if most < top * 0.95), 1.0) * 1.03]


def _hover(name: str) -> str:
    return f"{plotly(name)}<br>epoch %{{x}}: %{{y:.1%}}<extra></extra>"
