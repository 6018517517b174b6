"""Small images side by side with a few words below each, as a plotly figure."""

import base64
import io
from collections.abc import Sequence

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
) -> go.Figure:
    """Images, each (H, W, C) in 0..255 with C 1 or 3, in rows of `columns`.

    captions: one per image, lines parted by a line feed. marks: color (#rrggbb) of each frame, ""
    for none.
    """
    n_rows = -(-len(images) // columns)
    lines = max(caption.count("\n") + 1 for caption in captions)
    cell = SIDE + LINE * lines + 14
    fig = theme.figure(height=n_rows * cell + 16, margin=dict(l=4, r=4, t=8, b=8))
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
    return fig


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
