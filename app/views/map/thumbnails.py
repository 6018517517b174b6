"""Pictures of the points for the map: sheets of up to 1,000, made and sent when they are wanted."""

import io
from base64 import b64encode

import numpy as np
import streamlit as st
from PIL import Image

from app.server import run_cache, streamlit_internals

PER_SHEET, COLUMNS = 1000, 32
LARGEST_SIDE = 64  # pixels of a picture on a sheet
SHARP_UP_TO = 16  # pixels: below, JPEG would blur what little there is
AT_ONCE = 2  # sheets that every map has; others are made when the pointer first comes there
WANTED = "map.sheets"  # of the session: (run, number) pairs


def want(name: str, number: int) -> None:
    """Make that sheet too the next time."""
    st.session_state.setdefault(WANTED, set()).add((name, number))


def described(name: str, n: int) -> dict:
    """For the component: the addresses of the sheets that are there, and how to read them."""
    wanted = st.session_state.get(WANTED, set())
    numbers = range(-(-n // PER_SHEET))
    made = [i < AT_ONCE or (name, i) in wanted for i in numbers]
    created = run_cache.run(name).info["created"]
    height, width = run_cache.data(name).shape[1:]
    return {
        "urls": [_address(name, created, i) if here else None for i, here in enumerate(made)],
        "per": PER_SHEET,
        "columns": COLUMNS,
        "side": max(height, width),
    }


def _address(name: str, created: str, number: int) -> str:
    """Where the browser finds the sheet, while this session is there."""
    content = sheet(name, created, number)
    kind = "image/png" if content[:4] == b"\x89PNG" else "image/jpeg"
    url = streamlit_internals.media_url(content, kind, f"map-sheet-{name}-{number}")
    if url is None:
        return f"data:{kind};base64,{b64encode(content).decode()}"
    base = st.get_option("server.baseUrlPath").strip("/")
    return f"/{base}{url}" if base else url


@st.cache_data(max_entries=128, show_spinner=False)
def sheet(name: str, created: str, number: int) -> bytes:
    """The pictures number * PER_SHEET and on, in the order of the panel, in rows of COLUMNS."""
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
    if side <= SHARP_UP_TO:
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.convert("RGB").save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
