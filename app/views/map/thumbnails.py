"""Thumbnails of the points on the map: sprite sheets of up to 1,000, created when requested."""

from typing import Any

import streamlit as st

from app.components import images
from app.server import run_cache

PER_SHEET, COLUMNS = 1000, 32
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
    return images.hosted(content, images.kind_of(content), f"map-sheet-{name}-{number}")


@st.cache_data(max_entries=128, show_spinner=False)
def sheet(name: str, created: str, number: int) -> bytes:
    """JPEG or PNG of the thumbnails from number * PER_SHEET on, in the panel's order, in rows of
    COLUMNS.
    """
    panel = run_cache.run(name).labels["panel"]
    chosen = panel[number * PER_SHEET : (number + 1) * PER_SHEET]
    return images.sprite_sheet(run_cache.pixels(name, chosen), COLUMNS)
