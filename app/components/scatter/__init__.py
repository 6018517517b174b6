"""The embedding map: a scatter of its own that stays fluid at 50,000 points and keeps its view.

A figure of plotly is mounted anew whenever its data change, and loses zoom and lasso; this one is
a canvas in a component (the .js files here) that takes new places and colors as they come.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app.components.scatter.coloring import Coloring, Labels

HERE = Path(__file__).resolve().parent
# one module in the browser: later files use what earlier ones define
SCRIPTS = ("payload", "view", "raster", "paint", "around", "gestures", "scatter")
WRONG, SELECTED = 1, 2  # bits of the flags, as in scatter.js
HEARD = "map.heard"  # of the session: revision of the last lasso that came from the browser

_mount = st.components.v2.component(
    "mixnn.map",
    html=(HERE / "scatter.html").read_text(),
    css=(HERE / "scatter.css").read_text(),
    js="\n".join((HERE / f"{script}.js").read_text() for script in SCRIPTS),
)


@dataclass(frozen=True, eq=False)
class Picture:
    """All that the map shows at one time; P points."""

    points: str  # name of the set of points: the same points in the same order
    view: str  # name of the view: zoom and place are kept under it
    place: str  # name of the layout: when it changes, points move
    ids: np.ndarray  # (P,) data set indices
    layout: np.ndarray  # (P, 2)
    box: np.ndarray  # (2, 2) least and largest x and y over all epochs
    labels: Labels
    coloring: Coloring
    selected: np.ndarray  # (P,) bool, the lasso
    sample: int = -1  # position of the chosen sample among the points, -1: none
    links: tuple[tuple[int, float], ...] = ()  # positions of its neighbors, and their weights
    sheets: dict[str, Any] | None = None  # see app.views.map.thumbnails; None: no pictures
    note: str = ""  # a few words in the corner
    alt: str = ""
    file: str = "map"  # name of the saved picture


def scatter(
    picture: Picture,
    *,
    key: str,
    pick: Callable[[int], None],
    lasso: Callable[[np.ndarray], None],
    want: Callable[[int], None],
) -> None:
    """Show the map. Called before the page runs again: pick(id) when a point is chosen,
    lasso(ids) when a selection is drawn or cleared, want(number) when a sheet is needed.
    """

    def take(event: str, then: Callable[[Any], None]) -> Callable[[], None]:
        def on_change() -> None:
            told = st.session_state[key].get(event)
            if told is not None:
                then(told)

        return on_change

    def take_lasso(told: dict[str, Any]) -> None:
        if told["n"] == len(picture.ids):
            st.session_state[HEARD] = told["heard"]
            lasso(picture.ids[from_bits(told["bits"], told["n"])])

    _mount(
        key=key,
        data=packed(picture, st.session_state.get(HEARD, 0)),
        on_pick_change=take("pick", lambda told: pick(int(told["id"]))),
        on_lasso_change=take("lasso", take_lasso),
        on_sheet_change=take("sheet", lambda told: want(int(told))),
    )


def from_bits(text: str, n: int) -> np.ndarray:
    """(n,) bool from base64 of a bit each, lowest first."""
    raw = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(raw, count=n, bitorder="little").astype(bool)


def packed(picture: Picture, heard: int) -> bytes:
    """What payload.js unpacks: u32 length of a JSON header | header | arrays of whole 8 bytes."""
    labels, coloring = picture.labels, picture.coloring
    low, wide = picture.box[0], np.maximum(picture.box[1] - picture.box[0], 1e-6)
    flags = SELECTED * picture.selected
    if coloring.cross is not None:
        flags = flags + WRONG * coloring.cross
    arrays = {
        "xy": np.clip(np.rint((picture.layout - low) / wide.max() * 65535), 0, 65535).astype(
            np.uint16
        ),
        "ids": picture.ids.astype(np.int32),
        "color": coloring.color,
        "flags": flags.astype(np.uint8),
        "given": labels.given.astype(np.int16),
        "corrected": labels.corrected.astype(np.int16),
        "clean": labels.clean.astype(np.float32),
        "loss": labels.loss.astype(np.float32),
    }
    if labels.true is not None:
        arrays["true"] = labels.true.astype(np.int16)
    table, parts, offset = {}, [], 0
    for name, array in arrays.items():
        table[name] = (str(array.dtype), offset, array.size)
        parts.append(array.tobytes().ljust(-(-array.nbytes // 8) * 8, b"\0"))
        offset += len(parts[-1])
    header = {
        "arrays": table, "heard": heard, "points": picture.points, "view": picture.view,
        "place": picture.place, "box": [*low.tolist(), *wide.tolist()],
        "classes": labels.classes, "palette": coloring.palette, "legend": coloring.legend,
        "sample": picture.sample, "links": picture.links, "sheets": picture.sheets,
        "note": picture.note, "alt": picture.alt, "file": picture.file,
    }  # fmt: skip
    text = json.dumps(header).encode()
    text = text.ljust(len(text) + -(4 + len(text)) % 8)
    return b"".join([len(text).to_bytes(4, "little"), text, *parts])
