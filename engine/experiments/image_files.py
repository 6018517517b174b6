"""Figures as files: PNG by kaleido and a browser, otherwise HTML."""

import asyncio
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

WIDTH, SCALE = 1000, 1.5  # of a PNG
N_COLORS = 255  # of a PNG: a third of the bytes, no visible difference
MOST_BYTES = 150_000  # a larger PNG is scaled down
TIMEOUT = 90.0  # seconds that a browser may take for one image


def save(figures: Mapping[str, "go.Figure"], folder: Path, stem: str) -> tuple[list[Path], str]:
    """Write each figure as folder/stem-name.png, or as HTML without a browser.

    Returns the files, and why they are no PNG ("" if they are). The HTML files share one copy of
    plotly's script, in the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        images = _render(figures.values())
    except Exception as error:  # no kaleido, no browser, one that hangs: the tables are written
        paths = [folder / f"{stem}-{name}.html" for name in figures]
        for path, figure in zip(paths, figures.values(), strict=True):
            figure.write_html(path, include_plotlyjs="directory")
        why = str(error).strip().splitlines() or [type(error).__name__]
        return paths, f"wrote HTML instead of PNG: kaleido found no Chrome or Chromium ({why[0]})"
    paths = [folder / f"{stem}-{name}.png" for name in figures]
    for path, png in zip(paths, images, strict=True):
        path.write_bytes(png)
    return paths, ""


def _render(figures: Iterable["go.Figure"]) -> list[bytes]:
    """PNGs on white, all by one browser. Raises the error of a browser that does not respond."""
    with ThreadPoolExecutor(1) as pool:  # a thread of its own: a notebook has an event loop
        return pool.submit(lambda: asyncio.run(_render_all(list(figures)))).result()


async def _render_all(figures: list["go.Figure"]) -> list[bytes]:
    from kaleido import Kaleido

    images = []
    # mathjax=False: it would be downloaded
    async with Kaleido(n=1, mathjax=False, timeout=TIMEOUT) as browser:
        for figure in figures:
            content: dict[str, Any] = figure.to_dict()
            content["layout"] |= dict(paper_bgcolor="white", plot_bgcolor="white")
            height = content["layout"].get("height", 450)
            opts = dict(format="png", width=WIDTH, height=height, scale=SCALE)
            images.append(_compressed(await browser.calc_fig(content, opts=opts)))
    return images


def _compressed(png: bytes) -> bytes:
    """The image with N_COLORS colors, scaled down until it has at most MOST_BYTES."""
    from PIL import Image

    from engine.data.images import open_image

    with open_image(io.BytesIO(png)) as image:
        rgb = image.convert("RGB")
    for scale in (1, 1.2, 1.5):
        file = io.BytesIO()
        size = (round(rgb.width / scale), round(rgb.height / scale))
        small = rgb.resize(size, Image.Resampling.LANCZOS)
        small.quantize(N_COLORS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if file.tell() <= MOST_BYTES:
            break
    return file.getvalue()
