"""Images on a page: enlarged, in a grid, each with a link to its sample."""

import io
from base64 import b64encode
from collections.abc import Sequence

import numpy as np
import streamlit as st
from PIL import Image

from app.server import escaping, run_cache, streamlit_internals
from app.state.url_state import link
from engine.runs.folder import StoreError

SMALL = 64  # pixels of a side
LARGEST_SIDE = 64  # pixels of a thumbnail in a sprite sheet
PNG_UP_TO = 16  # pixels; JPEG would blur images this small
_smooth = st.components.v2.component(
    "mixnn.smooth",
    html='<label><input type="checkbox"> Smooth images</label>',
    css="""label { display: inline-flex; gap: 0.5rem; align-items: center; cursor: pointer;
      font: 0.875rem var(--st-font); color: var(--st-text-color); white-space: nowrap; }
      input { width: 1rem; height: 1rem; accent-color: var(--st-primary-color); }""",
    js="""
export default function ({ parentElement }) {
  const box = parentElement.querySelector("input"), page = document.documentElement;
  box.checked = page.classList.contains("smooth-images");
  box.onchange = () => {
    page.classList.toggle("smooth-images", box.checked);
    localStorage.setItem("mixnn.smooth", box.checked ? "1" : "0");
  };
}
""",
)


def smooth_toggle(key: str) -> None:
    """A choice of the browser, remembered for all pages: pixels of images blend or are squares.

    key: unique on the page.
    """
    _smooth(key=f"smooth-{key}")


def picture(image: np.ndarray, caption: str = "", *, size: int = 160, alt: str = "") -> None:
    """One image (H, W, C) uint8, or float in [0, 255], enlarged, see `smooth_toggle`.

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
            f'<figure style="margin:0;width:{size}px"><img{pixels(image)} src="{data_url(image)}" '
            f'alt="{alt}" style="width:{size}px;height:{size}px;object-fit:contain;'
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
    are missing. One on a page; on a phone one row that scrolls.

    captions: plain text below each image; the link shows the sample's number.
    """
    try:
        images = run_cache.pixels(name, samples)
    except StoreError as error:
        st.caption(f"No images: {escaping.lines(error)}")
        images = None
    with st.container(horizontal=True, gap="small", key="linked-wall"):
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


def pixels(image: np.ndarray) -> str:
    """The class attribute of an image (H, W, C): small ones show their pixels, see style.css."""
    return ' class="pixels"' if max(image.shape[:2]) <= SMALL else ""


def data_url(image: np.ndarray) -> str:
    """An image (H, W, C), C 1 or 3, values in [0, 255], as a PNG in a data URL."""
    array = np.clip(np.rint(np.asarray(image)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(buffer, "PNG")
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode()


def sprite_sheet(images: np.ndarray, columns: int) -> bytes:
    """JPEG or PNG of the thumbnails of images (n, H, W, C) uint8, in rows of `columns` squares.

    The square of an image is as large as its longer side, and LARGEST_SIDE at most.
    """
    n, height, width, channels = images.shape
    side = max(height, width)
    cells = np.zeros((-(-n // columns) * columns, side, side, channels), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    cells[:n, top : top + height, left : left + width] = images
    rows = cells.reshape(-1, columns, side, side, channels).swapaxes(1, 2)
    picture = Image.fromarray(rows.reshape(-1, columns * side, channels).squeeze())
    if side > LARGEST_SIDE:
        share = LARGEST_SIDE / side
        size = (columns * LARGEST_SIDE, round(picture.height * share))
        picture = picture.resize(size, Image.Resampling.BOX)
    buffer = io.BytesIO()
    if side <= PNG_UP_TO:
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.convert("RGB").save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def kind_of(content: bytes) -> str:
    """The media type of what `sprite_sheet` returns."""
    return "image/png" if content[:4] == b"\x89PNG" else "image/jpeg"


def hosted(content: bytes, kind: str, name: str) -> str:
    """A URL of content with a media type, valid during this session. name: unique in the app."""
    url = streamlit_internals.media_url(content, kind, name)
    if url is None:
        return f"data:{kind};base64,{b64encode(content).decode()}"
    base = st.get_option("server.baseUrlPath").strip("/")
    return f"/{base}{url}" if base else url
