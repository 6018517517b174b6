"""Small images side by side with a few words below each, as a plotly figure."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from engine.charts import theme
from engine.charts.escaping import plotly

LINE = 17  # pixels of a line of words
FRAME = 3  # of SIDE
SIDE = 64  # pixels to which images are enlarged, so that a browser does not blur them


def image_grid(
    images: Sequence[np.ndarray] | np.ndarray,
    captions: Sequence[str],
    *,
    marks: Sequence[str] | None = None,
    columns: int = 10,
    key: dict[str, str] | None = None,
) -> go.Figure:
    """Images, each (H, W, C) in 0..255 with C 1 or 3, in rows of `columns`.

    captions: one per image, lines parted by a line feed. marks: color (#rrggbb) of each frame, ""
    for none. key: what the colors of the frames mean, words -> color.
    """
    columns = min(columns, max(len(images), 5))
    n_rows = -(-len(images) // columns)
    lines = max(caption.count("\n") + 1 for caption in captions)
    cell = SIDE + LINE * lines + 14
    top = 40 if key else 8
    fig = theme.figure(height=n_rows * cell + top + 8, margin=dict(l=4, r=4, t=top, b=8))
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(number, columns)
        fig.add_layout_image(
            source=_data_url(image, marks[number] if marks else ""),
            xref="x",
            yref="y",
            x=column + 0.5,
            y=row,
            sizex=1,
            sizey=SIDE / cell,
            xanchor="center",
            yanchor="top",
            sizing="contain",
            layer="above",
        )
        fig.add_annotation(
            x=column + 0.5,
            y=row + (SIDE + 2) / cell,
            yanchor="top",
            showarrow=False,
            text="<br>".join(map(plotly, caption.split("\n"))),
            font=dict(size=12),
        )
    fig.update_xaxes(range=[0, columns], visible=False, fixedrange=True)
    fig.update_yaxes(range=[n_rows, 0], visible=False, fixedrange=True)
    fig.add_scatter(x=[None], y=[None], showlegend=False)  # axes exist only for a trace
    for words, color in (key or {}).items():
        square = dict(symbol="square-open", size=12, color=color, line_width=3)
        fig.add_scatter(x=[None], y=[None], mode="markers", marker=square, name=words)
    return fig


def labeled_images(
    images: Any,
    given: np.ndarray,
    true: np.ndarray,
    samples: Sequence[int] | np.ndarray,
    words: Sequence[str] | None = None,
) -> go.Figure:
    """Some images of a data set with their labels, in frames that say whether these are right.

    images: (N, C, H, W) uint8, a tensor. given, true: (N,) class ids. samples: which ones. words:
    a line above each label.
    """
    right = [bool(given[i] == true[i]) for i in samples]
    captions = [
        f"label {given[i]} {'✓' if good else '✗'}" for i, good in zip(samples, right, strict=True)
    ]
    if words is not None:
        captions = [f"{line}\n{text}" for line, text in zip(words, captions, strict=True)]
    return image_grid(
        images[list(samples)].permute(0, 2, 3, 1).numpy(),
        captions,
        marks=[theme.CLEAN if good else theme.WRONG for good in right],
        key={"label right ✓": theme.CLEAN, "label wrong ✗": theme.WRONG},
    )


def _data_url(image: np.ndarray, color: str) -> str:
    from PIL import Image

    pixels = np.asarray(image).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    scale = (SIDE - 2 * FRAME) / max(picture.size)
    size = [max(1, round(side * scale)) for side in picture.size]
    framed = Image.new("RGB", [side + 2 * FRAME for side in size], color or "white")
    framed.paste(picture.resize(size, Image.Resampling.NEAREST), (FRAME, FRAME))
    buffer = io.BytesIO()
    framed.quantize(64).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
