"""Thumbnails of the points on the map: sprite sheets of up to 1,000, created when requested."""

import io
from base64 import b64encode
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app.server import run_cache, streamlit_internals

PER_SHEET, COLUMNS = 1000, 32
LARGEST_SIDE = 64  # pixels of a thumbnail
PNG_UP_TO = 16  # pixels; JPEG would blur images this small
AT_ONCE = 2  # sheets that every map has; others when the pointer first reaches their points
REQUESTED = "map.thumbnails"  # of the session: (run, number) pairs


def request(name: str, number: int) -> None:
    """Include that sheet from the next rerun on."""
    st.session_state.setdefault(REQUESTED, set()).add((name, number))


def described(name: str, n: int) -> dict[str, Any]:
    """For the component: the URL of each sheet, None if it is not created yet, and their layout.

    n: points on the map. Raises StoreError if the images are missing.
    """
    requested = st.session_state.get(REQUESTED, set())
    numbers = range(-(-n // PER_SHEET))
    included = [i < AT_ONCE or (name, i) in requested for i in numbers]
    created = run_cache.run(name).info["created"]
    height, width = run_cache.data(name).picture_shape[1:]
    return {
        "urls": [_url(name, created, i) if has else None for i, has in enumerate(included)],
        "per": PER_SHEET,
        "columns": COLUMNS,
        "side": max(height, width),
    }


def _url(name: str, created: str, number: int) -> str:
    """The URL of a sheet, valid during this session."""
    content = sheet(name, created, number)
    kind = "image/png" if content[:4] == b"\x89PNG" else "image/jpeg"
    url = streamlit_internals.media_url(content, kind, f"map-sheet-{name}-{number}")
    if url is None:
        return f"data:{kind};base64,{b64encode(content).decode()}"
    base = st.get_option("server.baseUrlPath").strip("/")
    return f"/{base}{url}" if base else url


@st.cache_data(max_entries=128, show_spinner=False)
def sheet(name: str, created: str, number: int) -> bytes:
    """JPEG or PNG of the thumbnails from number * PER_SHEET on, in the panel's order, in rows of
    COLUMNS.
    """
    panel = run_cache.run(name).labels["panel"]
    images = run_cache.pixels(name, panel[number * PER_SHEET : (number + 1) * PER_SHEET])
    n, height, width, channels = images.shape
    side = max(height, width)
    cells = np.zeros((-(-n // COLUMNS) * COLUMNS, side, side, channels), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    cells[:n, top : top + height, left : left + width] = images
    rows = cells.reshape(-1, COLUMNS, side, side, channels).swapaxes(1, 2)
    picture = Image.fromarray(rows.reshape(-1, COLUMNS * side, channels).squeeze())
    if side > LARGEST_SIDE:
        share = LARGEST_SIDE / side
        size = (COLUMNS * LARGEST_SIDE, round(picture.height * share))
        picture = picture.resize(size, Image.Resampling.BOX)
    buffer = io.BytesIO()
    if side <= PNG_UP_TO:
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.convert("RGB").save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
