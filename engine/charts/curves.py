"""Metrics over the epochs of one run or several, as plotly figures; for notebooks as well.

from engine.charts.curves import Curve, curves
curves([Curve("MixNN", run.epochs)], "test_accuracy").show()
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from engine.analysis.statistics import INTERVAL_COLUMNS, format_mean, interval
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
    """One run in a picture: its short name, its records, and those of its parent before a fork.

    seeds: the records of several runs, seed -> records, of which the mean is drawn instead.
    """

    name: str
    records: Sequence[dict[str, Any]]
    before: Sequence[dict[str, Any]] = ()
    seeds: Mapping[int, Sequence[dict[str, Any]]] = field(default_factory=dict)


def metric_curves(
    runs: Sequence[Curve],
    metric: str,
    *,
    epoch: int | None = None,
    each_seed: bool = False,
    height: int = 300,
) -> go.Figure:
    """A metric over the epochs, one line a run, distinct by color, dash and symbol.

    epoch: the chosen epoch, marked by a line. Epochs of a fork's parent are thin. Epochs
    without a value are left out. Of several seeds the mean is drawn, with the 95 % interval of the
    mean as a band; each_seed: and a thin line for each. The axis holds the values of the last two
    thirds of the epochs; a double click shows all.
    """
    fig = figure(height=height + 20 * (len(runs) // 3), x="epoch")
    # below the axis, so that it does not run under the tool bar
    legend = dict(font_size=13, y=-0.24, yanchor="top")
    fig.update_layout(margin=dict(l=52, r=30, t=34, b=64 + 20 * (len(runs) // 3)), legend=legend)
    for number, run in enumerate(runs):
        color, dash, symbol = run_style(number)
        line = dict(color=color, dash=dash, width=2.5)
        if run.seeds:
            _draw_seeds(fig, run, metric, line, each_seed)
            continue
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
    _name_ends(fig, runs, metric)
    fig.update_xaxes(tickformat="d", rangemode="tozero", title_standoff=4)
    return fig


def metric_table(runs: Sequence[Curve], metrics: Sequence[str] = tuple(METRICS)) -> pd.DataFrame:
    """The numbers of the curves: run, seed (of several), epoch and a column per metric."""
    return pd.DataFrame(
        [
            {"run": run.name, "seed": seed, "epoch": record["epoch"]}
            | {name: record["metrics"].get(name) for name in metrics}
            for run in runs
            for seed, records in (run.seeds.items() or [(None, run.records)])
            for record in records
        ],
        columns=["run", "seed", "epoch", *metrics],
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


def seed_means(run: Curve, metric: str) -> pd.DataFrame:
    """Mean over the seeds: columns epoch and those of `statistics.interval`, ends within [0, 1]."""
    points = [
        {"epoch": epoch, "value": value}
        for records in run.seeds.values()
        for epoch, value in zip(*_points(records, metric), strict=True)
    ]
    frame = pd.DataFrame(points, columns=["epoch", "value"])
    rows = [{"epoch": e, **interval(part["value"])} for e, part in frame.groupby("epoch")]
    table = pd.DataFrame(rows, columns=["epoch", *INTERVAL_COLUMNS])
    return table.assign(low=table["low"].clip(lower=0), high=table["high"].clip(upper=1))


def _draw_seeds(
    fig: go.Figure, run: Curve, metric: str, line: dict[str, Any], each_seed: bool
) -> None:
    means, color = seed_means(run, metric), line["color"]
    band = means.dropna(subset=["low"])
    name = f"{plotly(run.name)}, mean of {len(run.seeds)} seeds"
    fig.add_scatter(
        x=[*band["epoch"], *band["epoch"][::-1]],
        y=[*band["high"], *band["low"][::-1]],
        mode="lines",
        fill="toself",
        fillcolor=f"rgba({', '.join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))}, 0.2)",
        line_width=0,
        hoverinfo="skip",
        showlegend=False,
        name=f"{name}, 95 % interval",
    )
    if each_seed:
        for seed, records in run.seeds.items():
            x, y = _points(records, metric)
            fig.add_scatter(
                x=x,
                y=y,
                mode="lines",
                line=dict(color=color, width=1),
                opacity=0.7,
                showlegend=False,
                name=f"{plotly(run.name)}, seed {seed}",
                hovertemplate=_hover(f"{run.name}, seed {seed}"),
            )
    text = [
        f"{format_mean(row).rpartition(', n')[0]}, {row['n']} seed{'s' * (row['n'] != 1)}"
        for row in means.to_dict("records")
    ]
    fig.add_scatter(
        x=means["epoch"],
        y=means["mean"],
        mode="lines",
        line=line,
        name=name,
        text=text,
        hovertemplate=f"{plotly(run.name)}<br>epoch %{{x}}: %{{text}}<extra></extra>",
    )


def _span(fig: go.Figure) -> list[float]:
    """The values of the last two thirds of the epochs with a margin, at least 4 points high."""
    last = max((max(trace.x) for trace in fig.data if len(trace.x)), default=0)
    values = [
        y
        for trace in fig.data
        for x, y in zip(trace.x, trace.y, strict=True)
        if x >= last / 3 and y is not None
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    spare = max(0.04 - (high - low), 0) / 2 + 0.06 * (high - low)
    return [max(low - spare, -0.02), min(high + spare, 1.02)]


def _name_ends(fig: go.Figure, runs: Sequence[Curve], metric: str) -> None:
    """The letter of each run at the end of its line, moved apart where lines end close together."""
    ends = []
    for number, run in enumerate(runs):
        letter = run.name.partition(" ")[0]
        if run.seeds:
            means = seed_means(run, metric)
            points = list(zip(means["epoch"], means["mean"], strict=True))
        else:
            points = list(zip(*_points(run.records, metric), strict=True))
        if points and len(letter) <= 2:
            ends.append((points[-1][1], points[-1][0], letter, run_style(number)[0]))
    low, high = fig.layout.yaxis.range
    gap, above = 0.08 * (high - low), high
    places: list[float] = []
    for y, *_ in sorted(ends):
        places.append(max(y, places[-1] + gap) if places else y)
    for number in reversed(range(len(places))):  # none above the chart
        places[number] = above = min(places[number], above)
        above -= gap
    for place, (_, x, letter, color) in zip(places, sorted(ends), strict=True):
        fig.add_annotation(
            x=x,
            y=place,
            text=f"<b>{plotly(letter)}</b>",
            font_color=color,
            showarrow=False,
            xanchor="left",
            xshift=6,
        )


def _hover(name: str) -> str:
    return f"{plotly(name)}<br>epoch %{{x}}: %{{y:.1%}}<extra></extra>"
