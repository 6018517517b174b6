"""Images on a page: enlarged, in a grid, each with a link to its sample."""

import io
from base64 import b64encode
from collections.abc import Sequence

import numpy as np
import streamlit as st
from PIL import Image

from app.server import escaping, run_cache
from app.state.url_state import link
from engine.runs.folder import StoreError

SMALL = 64  # pixels of a side


def picture(image: np.ndarray, caption: str = "", *, size: int = 160, alt: str = "") -> None:
    """One image (H, W, C) uint8, or float in [0, 255], enlarged without smoothing.

    size: side in pixels. alt: alternative text, by default the caption.
    """
    wall([image], [caption], size=size, alts=[alt or caption])


def wall(
    images: Sequence[np.ndarray] | np.ndarray,
    captions: Sequence[str],
    *,
    size: int = 64,
    marks: Sequence[str] | None = None,
    alts: Sequence[str] | None = None,
) -> None:
    """A grid of small images, each (H, W, C) with C 1 or 3, with plain-text captions below.

    size: side in pixels. marks: the CSS color of each frame, "" for none. alts: alternative texts,
    by default the captions.
    """
    cells = []
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        color = marks[number] if marks else ""
        frame = f"outline:3px solid {color};" if color else ""
        alt = escaping.html(alts[number] if alts else caption)
        lines = "<br>".join(escaping.html(line) for line in caption.split("\n"))
        cells.append(
            f'<figure style="margin:0;width:{size}px"><img src="{data_url(image)}" alt="{alt}" '
            f'style="width:{size}px;height:{size}px;object-fit:contain;image-rendering:{rendering(image)};'
            f'border-radius:4px;{frame}"><figcaption style="font-size:13px;line-height:1.25;'
            f'padding-top:5px;text-align:center;overflow-wrap:anywhere">{lines}</figcaption></figure>'
        )
    st.html(
        f'<div style="display:flex;flex-wrap:wrap;gap:12px 10px;padding:4px">{"".join(cells)}</div>'
    )


def linked_wall(
    name: str,
    samples: list[int] | np.ndarray,
    captions: Sequence[str],
    *,
    size: int = 72,
    marks: Sequence[str] | None = None,
) -> None:
    """Training images of a run, each with a link to its Sample page; only the links if the images
    are missing.

    captions: plain text below each image; the link shows the sample's number.
    """
    try:
        images = run_cache.pixels(name, samples)
    except StoreError as error:
        st.caption(f"No images: {escaping.lines(error)}")
        images = None
    with st.container(horizontal=True, gap="small"):
        for place, (index, caption) in enumerate(zip(samples, captions, strict=True)):
            with st.container(width=size + 28, gap=None, horizontal_alignment="center"):
                if images is None:
                    st.text(caption)
                else:
                    wall(
                        [images[place]],
                        [caption],
                        size=size + 8,
                        marks=None if marks is None else [marks[place]],
                    )
                st.page_link(
                    "views/sample/page.py", label=f"#{index}", query_params=link(sample=int(index))
                )


def rendering(image: np.ndarray) -> str:
    """The CSS image-rendering of an image (H, W, C): small ones show their pixels."""
    return "pixelated" if max(image.shape[:2]) <= SMALL else "auto"


def data_url(image: np.ndarray) -> str:
    """An image (H, W, C), C 1 or 3, values in [0, 255], as a PNG in a data URL."""
    array = np.clip(np.rint(np.asarray(image)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(buffer, "PNG")
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode()
