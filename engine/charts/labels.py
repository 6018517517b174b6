"""Charts of label correction: flow, matrices, flips; arrays in, figure out."""

from collections.abc import Sequence
from html import unescape

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from engine.analysis.label_changes import LabelFlips
from engine.analysis.label_outcomes import LabelOutcome, outcomes
from engine.charts.escaping import plotly
from engine.charts.theme import HIGHLIGHT, OUTCOMES, SEQUENTIAL, epoch_line, figure, stripes

MAX_FLOW_CLASSES = 12  # in a flow; the rest is one node
MAX_CLASSES_WITH_NUMBERS = 12  # classes up to which cells show numbers


def changed_outcomes(truth_known: bool) -> tuple[LabelOutcome, ...]:
    """The outcomes of labels that correction changed, in order."""
    same = (LabelOutcome.CLEAN, LabelOutcome.MISSED, LabelOutcome.KEPT)
    return tuple(kind for kind in LabelOutcome.possible(truth_known) if kind not in same)


def outcome_meaning(kind: LabelOutcome, truth_known: bool) -> str:
    """An outcome with its meaning, for legends and hover texts."""
    return f"{kind.word}: {kind.meaning(truth_known)}"


def label_flow(
    given: np.ndarray,
    corrected: np.ndarray,
    true: np.ndarray | None,
    classes: Sequence[str],
    *,
    kept: bool = False,
    height: int = 430,
) -> go.Figure:
    """Sankey of labels: given class at the left, corrected class at the right, by outcome.

    given, corrected, true: (N,) class ids, true None where it is not known. kept: show the labels
    that did not change too. Of many classes the busiest are shown, the others flow as one.
    """
    codes = outcomes(given, true, corrected)
    moved = given != corrected
    n_classes = len(classes)
    place, names = _busiest(given[moved], corrected[moved], classes)
    shown = np.ones(len(given), bool) if kept else moved
    key = codes[shown].astype(np.int64) * n_classes + place[given[shown]]
    key = key * n_classes + place[corrected[shown]]
    codes, counts = np.unique(key, return_counts=True)
    kinds = [LabelOutcome(code) for code in codes // n_classes**2]
    source, target = codes // n_classes % n_classes, codes % n_classes
    used = sorted({*source.tolist(), *target.tolist()})
    left = {c: i for i, c in enumerate(used)}
    strong = changed_outcomes(true is not None)  # labels that did not change are background
    colors = [_clear(OUTCOMES[kind].color, 0.6 if kind in strong else 0.25) for kind in kinds]
    words = [outcome_meaning(kind, true is not None) for kind in kinds]
    side = 24 + 8 * max((len(unescape(names[c])) for c in used), default=1)  # room for the names
    fig = figure(height=height, margin=dict(l=side, r=side, t=60, b=12))
    heights = _places(used, source, target, counts)
    fig.add_trace(
        go.Sankey(
            arrangement="fixed",
            textfont=dict(color="rgba(0,0,0,0)", shadow="none"),
            node=dict(
                label=[names[c] for c in used] * 2,
                x=[0.001] * len(used) + [0.999] * len(used),
                y=heights,
                color="rgba(128,128,128,0.7)",
                pad=10,
                thickness=14,
                line_width=0,
                hovertemplate="%{label}: %{value} labels<extra></extra>",
            ),
            link=dict(
                source=[left[c] for c in source.tolist()],
                target=[left[c] + len(used) for c in target.tolist()],
                value=counts.tolist(),
                color=colors,
                line_width=0,  # one width and color for all: Plotly draws an array of them black
                customdata=words,
                hovertemplate="given %{source.label}, now %{target.label}: %{value}<br>"
                "%{customdata}<extra></extra>",
            ),
        )
    )
    for x, text, ys in (
        (0, "given label", heights[: len(used)]),
        (1, "corrected label", heights[len(used) :]),
    ):
        put = dict(x=x, xref="paper", yref="paper", showarrow=False)
        inside, outside = ("left", "right") if x == 0 else ("right", "left")
        fig.add_annotation(**put, y=1.02, yanchor="bottom", xanchor=inside, text=f"<b>{text}</b>")
        for c, y in zip(used, ys, strict=True):
            fig.add_annotation(
                **put, y=1 - y, yanchor="middle", xanchor=outside, text=names[c], xshift=24 * x - 12
            )
    return fig


def class_matrix(
    values: np.ndarray,
    classes: Sequence[str],
    *,
    rows: str,
    columns: str,
    counts: np.ndarray | None = None,
    height: int = 400,
) -> go.Figure:
    """A (C, C) table of shares in [0, 1] as colored cells, numbers in them where they fit.

    rows, columns: axis titles. counts: (C, C) behind the shares, for the hover.
    """
    n = len(classes)
    written = n <= MAX_CLASSES_WITH_NUMBERS
    text = np.where(values >= 0.005, np.rint(100 * values).astype(int).astype(str), "")
    fig = figure(height=height, x=columns, y=rows, margin=dict(l=8, r=8, t=36, b=8))
    names = [_short(name) for name in classes]
    fig.add_trace(
        go.Heatmap(
            z=values,
            x=names,
            y=names,
            zmin=0,
            zmax=1,
            colorscale=SEQUENTIAL,
            customdata=values if counts is None else counts,
            xgap=1,
            ygap=1,
            colorbar=dict(tickformat=".0%", thickness=10, outlinewidth=0),
            hovertemplate=f"{rows} %{{y}}, {columns} %{{x}}: %{{z:.1%}}"
            + ("" if counts is None else " (%{customdata} labels)")
            + "<extra></extra>",
        )
    )
    if written:
        _write_cells(fig, values, text, names)
    fig.update_xaxes(
        type="category", showgrid=False, automargin=True, tickangle=0 if n < 11 else 90
    )
    fig.update_yaxes(type="category", showgrid=False, automargin=True, autorange="reversed")
    return fig


def _write_cells(fig: go.Figure, values: np.ndarray, text: np.ndarray, names: list[str]) -> None:
    """Numbers in cells, each in the one of black and white that has more contrast to its cell."""
    cells = np.argwhere(text != "")
    shades = [is_dark(color) for color in sample_colorscale(SEQUENTIAL, values[tuple(cells.T)])]
    for dark, ink in ((True, "white"), (False, "black")):
        part = cells[np.array(shades, bool) == dark]
        fig.add_scatter(
            x=[names[column] for _, column in part],
            y=[names[row] for row, _ in part],
            text=[text[row, column] for row, column in part],
            mode="text",
            textfont=dict(color=ink, size=13),
            hoverinfo="skip",
            showlegend=False,
        )


def is_dark(color: str) -> bool:
    """Whether white has more contrast than black on a color "rgb(r, g, b)", as WCAG 2 measures it.

    >>> is_dark("rgb(68, 1, 84)"), is_dark("rgb(253, 231, 37)")
    (True, False)
    """
    red, green, blue = (
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (float(part) / 255 for part in color[4:-1].split(","))
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (luminance + 0.05) ** 2 < 1.05 * 0.05


def flips_over_time(
    flips: LabelFlips,
    true: np.ndarray | None,
    epochs: tuple[int, int],
    *,
    chosen: int | None = None,
    begins: int | None = None,
    height: int = 300,
) -> go.Figure:
    """How many labels flipped in each epoch, by what it did; epochs: first and last of the axis."""
    first, last = epochs
    fig = figure(height=height, x="epoch", y="labels that flipped", barmode="stack", bargap=0.15)
    fig.update_layout(margin=dict(l=60, r=12, t=64, b=44))
    true = None if true is None else true[flips.sample]
    codes = outcomes(flips.before, true, flips.after)
    for kind in changed_outcomes(true is not None):
        style = OUTCOMES[kind]
        counts = np.bincount(flips.epoch[codes == kind] - first, minlength=last - first + 1)
        fig.add_trace(
            go.Bar(
                x=np.arange(first, last + 1),
                y=counts,
                name=f"{style.mark} {kind.word}",
                marker=dict(color=style.color, line_width=0, pattern=stripes(style.pattern)),
                hovertemplate=f"epoch %{{x}}: %{{y}}<br>{kind.word}<extra></extra>",
            )
        )
    if begins is not None and first <= begins <= last:
        epoch_line(fig, begins - 0.5, "correction starts")
    if chosen is not None:
        epoch_line(fig, chosen, "", HIGHLIGHT)
    fig.update_xaxes(range=[first - 0.6, last + 0.6], tickformat="d")
    fig.update_yaxes(rangemode="tozero", tickformat=",d")
    fig.update_layout(legend=dict(y=1.1, traceorder="normal"))
    return fig


def _busiest(
    given: np.ndarray, corrected: np.ndarray, classes: Sequence[str]
) -> tuple[np.ndarray, dict[int, str]]:
    """Where each class flows (C,), and the names of those places."""
    n = len(classes)
    names = {c: _short(name) for c, name in enumerate(classes)}
    place = np.arange(n)
    if n > MAX_FLOW_CLASSES:
        traffic = np.bincount(given, minlength=n) + np.bincount(corrected, minlength=n)
        others = np.argsort(-traffic, kind="stable")[MAX_FLOW_CLASSES - 1 :]
        place[others] = others.max()
        names[int(others.max())] = f"{len(others)} other classes"
    return place, names


def _places(
    used: list[int], source: np.ndarray, target: np.ndarray, counts: np.ndarray
) -> list[float]:
    """Heights of the nodes, left then right, in the order of the classes and without overlap."""
    heights = []
    for side in (source, target):
        sizes = np.array([counts[side == c].sum() for c in used], float)
        share = sizes / max(sizes.sum(), 1)
        gap = 0.25 / max(len(used), 1)
        middle = np.cumsum(share * 0.75 + gap) - (share * 0.75 + gap) / 2
        heights += np.clip(middle, 0.001, 0.999).tolist()
    return heights


def _short(name: str, most: int = 18) -> str:
    return plotly(name, most)


def _clear(color: str, opacity: float) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
