"""Colors, fonts and layout that all charts share, in the app, notebooks and experiments."""

from typing import NamedTuple

import plotly.graph_objects as go

from engine.analysis.label_outcomes import LabelOutcome

# Okabe and Ito 2008: distinct with every kind of color vision; without black, for dark pages
OKABE_ITO = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#7F7F7F",
)  # fmt: skip
CLEAN, WRONG = "#0072B2", "#D55E00"  # labels that are right, and wrong
HIGHLIGHT = "#E69F00"
MUTED = "#8A94A0"  # legible on white and on dark
SEQUENTIAL = "Viridis"  # values; Cividis where two such scales meet
MORE_CLASSES = ("#882255", "#999933", "#AA4499", "#44AA99", "#117733", "#332288")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "x", "hexagon")
METHODS = {  # titles, in the order that gives them their colors
    "mixnn": "MixNN", "ce": "cross-entropy", "mixnn-no-correction": "MixNN, no correction",
    "selc": "SELC", "elr": "ELR", "mixup": "mixup", "gce": "GCE", "sce": "SCE",
    "mixnn-elr": "MixNN, ELR's loss", "mixnn-plus": "MixNN+", "ssr": "SSR",
}  # fmt: skip
GRID = dict(gridcolor="rgba(128,128,128,0.22)", zerolinecolor="rgba(128,128,128,0.35)")
# with gaps so short that no peak falls into one
DASHES = ("solid", "6px,3px", "2px,3px", "8px,3px,2px,3px", "12px,3px")


class OutcomeStyle(NamedTuple):
    """How a label outcome is drawn: its color, and shapes for people with color blindness."""

    color: str
    pattern: str  # of bars
    dash: str  # of lines
    symbol: str  # of points
    mark: str  # in texts


OUTCOMES: dict[LabelOutcome, OutcomeStyle] = {
    LabelOutcome.CLEAN: OutcomeStyle(CLEAN, "", "solid", "circle", "●"),
    LabelOutcome.CORRECTED: OutcomeStyle("#009E73", "/", "dash", "square", "✓"),
    LabelOutcome.MISSED: OutcomeStyle("#E69F00", ".", "dot", "diamond", "○"),
    LabelOutcome.HARMED: OutcomeStyle(WRONG, "x", "dashdot", "x", "✕"),
    LabelOutcome.KEPT: OutcomeStyle(MUTED, "", "solid", "circle", "●"),
    LabelOutcome.CHANGED: OutcomeStyle("#B07AE0", "-", "longdash", "triangle-up", "→"),
}


def class_color(number: int) -> str:
    """The color of a class; colors repeat after fourteen, so show a shape or name with them."""
    colors = OKABE_ITO + MORE_CLASSES
    return colors[number % len(colors)]


def figure(*, height: int = 340, x: str = "", y: str = "", **layout) -> go.Figure:
    """An empty figure with the shared layout; x, y: axis titles. It suits light and dark themes.

    For panels, call `set_subplots` on it and give the new axes GRID: copying its layout to another
    figure takes a quarter of a second, because of the template within it.
    """
    shared = dict(  # all at once: updating a figure afterwards takes eight times as long
        height=height,
        margin=dict(l=56, r=16, t=36 if layout.get("title") else 16, b=48),
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font=dict(size=14),
        colorway=OKABE_ITO,
        hoverlabel=dict(font_size=14),
        modebar=dict(bgcolor="rgba(0,0,0,0)", color=MUTED, activecolor=CLEAN),
        legend=dict(orientation="h", yanchor="bottom", y=1.0, x=0, title_text=""),
        xaxis=dict(title_text=x, **GRID),
        yaxis=dict(title_text=y, **GRID),
    )
    return go.Figure(layout=shared).update_layout(**layout)


def enlarge(fig: go.Figure, by: float, height: float) -> None:
    """Enlarge texts, margins, lines and markers of a figure, for a projector.

    height: of the figure, in pixels; its width is free. The upper margin grows less: there is no
    toolbar in it.
    """
    layout = fig.layout
    size = by * layout.font.size
    margin = {side: by * (layout.margin[side] or 0) for side in "lrtb"}
    fig.update_layout(  # Streamlit's theme sets every size that is not explicit
        height=height,
        font_size=size,
        legend_font_size=size,
        margin=margin | {"t": 0.6 * margin["t"]},
        annotations=[
            note.update(font_size=by * (note.font.size or layout.font.size))
            for note in layout.annotations
        ],
    )
    fig.update_xaxes(tickfont_size=size, title_font_size=size)
    fig.update_yaxes(tickfont_size=size, title_font_size=size)
    fig.update_traces(textfont_size=size, constraintext="none", selector=dict(type="bar"))
    for trace in fig.select_traces(dict(type="scatter")):
        trace.update(
            line_width=by * (trace.line.width or 2), marker_size=by * (trace.marker.size or 6)
        )


def stripes(shape: str) -> dict:
    """White hatching over a bar's color, so that bars differ by more than color."""
    return dict(shape=shape, fillmode="overlay", fgcolor="white", fgopacity=0.9, size=6)


def epoch_line(fig: go.Figure, epoch: float, text: str, color: str = MUTED) -> None:
    """A dashed vertical line with a few words at an epoch."""
    fig.add_vline(
        epoch,
        line=dict(color=color, width=1.5, dash="dash"),
        annotation_text=text,
        annotation_position="top",
        annotation_font=dict(size=12, color=color),
    )
