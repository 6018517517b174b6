"""Pieces that two or more pages use: page head, run picker, epoch scrubber, charts, images."""

from __future__ import annotations

import functools
import html
import io
import logging
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from PIL import Image

from app import downloads, looks, plain, reading
from app.choices import bound, get, link, put
from app.runs import RunInfo, runs
from app.words import WORDS
from engine.errors import EngineError, StoreError
from engine.runs.records import epochs_file
from engine.tables import frame_csv

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

log = logging.getLogger(__name__)
SIGNS = {  # of a run's state: shape beside color
    "queued": "◷", "running": "▶", "paused": "⏸", "done": "✓", "stopped": "■", "failed": "✕",
    "interrupted": "⚠", "broken": "✕",
}  # fmt: skip
COLORS = {
    "queued": "gray", "running": "blue", "paused": "orange", "done": "green", "stopped": "gray",
    "failed": "red", "interrupted": "orange", "broken": "red",
}  # fmt: skip
PLAY_SECONDS = 0.8  # an epoch while the scrubber plays


def head(title: str, sentence: str, *words: str) -> None:
    """The head of a page: its question, what one sees and why it matters, its terms."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(title, anchor=False, width="content")
        st.space("stretch")
        if words:
            with st.popover("Words", icon=":material/help:", width="content"):
                for word in words:
                    st.markdown(f"**{word}** {WORDS[word]}")
    st.markdown(sentence)


def word(name: str) -> str:
    """The explanation of a term, for a widget's help."""
    return WORDS[name]


def explain(error: Exception) -> None:
    """Say on the page, as plain text, what went wrong; a traceback goes to the server's log."""
    said = plain.markdown(error, plain.MOST_ERROR)
    if isinstance(error, EngineError):
        st.error(said, icon=":material/error:")
        return
    log.error("a page failed", exc_info=error)
    st.error(
        f"Something went wrong here that should not: {type(error).__name__}: {said}. Your runs "
        "and choices are safe. Reload the page; if it happens again, the server's log says where.",
        icon=":material/error:",
    )


def guarded(function: Callable) -> Callable:
    """A function, such as a fragment's, whose failure becomes a box on the page."""

    @functools.wraps(function)
    def safe(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            explain(error)
            return None

    return safe


def empty(text: str, page: str = "views/train.py", label: str = "Open Train", **changes) -> None:
    """Nothing to show yet: say what to do next, with a link; the page ends here."""
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown(text)
        st.page_link(
            page, label=label, icon=":material/arrow_forward:", query_params=link(**changes)
        )
    st.stop()


def state_badge(where: RunInfo) -> None:
    """A run's state as a small badge: sign, word and color."""
    text = f"{SIGNS[where.state]} {where.state}"
    if where.state == "queued":
        text += f", number {where.position}"
    st.badge(text, color=COLORS[where.state], width="content")


def chosen_run() -> str | None:
    """The chosen run where it exists, else the newest one; None where there is none."""
    names = runs().names()
    chosen = get("run")
    if chosen is not None and chosen not in names:
        instead = ": showing the newest one instead" if names else ""
        st.error(f"run = {plain.markdown(repr(chosen))} is not on this server{instead}.")
        chosen = None
    if chosen is None and names:
        chosen = names[0]
    return chosen


def pick_run(*, with_epochs: bool = True) -> str:
    """A picker of runs; the page stops with an empty state where there is nothing to show."""
    chosen = chosen_run()
    if chosen is None:
        empty("There is no run yet. One click on **Train** starts one; it takes seconds.")
    if get("run") != chosen:
        put(run=chosen)
    where = runs().info(chosen)
    with st.container(horizontal=True, vertical_alignment="center", key="run-picker"):
        # the options bear no state: an option that changes its text loses the choice
        st.selectbox("Run", runs().names(), label_visibility="collapsed", **bound("run"))
        state_badge(where)
    if where.state == "broken":
        st.error(f"{plain.lines(where.message)}. Choose another run, or delete this folder.")
        st.stop()
    if with_epochs:
        need_epochs(where)
    return chosen


def need_epochs(where: RunInfo) -> None:
    """Stop the page where a run has no epoch to show yet; come back by itself when it has."""
    if epochs_file(runs().folder(where.name)).exists() and reading.records(where.name):
        return
    if where.state == "failed":
        st.error(f"This run failed before its first epoch: {plain.lines(where.message)}")
        st.stop()
    if not where.active:
        empty("This run ended before its first epoch. Resume it on **Train**, or choose another.")
    st.info("The first epoch is under way; this page fills itself in a moment.")
    runs().mark_watched(where.name)

    def changed() -> str | None:
        runs().mark_watched(where.name)
        there = epochs_file(runs().folder(where.name)).exists() and reading.records(where.name)
        return None if not there and runs().info(where.name).active else "app"

    looks.keep_looking("wait-epoch", changed, every=1.0)
    st.stop()


def scrub(*names: str, follow: bool = True) -> int:
    """An epoch scrubber: step, play, slide, by Left, Right and Space; returns the row chosen.

    Of several runs it goes over the epochs of all: see `reading.row`. follow: draw the page anew
    when a live run has a new epoch.
    """
    epochs = reading.epochs(*names)
    row = reading.row(*names)
    live = any(runs().info(name).active for name in names)
    playing = st.session_state.get("playing", False)

    def step(by: int) -> None:
        st.session_state["playing"] = False
        go_to(reading.row(*names) + by)

    def go_to(row: int) -> None:
        epochs = reading.epochs(*names)  # there may be more than when the button was drawn
        newest = row >= len(epochs) - 1
        put(epoch=None if newest and live else epochs[min(max(row, 0), len(epochs) - 1)])

    def play() -> None:
        st.session_state["playing"] = not playing
        if not playing and row >= len(epochs) - 1:
            go_to(0)

    with st.container(horizontal=True, vertical_alignment="bottom", key="scrubber"):
        st.button(
            "", icon=":material/chevron_left:", help="One epoch back", key="epoch-back",
            on_click=step, args=(-1,), shortcut="Left", disabled=row == 0,
        )  # fmt: skip
        st.button(
            "", icon=":material/pause:" if playing else ":material/play_arrow:", key="epoch-play",
            help="Play the epochs", on_click=play, shortcut="Space",
        )  # fmt: skip
        st.button(
            "", icon=":material/chevron_right:", help="One epoch on", key="epoch-on",
            on_click=step, args=(1,), shortcut="Right", disabled=row >= len(epochs) - 1,
        )  # fmt: skip
        if len(epochs) > 1:
            slider = bound("epoch", epochs[row], instead=True)  # the chosen one may not be there
            st.select_slider("Epoch", epochs, label_visibility="collapsed", **slider)
        newest = " (newest)" if row == len(epochs) - 1 else ""
        st.markdown(f"Epoch **{epochs[row]}** of {epochs[-1]}{newest}", width="content")
    if playing or (follow and live and get("epoch") is None):
        _advance(names, [len(reading.records(name)) for name in names], playing)
    return row


def _advance(names: Sequence[str], n_epochs: list[int], playing: bool) -> None:
    """Go on by itself: while it plays, or when a live run has a new epoch."""

    def follow() -> str | None:
        for name in names:
            runs().mark_watched(name)
        now = [len(reading.records(name)) for name in names]
        live = any(runs().info(name).active for name in names)
        return None if now == n_epochs and live else "app"

    def play() -> str:
        epochs, row = reading.epochs(*names), reading.row(*names) + 1
        if row >= len(epochs) - 1:
            st.session_state["playing"] = False
        put(epoch=epochs[min(row, len(epochs) - 1)])
        return "app"

    if playing:
        looks.keep_looking("play", play, every=PLAY_SECONDS)
    else:
        looks.keep_looking("follow", follow, every=1.0)


def show(
    fig: go.Figure, name: str, *, alt: str, data: pd.DataFrame | Callable | None = None, **options
) -> Any:
    """A chart with its picture (PNG, in its tool bar) and its numbers (CSV, below).

    name: of the files. data: its numbers, or a function that makes them; by default the figure's
    own points. options: of st.plotly_chart; returns what that returns.
    """
    config = {
        "displaylogo": False, "displayModeBar": True,
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
        "modeBarButtonsToRemove": ["autoScale2d", "zoomIn2d", "zoomOut2d"],
    }  # fmt: skip
    options = {"key": f"chart-{name}", "alt": alt, "config": config} | options
    chosen = st.plotly_chart(fig, **options)
    save_csv(name, data if data is not None else lambda: points(fig))
    return chosen


def save_csv(name: str, data: pd.DataFrame | Callable[[], pd.DataFrame]) -> None:
    """A small button that saves numbers as CSV, made when it is clicked."""

    def text() -> str:
        return frame_csv(data() if callable(data) else data)

    downloads.button(
        "CSV", text, f"{name}.csv", mime="text/csv", type="tertiary", key=f"csv-{name}",
        help="Save the numbers of this picture",
    )  # fmt: skip


def points(fig: go.Figure) -> pd.DataFrame:
    """The points of a figure as a long table: trace, x, y (and z)."""
    import pandas as pd  # late: pages without a figure need none

    tables = []
    for number, trace in enumerate(fig.data):
        values = {axis: getattr(trace, axis, None) for axis in ("x", "y", "z")}
        if trace.type in ("heatmap", "sankey"):
            tables.append(_table(trace, values))
            continue
        columns = {a: np.asarray(v).ravel() for a, v in values.items() if v is not None}
        tables.append(pd.DataFrame({"trace": trace.name or f"trace {number}"} | columns))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table.map(lambda cell: html.unescape(cell) if isinstance(cell, str) else cell)


def _table(trace: Any, values: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    if trace.type == "sankey":
        names, flow = list(trace.node.label), trace.link
        return pd.DataFrame(
            {
                "from": [names[i] for i in flow.source],
                "to": [names[i] for i in flow.target],
                "value": list(flow.value),
            }
        )
    z = np.asarray(values["z"])
    x = range(z.shape[1]) if values["x"] is None else values["x"]
    y = range(z.shape[0]) if values["y"] is None else values["y"]
    cells = [(row, column, z[i, j]) for i, row in enumerate(y) for j, column in enumerate(x)]
    return pd.DataFrame(cells, columns=["row", "column", "value"])


def picture(image: np.ndarray, caption: str = "", *, size: int = 160, alt: str = "") -> None:
    """One image (H, W, C) uint8, or float in [0, 255], enlarged without smoothing."""
    wall([image], [caption], size=size, alts=[alt or caption])


def wall(
    images: Sequence[np.ndarray] | np.ndarray, captions: Sequence[str], *, size: int = 64,
    marks: Sequence[str] | None = None, alts: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """Small images side by side, each (H, W, C) with C 1 or 3, captions below as plain text.

    marks: a color (CSS) of each frame, "" for none. size: side in pixels.
    """
    cells = []
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        color = marks[number] if marks else ""
        frame = f"outline:3px solid {color};" if color else ""
        alt = plain.html(alts[number] if alts else caption)
        lines = "<br>".join(plain.html(line) for line in caption.split("\n"))
        cells.append(
            f'<figure style="margin:0;width:{size}px"><img src="{data_url(image)}" alt="{alt}" '
            f'style="width:{size}px;height:{size}px;object-fit:contain;image-rendering:pixelated;'
            f'border-radius:4px;{frame}"><figcaption style="font-size:13px;line-height:1.25;'
            f'padding-top:5px;text-align:center;overflow-wrap:anywhere">{lines}</figcaption></figure>'
        )
    st.html(
        f'<div style="display:flex;flex-wrap:wrap;gap:12px 10px;padding:4px">{"".join(cells)}</div>'
    )


def linked_wall(
    name: str, samples: Sequence[int] | np.ndarray, captions: Sequence[str], *, size: int = 72,
    marks: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """Training images of a run, each with a link to its page; the links alone if images are gone.

    captions: plain text below each; the link bears the sample's number.
    """
    try:
        images = reading.pixels(name, samples)
    except StoreError as error:
        st.caption(f"Without pictures: {plain.lines(error)}")
        images = None
    with st.container(horizontal=True, gap="small"):
        for place, (index, caption) in enumerate(zip(samples, captions, strict=True)):
            with st.container(width=size + 28, gap=None, horizontal_alignment="center"):
                if images is None:
                    st.text(caption)
                else:
                    wall(
                        [images[place]], [caption], size=size + 8,
                        marks=None if marks is None else [marks[place]],
                    )  # fmt: skip
                st.page_link(
                    "views/sample.py", label=f"#{index}", query_params=link(sample=int(index))
                )


def data_url(image: np.ndarray) -> str:
    """An image (H, W, C) as the text of a PNG for HTML."""
    array = np.clip(np.rint(np.asarray(image)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(buffer, "PNG")
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode()


def minutes(seconds: float | None) -> str:
    """A duration in words: "40 s", "3 min", "2 h 5 min"; a dash where it is not known."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def time_left(seconds: float | None) -> str:
    """The end of a sentence: ", about 3 min left"; nothing where it is not known."""
    return "" if seconds is None else f", about {minutes(seconds)} left"


def percent(share: float | None, digits: int = 1) -> str:
    """A share as "97.7 %", a dash where there is nothing to count."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"
