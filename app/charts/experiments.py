"""What many runs say: means with their 95 % intervals, differences, maps; tables in, figure out.

Tables are tidy, as `engine.experiments` writes them: columns that tell groups apart, `metric`, and
`n, mean, low, high` (see engine/experiments/statistics.py). Ends that are nan are not drawn.

from app.charts import experiments
experiments.bands(curves, metrics=["test_accuracy"], color="method", facet="rate").show()
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb, sequential

from app.charts.base import (
    DASHES,
    GRID,
    HIGHLIGHT,
    METHODS,
    MORE_CLASSES,
    MUTED,
    OKABE_ITO,
    SYMBOLS,
    class_color,
    figure,
)  # fmt: skip
from app.charts.curves import METRICS
from engine.experiments.statistics import say

PALETTE = tuple(c for c in OKABE_ITO if c != "#F0E442") + MORE_CLASSES  # yellow fades on white
ORDERED = sequential.Viridis[:8]  # for values that have an order; the light end left out
FONT, SMALL = 15, 13  # px; a README shows pictures at about 0.8 of their size
LEGEND_ROW, WIDTH = 30, 1000  # px; the width that legends are laid out for
HEAD, PANEL_HEAD, FOOT = 62, 28, 62  # px above all, above a row of panels, below the last one
ON_MAP = 2000  # points of a map, drawn as SVG


@dataclass(frozen=True)
class Quantity:
    """What a number is, in words and unit, and a value that tells something about the others."""

    words: str
    share: bool = True  # drawn in percent
    bounded: bool = True  # cannot leave [0, 1]
    unit: str = ""
    line: float | None = None  # always in the picture, dashed
    line_words: str = ""


def _auroc(words: str) -> Quantity:
    return Quantity(words, share=False, line=0.5, line_words="guessing")


QUANTITIES = {name: Quantity(words) for name, words in METRICS.items()} | {
    "test_accuracy": Quantity("test accuracy"),
    "memorized": Quantity("wrong labels memorized"),
    "label_accuracy": Quantity("training labels right"),
    "clean_auroc": _auroc("AUROC of P(clean)"),
    "detection_auroc": _auroc("AUROC, wrong found"),
    "same_class_neighbors": Quantity("neighbors of own class"),
    "silhouette": Quantity("silhouette", share=False, bounded=False, line=0.0),
    "linear_probe": Quantity("linear probe right"),
    "dip_p": Quantity("p of the dip test", share=False, line=0.05, line_words="below: two humps"),
    "bimodal": Quantity("runs with two humps"),
    "bimodal_share": Quantity("epochs after warm-up whose losses show two humps"),
    "bic_gain": Quantity("BIC gain of two", share=False, bounded=False, line=0.0),
    "ashman_d": Quantity(
        "Ashman's D", share=False, bounded=False, line=2.0, line_words="above: apart"
    ),
    "average_precision": Quantity("average precision", share=False),
    "precision_at_wrong": Quantity("precision at the number of wrong labels"),
    "auroc": _auroc("AUROC"),
    "precision": Quantity("precision"),
    "recall": Quantity("recall"),
    "gain": Quantity("test accuracy"),
    "seconds": Quantity("time", share=False, bounded=False, unit="s"),
    "epoch": Quantity("epoch", share=False, bounded=False),
}
COLUMNS = {"rate": "noise rate", "k": "K", "epoch": "epoch"}  # said before a value of these
VALUES: dict[str, dict[Any, str]] = {  # column -> its values in order -> in words
    "method": METHODS,
    "rate": {rate: f"{rate:g}" for rate in (0.0, 0.2, 0.4, 0.6, 0.8)},
    "metric": {  # gives a metric its color
        name: QUANTITIES[name].words
        for name in ("test_accuracy", "label_accuracy", "fit_clean", "memorized")
    },
    "labels": {"clean": "label right", "wrong": "label wrong"},
    "layout": {"umap": "UMAP", "pca": "PCA"},
}  # fmt: skip


def bands(
    frame: pd.DataFrame, *, color: str, metrics: Sequence[str] | None = None, x: str = "epoch",
    facet: str | None = None, row: str | None = None, dash: str | None = None, title: str = "",
    height: int | None = None,
) -> go.Figure:  # fmt: skip
    """Mean lines in 95 % bands, a line per value of color (and dash).

    facet, row: a column of panels per value of one, a row per value of the other. Each of these
    names a column of frame; `metric` is one too. metrics: those to draw, in this order.
    """
    frame = _of(frame, metrics)
    panels = _Panels(frame, facet, row, title, height or 240)
    looks = _looks(frame, color, dash)
    for part, at in panels:
        for look in looks:
            line = look.of(part).dropna(subset="mean").sort_values(x)
            known = line.dropna(subset=["low", "high"])
            quantity = _quantity(line)
            if len(known) > 1:
                panels.fig.add_scatter(
                    x=[*known[x], *known[x][::-1]], y=[*known["high"], *known["low"][::-1]],
                    fill="toself", fillcolor=_faint(look.color), line_width=0, mode="lines",
                    hoverinfo="skip", legendgroup=look.name, showlegend=False, **at,
                )  # fmt: skip
            if len(line):
                step = max(1, len(line) // 6)  # a symbol here and there tells lines apart in gray
                sizes = [8 if i % step == 0 else 0 for i in range(len(line))]
                told = [say(r, percent=quantity.share) for _, r in line.iterrows()]
                panels.draw(
                    look, at, x=line[x], y=line["mean"], mode="lines+markers",
                    line=dict(color=look.color, dash=look.dash, width=2.5),
                    marker=dict(
                        symbol=look.symbol, color=look.color, size=sizes, opacity=1, line_width=0
                    ),
                    text=told,
                    hovertemplate=f"{look.name}<br>{_axis(x)} %{{x}}: %{{text}}<extra></extra>",
                )  # fmt: skip
    share = x in QUANTITIES and QUANTITIES[x].share
    panels.fig.update_xaxes(
        tickformat=".0%" if share else None, dtick=0.5 if share else None, nticks=6, zeroline=False,
        range=_padded(frame[x].min(), frame[x].max(), 0.08 if share else 0.03),
    )  # fmt: skip
    panels.name_values()
    return panels.done(_axis(x), f"{_seeds(frame)}; band: its 95 % interval")


def sensitivity(
    cells: pd.DataFrame, axes: Sequence[str], *, metric: str, preset: Mapping[str, float],
    color: str = "rate", title: str = "", height: int | None = None,
) -> go.Figure:  # fmt: skip
    """A metric against each of these knobs, the others at the preset; one line per value of color.

    Knobs' values stand evenly in their order, whatever lies between them. preset: knob -> value.
    """
    cells = _of(cells, [metric])
    parts = []
    for axis in axes:
        others = [cells[name] == preset[name] for name in axes if name != axis]
        parts.append(
            cells[np.logical_and.reduce([cells["mean"].notna(), *others])].assign(axis=axis)
        )
    frame = pd.concat(parts, ignore_index=True)
    panels = _Panels(frame, "axis", None, title, height or 330, heads=False)
    looks = _looks(frame, color)
    for (part, at), axis in zip(panels, axes, strict=True):
        values = sorted(part[axis].unique())
        places = {value: place for place, value in enumerate(values)}
        panels.fig.update_xaxes(
            tickvals=list(places.values()), ticktext=[f"{v:g}" for v in values],
            title_text=_axis(axis), range=[-0.5, len(values) - 0.5], showgrid=False,
            zeroline=False, title_font_size=FONT, **at,
        )  # fmt: skip
        if preset[axis] in places:
            panels.fig.add_vrect(
                places[preset[axis]] - 0.42, places[preset[axis]] + 0.42, line_width=0,
                fillcolor=HIGHLIGHT, opacity=0.14, layer="below", annotation_text="preset",
                annotation_position="bottom", annotation_font=dict(size=SMALL),
                exclude_empty_subplots=False, **at,
            )  # fmt: skip
        for look, shift in zip(looks, _spread(len(looks), 0.3), strict=True):
            line = look.of(part).sort_values(axis)
            panels.draw(
                look, at, x=[places[v] + shift for v in line[axis]], y=line["mean"],
                mode="lines+markers", error_y=_whiskers(line, look.color),
                line=dict(color=look.color, dash=look.dash, width=2),
                marker=dict(symbol=look.symbol, color=look.color, size=9),
                text=[say(r, percent=QUANTITIES[metric].share) for _, r in line.iterrows()],
                customdata=line[axis],
                hovertemplate=f"{look.name}<br>{_axis(axis)} %{{customdata}}: %{{text}}"
                "<extra></extra>",
            )  # fmt: skip
    panels.name_values()
    return panels.done(None, f"{_seeds(frame)}; whiskers: its 95 % interval")


def intervals(
    frame: pd.DataFrame, *, metric: str, category: str, color: str | None = None,
    facet: str | None = None, zero: str = "", sort: bool = False, shared: bool = True,
    title: str = "", height: int | None = None,
) -> go.Figure:  # fmt: skip
    """Means as dots with 95 % whiskers, one line of text per value of category.

    zero: the numbers are paired differences, and this is what stands at 0; dots are filled where
    the interval excludes 0 (column clear) and hollow elsewhere, shares are drawn as percentage
    points. sort: highest mean first. shared: panels have one scale.
    """
    frame = _of(frame, [metric]).dropna(subset="mean")
    quantity = QUANTITIES[metric]
    scale = 100 if zero and quantity.share else 1
    values = _values(frame, category)
    if sort:
        order = frame.groupby(category)["mean"].mean()
        values = sorted(values, key=lambda value: -order[value])
    looks = _looks(frame, color)
    tall = 38 if len(looks) == 1 else 30 * len(looks) + 14  # px of a category
    panels = _Panels(frame, facet, None, title, height or 20 + tall * max(len(values), 1))
    for part, at in panels:
        ends = (part if not shared else frame)[["mean", "low", "high"]]
        least, most = scale * ends.min().min(), scale * ends.max().max()
        if zero:
            panels.zero(at, x=True)
            least, most = min(least, 0), max(most, 0)
        panels.fig.update_xaxes(range=_padded(least, most, 0.035 * (1 + len(panels.columns))), **at)
        for look, shift in zip(
            looks, _spread(len(looks), 30 * (len(looks) - 1) / tall), strict=True
        ):
            dots = look.of(part)
            filled = dots["clear"] if zero else np.ones(len(dots), bool)
            mean = scale * dots["mean"]
            numbers = [_short(m, quantity, zero) for m in dots["mean"]]
            panels.fig.add_scatter(
                x=mean, y=[values.index(v) + shift for v in dots[category]], mode="markers+text",
                name=look.name, legendgroup=look.name, showlegend=False, **at,
                error_x=_whiskers(dots, look.color, scale),
                marker=dict(
                    symbol=look.symbol, size=10, line=dict(color=look.color, width=2),
                    color=np.where(filled, look.color, "white"),
                ),
                text=numbers, textposition="top center", textfont=dict(size=SMALL - 1),
                cliponaxis=False,
                customdata=[
                    f"{value_words(category, r[category])}: "
                    + say(r, sign=bool(zero), percent=quantity.share) + quantity.unit
                    for _, r in dots.iterrows()
                ],
                hovertemplate=f"{look.name}<br>%{{customdata}}<extra></extra>" if color
                else "%{customdata}<extra></extra>",
            )  # fmt: skip
    for look in looks if color else ():
        panels.mark(look.name, color=look.color, symbol=look.symbol, size=10)
    panels.fig.update_yaxes(
        tickvals=list(range(len(values))), showgrid=False, zeroline=False,
        ticktext=[value_words(category, value) for value in values],
        range=[len(values) - 0.45, -0.65],
    )  # fmt: skip
    panels.fig.update_xaxes(
        tickformat=".0%" if quantity.share and not zero else None, zeroline=False,
        nticks=9 if len(panels.columns) == 1 else 5,
    )  # fmt: skip
    how = f"{_seeds(frame)}; whiskers: its 95 % interval"
    if zero:
        how = f"Paired by seed, {how[0].lower()}{how[1:]}; hollow: it contains 0"
    unit = "percentage points" if scale == 100 else quantity.unit
    axis = f"{quantity.words} against {zero}" if zero else quantity.words
    return panels.done(f"{axis} ({unit})" if unit else axis, how)


def points(
    frame: pd.DataFrame, *, facet: str = "epoch", row: str = "method", title: str = "",
    classes: Sequence[str] | None = None, height: int = 330,
) -> go.Figure:  # fmt: skip
    """Maps (columns x, y) in a grid; color = true class, cross = wrong label (columns true, wrong).

    Each map has a scale of its own, equal in both directions. At most 2,000 points a map.
    """
    panels = _Panels(frame, facet, row, title, height, shared=False)
    ids = sorted(frame["true"].unique())
    colors = {c: class_color(number) for number, c in enumerate(ids)}
    marks = ((False, "circle", "label right"), (True, "x", "label wrong"))
    for part, at in panels:
        part = part.iloc[:ON_MAP]
        for wrong, symbol, words in marks:
            dots = part[part["wrong"] == wrong]
            panels.fig.add_scatter(
                x=dots["x"], y=dots["y"], mode="markers", name=words, showlegend=False,
                marker=dict(
                    color=dots["true"].map(colors), symbol=symbol, size=6 if wrong else 4,
                    opacity=0.95 if wrong else 0.5,
                ),
                text=[_class(c, classes) for c in dots["true"]],
                hovertemplate=f"truly %{{text}}<br>{words}<extra></extra>", **at,
            )  # fmt: skip
    for c in ids:
        panels.mark(_class(c, classes), color=colors[c], symbol="circle", size=9)
    for _, symbol, words in marks:
        panels.mark(words, color=MUTED, symbol=symbol, size=9)
    frame_line = dict(showline=True, mirror=True, linecolor="rgba(128,128,128,0.4)")
    panels.fig.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, **frame_line)
    panels.fig.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, **frame_line)
    for axis in panels.fig.select_yaxes():
        axis.update(scaleanchor=axis.anchor)
    for number, value in enumerate(panels.rows, start=1):
        panels.fig.update_yaxes(title_text=value_words(row, value), row=number, col=1)
    return panels.done(None, "Color: true class; cross: the given label is another", foot=14)


def scatter(
    frame: pd.DataFrame, *, x: str, y: str, color: str, facet: str | None = None,
    zero: str = "", title: str = "", height: int = 330,
) -> go.Figure:  # fmt: skip
    """One mark a run (row of frame): a quantity against another. zero: what stands at y = 0."""
    frame = frame.dropna(subset=[x, y])
    panels = _Panels(frame, facet, None, title, height)
    scale = 100 if zero else 1
    for part, at in panels:
        if zero:
            panels.zero(at, x=False)
        for look in _looks(frame, color):
            dots = look.of(part)
            panels.draw(
                look, at, x=dots[x], y=scale * dots[y], mode="markers",
                marker=dict(
                    symbol=look.symbol, size=11, color=look.color,
                    line=dict(width=1, color="white"),
                ),
                hovertemplate=f"{look.name}<br>{QUANTITIES[x].words}: %{{x}}<br>"
                f"{QUANTITIES[y].words}: %{{y:.1f}}<extra></extra>",
            )  # fmt: skip
    panels.fig.update_xaxes(tickformat=".0%" if QUANTITIES[x].share else None)
    words = QUANTITIES[y].words
    text = f"{words} against {zero}<br>(percentage points)" if zero else words
    panels.fig.update_yaxes(title_text=text, col=1)
    return panels.done(QUANTITIES[x].words, "Each mark is one run")


def value_words(column: str, value: Any) -> str:
    """A value as a legend or an axis says it: "MixNN", "noise rate 0.4", "K 5"."""
    words = QUANTITIES[value].words if column == "metric" else VALUES.get(column, {}).get(value)
    if words is None:
        words = str(value) if isinstance(value, str) else f"{value:g}"
    return f"{COLUMNS[column]} {words}" if column in COLUMNS else words


# --- panels and looks


class _Panels:
    """A grid of panels in the house look; goes through them as (their rows, where they stand)."""

    def __init__(
        self, frame: pd.DataFrame, facet: str | None, row: str | None, title: str, height: int,
        *, shared: bool = True, heads: bool = True,
    ):  # fmt: skip
        if not len(frame):
            facet = row = None
        self.frame, self.facet, self.row, self.title = frame, facet, row, title
        self.columns = _values(frame, facet) if facet else [None]
        self.rows = _values(frame, row) if row else [None]
        self.height, self.heads, self.named = height, heads and facet is not None, []
        gap = 26 if shared else 14
        whole = height * len(self.rows) + gap * (len(self.rows) - 1)
        self.fig = figure()
        self.fig.set_subplots(
            len(self.rows), len(self.columns), shared_xaxes=shared,
            shared_yaxes="rows" if shared else False, vertical_spacing=gap / whole,
            horizontal_spacing=0.03,
            column_titles=[value_words(facet, v) for v in self.columns] if self.heads else None,
        )  # fmt: skip
        self.whole = whole
        self.fig.update_xaxes(title_standoff=8, **GRID)
        self.fig.update_yaxes(title_standoff=10, **GRID)

    def __iter__(self) -> Iterator[tuple[pd.DataFrame, dict[str, int]]]:
        for r, row in enumerate(self.rows, start=1):
            for c, column in enumerate(self.columns, start=1):
                part = self.frame
                part = part if self.row is None else part[part[self.row] == row]
                part = part if self.facet is None else part[part[self.facet] == column]
                yield part, dict(row=r, col=c)

    def draw(self, look: "_Look", at: dict[str, int], **trace) -> None:
        """A trace that stands in the legend once."""
        first = look.name not in self.named
        self.fig.add_scatter(
            name=look.name, legendgroup=look.name, showlegend=first, **trace, **at
        )  # fmt: skip
        if first:
            self.named.append(look.name)

    def mark(self, words: str, **marker) -> None:
        """A mark that stands in the legend alone."""
        self.fig.add_scatter(
            x=[None], y=[None], mode="markers", name=words, legendgroup=words, marker=marker
        )  # fmt: skip
        self.named.append(words)

    def zero(self, at: dict[str, int], *, x: bool) -> None:
        """A line where x, or else y, is 0."""
        draw = self.fig.add_vline if x else self.fig.add_hline
        line = dict(color=MUTED, width=1.5)
        draw(0, line=line, layer="below", exclude_empty_subplots=False, **at)

    def name_values(self) -> None:
        """Title, unit, range and telling value of each row's y axis."""
        for number, row in enumerate(self.rows, start=1):
            part = self.frame if self.row is None else self.frame[self.frame[self.row] == row]
            quantity = _quantity(part)
            one = part["metric"].nunique() == 1
            words = quantity.words if one else "share" if quantity.share else ""
            if self.row not in (None, "metric"):
                words = f"{value_words(self.row, row)}<br>{words}"
            self.fig.update_yaxes(
                tickformat=".0%" if quantity.share else None, range=_high(part, quantity),
                row=number,
            )  # fmt: skip
            self.fig.update_yaxes(title_text=words, row=number, col=1)
            lines = {QUANTITIES[metric].line for metric in part["metric"].unique()}
            if len(lines) == 1 and quantity.line is not None:
                self.fig.add_hline(
                    quantity.line, line=dict(color=MUTED, width=1.5, dash="dash"), row=number,
                    col="all", layer="below", exclude_empty_subplots=False,
                )  # fmt: skip
                self.fig.add_annotation(
                    text=quantity.line_words, x=0.02, xref="x domain", y=quantity.line,
                    yanchor="bottom", xanchor="left", showarrow=False, row=number, col=1,
                    font=dict(size=SMALL, color=MUTED),
                )  # fmt: skip

    def done(self, x: str | None, how: str, *, foot: int = FOOT) -> go.Figure:
        """The figure with its head: title, how to read it, legend. x: the x axes' title."""
        lines = any("lines" in trace.mode for trace in self.fig.data)
        mark = 44 if lines else 30  # px; a dash wants room
        n_rows = _legend_rows(self.named, mark) if len(self.named) > 1 else 0
        top = HEAD + n_rows * LEGEND_ROW + (PANEL_HEAD if self.heads else 10)
        height = top + self.whole + foot
        if x is not None and len(self.columns) > 1:  # said once for all
            self.fig.add_annotation(
                text=x, x=0.5, xref="paper", y=-46 / self.whole, yref="paper", showarrow=False,
                yanchor="middle",
            )  # fmt: skip
        elif x is not None:
            self.fig.update_xaxes(title_text=x, row=len(self.rows))
        self._say_where_nothing_is()
        self.fig.update_xaxes(title_font_size=FONT)
        self.fig.update_yaxes(title_font_size=FONT)
        self.fig.for_each_annotation(
            lambda note: note.update(font_size=FONT) if note.yref == "paper" else None
        )
        title = f"<b>{self.title}</b><br>" if self.title else ""
        self.fig.update_layout(
            height=height, margin=dict(l=72, r=20, t=top, b=foot), font_size=FONT,
            showlegend=n_rows > 0,
            title=dict(
                text=f"{title}<span style='font-size:{SMALL + 1}px;color:#5B6672'>{how}</span>",
                x=0, xref="container", y=1 - 28 / height, yref="container", yanchor="top",
                pad_l=12, font_size=FONT + 2,
            ),
            legend=dict(
                orientation="h", x=0.008, xref="container", xanchor="left", yanchor="top",
                y=1 - HEAD / height, yref="container", font_size=FONT, itemsizing="constant",
                itemwidth=mark,
            ),
        )  # fmt: skip
        return self.fig

    def _say_where_nothing_is(self) -> None:
        """An empty panel keeps its axes, which others share, and says that it is empty."""
        if "mean" not in self.frame:
            return
        for part, at in self:
            if part["mean"].notna().any():
                continue
            self.fig.add_scatter(x=[None], y=[None], showlegend=False, **at)
            self.fig.add_annotation(
                text="no value", x=0.5, y=0.5, xref="x domain", yref="y domain", showarrow=False,
                font=dict(size=SMALL, color=MUTED), **at,
            )  # fmt: skip


@dataclass(frozen=True)
class _Look:
    """How one group of rows is drawn everywhere in a figure, and which rows it is."""

    where: dict[str, Any]
    name: str
    color: str
    dash: str
    symbol: str

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        for column, value in self.where.items():
            frame = frame[frame[column] == value]
        return frame


def _looks(frame: pd.DataFrame, color: str | None, dash: str | None = None) -> list[_Look]:
    """Told apart by color, and by dash and symbol for those who see gray."""
    if color is None:
        return [_Look({}, "", OKABE_ITO[0], DASHES[0], SYMBOLS[0])]
    values = _values(frame, color)
    known = list(VALUES.get(color, {}))
    fixed = all(value in known for value in values)  # then a method looks alike in all figures
    ordered = not isinstance(values[0], str) if values else False
    found = []
    for rank, value in enumerate(values):
        place, of = (known.index(value), len(known)) if fixed else (rank, len(values))
        shade = ORDERED[round(place * (len(ORDERED) - 1) / max(of - 1, 1))]
        look = shade if ordered else PALETTE[place % len(PALETTE)]
        words = value_words(color, value)
        if dash is None:
            style = DASHES[place % len(DASHES)], SYMBOLS[place % len(SYMBOLS)]
            found.append(_Look({color: value}, words, look, *style))
            continue
        for number, other in enumerate(_values(frame, dash)):
            name = f"{words}, {value_words(dash, other)}"
            symbol = SYMBOLS[place % len(SYMBOLS)] + ("-open" if number else "")
            found.append(_Look({color: value, dash: other}, name, look, DASHES[number], symbol))
    return found


def _values(frame: pd.DataFrame, column: str) -> list:
    """Values of a column: in the order of VALUES, numbers by size, others as they come."""
    values = list(frame[column].unique())
    known = list(VALUES.get(column, {}))
    if all(value in known for value in values):
        return sorted(values, key=known.index)
    return values if any(isinstance(value, str) for value in values) else sorted(values)


def _of(frame: pd.DataFrame, metrics: Sequence[str] | None) -> pd.DataFrame:
    """Rows of these metrics, in their order."""
    if metrics is None:
        return frame
    return pd.concat([frame[frame["metric"] == metric] for metric in metrics], ignore_index=True)


def _quantity(part: pd.DataFrame) -> Quantity:
    return QUANTITIES[part["metric"].iloc[0]] if len(part) else Quantity("")


def _axis(column: str) -> str:
    return COLUMNS.get(column) or (QUANTITIES[column].words if column in QUANTITIES else column)


def _short(value: float, quantity: Quantity, zero: str = "") -> str:
    if zero:
        value, digits = (100 * value, 1) if quantity.share else (value, 3)
        text = f"{value:+.{digits}f}".replace("-", "−")
        return text if float(text[1:]) else text[1:]
    if quantity.share:
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if quantity.bounded else f"{value:.1f} {quantity.unit}".strip()


def _class(c: Any, classes: Sequence[str] | None) -> str:
    return str(classes[c]) if classes is not None else str(c)


def _seeds(frame: pd.DataFrame) -> str:
    """ "Mean of 5 seeds"."""
    n = frame.loc[frame["mean"].notna(), "n"]
    if not len(n):
        return "No run"
    few, many = int(n.min()), int(n.max())
    if many == 1:
        return "One seed, so no interval"
    return f"Mean of {many if few == many else f'{few} to {many}'} seeds"


def _whiskers(rows: pd.DataFrame, color: str, scale: float = 1) -> dict[str, Any]:
    return dict(
        type="data", symmetric=False, array=scale * (rows["high"] - rows["mean"]),
        arrayminus=scale * (rows["mean"] - rows["low"]), color=color, thickness=1.8, width=5,
    )  # fmt: skip


def _spread(n: int, width: float) -> np.ndarray:
    """Shifts (n,) around 0 that keep n marks at one place apart."""
    return np.linspace(-width / 2, width / 2, n) if n > 1 else np.zeros(1)


def _faint(color: str) -> str:
    return f"rgba{(*hex_to_rgb(color), 0.18)}"


def _padded(low: float, high: float, share: float) -> list[float]:
    if not (np.isfinite(low) and np.isfinite(high)):  # nothing to draw
        return [0.0, 1.0]
    pad = share * (high - low) or 0.05
    return [low - pad, high + pad]


def _high(part: pd.DataFrame, quantity: Quantity) -> list[float]:
    """From the lowest to the highest band end, and no farther than the quantity can go."""
    ends = part[["mean", "low", "high"]].to_numpy(float).ravel()
    ends = ends[np.isfinite(ends)]
    if quantity.line is not None:
        ends = np.append(ends, quantity.line)
    low, high = (ends.min(), ends.max()) if len(ends) else (0.0, 1.0)
    if quantity.bounded:
        low, high = max(low, 0.0), min(high, 1.0)
    return _padded(low, high, 0.06)


def _legend_rows(names: Sequence[str], mark: int) -> int:
    """How many rows a legend of these names will take, about; mark: px of a line or symbol."""
    rows, used = 1, 0.0
    for name in names:
        wide = mark + 20 + 7.8 * len(name)
        if used + wide > WIDTH - 40 and used:
            rows, used = rows + 1, 0.0
        used += wide
    return rows
