"""Grids of panels for the results of many runs: title, legend, axes, and the style of groups."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sequential

from engine.charts.metric_names import (
    QUANTITIES,
    VALUES,
    Quantity,
    quantity_of,
    value_words,
    values_of,
)
from engine.charts.theme import DASHES, GRID, MORE_CLASSES, MUTED, OKABE_ITO, SYMBOLS, figure

PALETTE = tuple(c for c in OKABE_ITO if c != "#F0E442") + MORE_CLASSES  # yellow fades on white
ORDERED = sequential.Viridis[:8]  # for values that have an order; the light end left out
FONT, SMALL = 15, 13  # px; a README shows pictures at about 0.8 of their size
LEGEND_ROW, WIDTH = 30, 1000  # px; the width that legends are laid out for
HEAD, PANEL_HEAD, FOOT = 62, 28, 62  # px above all, above a row of panels, below the last one


class Panels:
    """A grid of panels; iterating gives (rows of the frame, row and column of the panel)."""

    def __init__(
        self,
        frame: pd.DataFrame,
        facet: str | None,
        row: str | None,
        title: str,
        height: int,
        *,
        shared: bool = True,
        heads: bool = True,
    ):
        if not len(frame):
            facet = row = None
        self.frame, self.facet, self.row, self.title = frame, facet, row, title
        self.columns = values_of(frame, facet) if facet else [None]
        self.rows = values_of(frame, row) if row else [None]
        self.height, self.heads = height, heads and facet is not None
        self.named: list[str] = []  # what the legend has
        gap = 26 if shared else 14
        whole = height * len(self.rows) + gap * (len(self.rows) - 1)
        self.fig = figure()
        self.fig.set_subplots(
            len(self.rows),
            len(self.columns),
            shared_xaxes=shared,
            shared_yaxes="rows" if shared else False,
            vertical_spacing=gap / whole,
            horizontal_spacing=0.03,
            column_titles=[value_words(facet, v) for v in self.columns]
            if facet and heads
            else None,
        )
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

    def draw(self, group: "GroupStyle", at: dict[str, int], **trace) -> None:
        """A trace whose group is in the legend once."""
        first = group.name not in self.named
        self.fig.add_scatter(
            name=group.name, legendgroup=group.name, showlegend=first, **trace, **at
        )
        if first:
            self.named.append(group.name)

    def mark(self, words: str, **marker) -> None:
        """A mark that is only in the legend."""
        self.fig.add_scatter(
            x=[None], y=[None], mode="markers", name=words, legendgroup=words, marker=marker
        )
        self.named.append(words)

    def zero(self, at: dict[str, int], *, x: bool) -> None:
        """A line where x, or else y, is 0."""
        draw = self.fig.add_vline if x else self.fig.add_hline
        line = dict(color=MUTED, width=1.5)
        draw(0, line=line, layer="below", exclude_empty_subplots=False, **at)

    def name_values(self) -> None:
        """Title, unit, range and reference line of each row's y axis."""
        for number, row in enumerate(self.rows, start=1):
            part = self.frame if self.row is None else self.frame[self.frame[self.row] == row]
            quantity = quantity_of(part)
            one = part["metric"].nunique() == 1
            words = quantity.words if one else "share" if quantity.share else ""
            if self.row not in (None, "metric"):
                words = f"{value_words(self.row, row)}<br>{words}"
            self.fig.update_yaxes(
                tickformat=".0%" if quantity.share else None,
                range=_high(part, quantity),
                row=number,
            )
            self.fig.update_yaxes(title_text=words, row=number, col=1)
            lines = {QUANTITIES[metric].line for metric in part["metric"].unique()}
            if len(lines) == 1 and quantity.line is not None:
                self.fig.add_hline(
                    quantity.line,
                    line=dict(color=MUTED, width=1.5, dash="dash"),
                    row=number,
                    col="all",
                    layer="below",
                    exclude_empty_subplots=False,
                )
                self.fig.add_annotation(
                    text=quantity.line_words,
                    x=0.02,
                    xref="x domain",
                    y=quantity.line,
                    yanchor="bottom",
                    xanchor="left",
                    showarrow=False,
                    row=number,
                    col=1,
                    font=dict(size=SMALL, color=MUTED),
                )

    def done(self, x: str | None, how: str, *, foot: int = FOOT) -> go.Figure:
        """The figure with its head: title, how to read it, legend. x: the x axes' title."""
        lines = any("lines" in trace.mode for trace in self.fig.data)
        mark = 44 if lines else 30  # px; a dash wants room
        n_rows = _legend_rows(self.named, mark) if len(self.named) > 1 else 0
        top = HEAD + n_rows * LEGEND_ROW + (PANEL_HEAD if self.heads else 10)
        height = top + self.whole + foot
        if x is not None and len(self.columns) > 1:  # one title for all
            self.fig.add_annotation(
                text=x,
                x=0.5,
                xref="paper",
                y=-46 / self.whole,
                yref="paper",
                showarrow=False,
                yanchor="middle",
            )
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
            height=height,
            margin=dict(l=72, r=20, t=top, b=foot),
            font_size=FONT,
            showlegend=n_rows > 0,
            title=dict(
                text=f"{title}<span style='font-size:{SMALL + 1}px;color:#5B6672'>{how}</span>",
                x=0,
                xref="container",
                y=1 - 28 / height,
                yref="container",
                yanchor="top",
                pad_l=12,
                font_size=FONT + 2,
            ),
            legend=dict(
                orientation="h",
                x=0.008,
                xref="container",
                xanchor="left",
                yanchor="top",
                y=1 - HEAD / height,
                yref="container",
                font_size=FONT,
                itemsizing="constant",
                itemwidth=mark,
            ),
        )
        return self.fig

    def _say_where_nothing_is(self) -> None:
        """Write "no value" into empty panels; their axes stay, since others share them."""
        if "mean" not in self.frame:
            return
        for part, at in self:
            if part["mean"].notna().any():
                continue
            self.fig.add_scatter(x=[None], y=[None], showlegend=False, **at)
            self.fig.add_annotation(
                text="no value",
                x=0.5,
                y=0.5,
                xref="x domain",
                yref="y domain",
                showarrow=False,
                font=dict(size=SMALL, color=MUTED),
                **at,
            )


@dataclass(frozen=True)
class GroupStyle:
    """How one group of rows is drawn in all panels of a figure, and which rows are in it."""

    where: dict[str, Any]
    name: str
    color: str
    dash: str
    symbol: str

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        for column, value in self.where.items():
            frame = frame[frame[column] == value]
        return frame


def group_styles(
    frame: pd.DataFrame, color: str | None, dash: str | None = None
) -> list[GroupStyle]:
    """A style per value of color (and dash); groups differ by dash and symbol, too, for print."""
    if color is None:
        return [GroupStyle({}, "", OKABE_ITO[0], DASHES[0], SYMBOLS[0])]
    values = values_of(frame, color)
    known = list(VALUES.get(color, {}))
    # a method has the same style in all figures
    has_fixed_order = all(value in known for value in values)
    ordered = not isinstance(values[0], str) if values else False
    styles = []
    for rank, value in enumerate(values):
        place, of = (known.index(value), len(known)) if has_fixed_order else (rank, len(values))
        shade = ORDERED[round(place * (len(ORDERED) - 1) / max(of - 1, 1))]
        line_color = shade if ordered else PALETTE[place % len(PALETTE)]
        words = value_words(color, value)
        if dash is None:
            shape = DASHES[place % len(DASHES)], SYMBOLS[place % len(SYMBOLS)]
            styles.append(GroupStyle({color: value}, words, line_color, *shape))
            continue
        for number, other in enumerate(values_of(frame, dash)):
            name = f"{words}, {value_words(dash, other)}"
            symbol = SYMBOLS[place % len(SYMBOLS)] + ("-open" if number else "")
            styles.append(
                GroupStyle({color: value, dash: other}, name, line_color, DASHES[number], symbol)
            )
    return styles


def padded_range(low: float, high: float, share: float) -> list[float]:
    """The range of an axis from low to high, with this share of it as room at either end."""
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
    return padded_range(low, high, 0.06)


def _legend_rows(names: Sequence[str], mark: int) -> int:
    """How many rows a legend of these names will take, about; mark: px of a line or symbol."""
    rows, used = 1, 0.0
    for name in names:
        wide = mark + 20 + 7.8 * len(name)
        if used + wide > WIDTH - 40 and used:
            rows, used = rows + 1, 0.0
        used += wide
    return rows
