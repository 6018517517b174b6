"""The embedding map: a scatter plot on a canvas, fluid at 50,000 points.

Streamlit mounts a Plotly figure again whenever its data change, which loses zoom and lasso. This
component (the .js files here) updates positions and colors in place.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

import engine.reports
from app.components import packed_arrays
from app.components.scatter.coloring import Coloring, Labels

HERE = Path(__file__).resolve().parent
PLAYER = Path(engine.reports.__file__).resolve().parent / "player"
# one module in the browser: later files use what earlier ones define; two are the player's
SCRIPTS = (
    HERE / "payload.js", PLAYER / "view.js", PLAYER / "raster.js", HERE / "images.js",
    HERE / "paint.js", HERE / "overlay.js", HERE / "gestures.js", HERE / "scatter.js",
)  # fmt: skip
WRONG, SELECTED = 1, 2  # bits of the flags, as in scatter.js
REVISION = "map.revision"  # of the session: of the last lasso received from the browser

_mount = st.components.v2.component(
    "mixnn.map",
    html=(HERE / "scatter.html").read_text(),
    css=(HERE / "scatter.css").read_text(),
    js="\n".join(re.sub(r"^export (?!default)", "", p.read_text(), flags=re.M) for p in SCRIPTS),
)


@dataclass(frozen=True, eq=False)
class Picture:
    """Everything that the map shows at one time; P points."""

    points: str  # identifies the points and their order
    view: str  # identifies the view: zoom and position are kept under this name
    layout_name: str  # identifies the layout: when it changes, the points move
    ids: np.ndarray  # (P,) data set indices
    layout: np.ndarray  # (P, 2)
    box: np.ndarray  # (2, 2), minimum and maximum of x and y over all epochs
    labels: Labels
    coloring: Coloring
    selected: np.ndarray  # (P,) bool, the lasso
    sample: int = -1  # position of the selected sample among the points, -1: none
    links: tuple[tuple[int, float], ...] = ()  # positions of its neighbors, and their weights
    thumbnails: dict[str, Any] | None = None  # see app.views.map.thumbnails; None: no images
    note: str = ""  # text in the corner
    alt: str = ""  # alternative text
    file: str = "map"  # name of the saved image, without .png


def scatter(
    picture: Picture,
    *,
    key: str,
    pick: Callable[[int], None],
    lasso: Callable[[np.ndarray], None],
    request_thumbnails: Callable[[int], None],
) -> None:
    """Show the map.

    Called before the page reruns: pick(id) after a click on a point, lasso(ids) after a selection
    was drawn or cleared, request_thumbnails(number) when that sprite sheet is missing.
    """

    def on(event: str, call: Callable[[Any], None]) -> Callable[[], None]:
        def on_change() -> None:
            value = st.session_state[key].get(event)
            if value is not None:
                call(value)

        return on_change

    def on_lasso(value: dict[str, Any]) -> None:
        if value["n"] == len(picture.ids):
            st.session_state[REVISION] = value["revision"]
            lasso(picture.ids[from_bits(value["bits"], value["n"])])

    _mount(
        key=key,
        data=packed(picture, st.session_state.get(REVISION, 0)),
        on_pick_change=on("pick", lambda value: pick(int(value["id"]))),
        on_lasso_change=on("lasso", on_lasso),
        on_thumbnails_change=on("thumbnails", lambda value: request_thumbnails(int(value))),
    )


def from_bits(text: str, n: int) -> np.ndarray:
    """(n,) bool from base64 of one bit each, lowest first."""
    raw = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(raw, count=n, bitorder="little").astype(bool)


def packed(picture: Picture, revision: int) -> bytes:
    """The bytes that payload.js unpacks: u32 length of a JSON header | header | arrays, each padded
    to 8 bytes.

    revision: of the last lasso received from the browser, 0 for none.
    """
    labels, coloring = picture.labels, picture.coloring
    low, size = picture.box[0], np.maximum(picture.box[1] - picture.box[0], 1e-6)
    flags = SELECTED * picture.selected
    if coloring.cross is not None:
        flags = flags + WRONG * coloring.cross
    xy = np.clip(np.rint((picture.layout - low) / size.max() * 65535), 0, 65535)
    arrays = {
        "xy": xy.astype(np.uint16),
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
    header = {
        "revision": revision,
        "layout": picture.layout_name,
        "box": [*low.tolist(), *size.tolist()],
        "classes": labels.classes,
        "palette": coloring.palette,
        "legend": coloring.legend,
    }
    same = ("points", "view", "sample", "links", "thumbnails", "note", "alt", "file")
    header |= {name: getattr(picture, name) for name in same}
    return packed_arrays.packed(header, arrays)
