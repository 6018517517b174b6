"""Charts in notebooks: plotly's own format for JupyterLab, and a PNG for pages without scripts.

A code host shows neither plotly nor sliders; it shows the PNG that is stored next to them.

from engine.charts import notebook
notebook.setup()
"""

import asyncio
import atexit
import base64
import io
import os
import threading
from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.io.base_renderers import PlotlyRenderer

NAME = "lab"  # of our renderer
WIDTH = 800  # pixels of a PNG
PLOTLY, PNG = "application/vnd.plotly.v1+json", "image/png"
WIDGET = "application/vnd.jupyter.widget-view+json"
N_COLORS = 128  # of a PNG: a third of the bytes, with no visible difference
MOST_JSON = 500_000  # characters of a figure in plotly's format; a larger one is its PNG alone
PATIENCE = 90.0  # seconds that a browser may take for one picture
ROOT = Path(__file__).resolve().parents[2]


def setup() -> None:
    """From here on figures include a PNG, if a Chrome or Chromium is found."""
    pio.renderers[NAME] = Renderer(_painter())
    pio.renderers.default = NAME


def runs_folder() -> Path:
    """Where the app keeps its runs: $MIXNN_RUNS, or runs/ in the project."""
    return Path(os.environ.get("MIXNN_RUNS") or ROOT / "runs")


def explore(draw: Callable[..., go.Figure], **controls: Any) -> None:
    """A figure that is redrawn when a slider moves; a page without scripts shows the first one.

    controls: ipywidgets by the name of draw's argument. Their first values give the first figure.
    """
    import ipywidgets  # late: not needed where nothing moves
    from IPython.display import display

    def redraw(**values: Any) -> None:
        display(_bundle(draw(**values), picture=False), raw=True)

    first = _bundle(draw(**{name: control.value for name, control in controls.items()}))
    output = ipywidgets.interactive_output(redraw, controls)
    box = ipywidgets.VBox([ipywidgets.HBox(list(controls.values())), output])
    # JupyterLab takes the first of these that it can show while the kernel runs
    shown = {WIDGET: box._repr_mimebundle_()[WIDGET], "text/plain": "sliders, in JupyterLab"}
    display(shown | {kind: first[kind] for kind in (PNG,) if kind in first}, raw=True)


class Renderer(PlotlyRenderer):
    """plotly's format and a PNG, on white, which can be read on dark pages too."""

    def __init__(self, painter: "Painter | None"):
        super().__init__()
        self.painter, self.picture = painter, True

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, Any]:
        layout = fig_dict["layout"] | dict(paper_bgcolor="white", plot_bgcolor="white")
        fig_dict = fig_dict | {"layout": layout}
        bundle = super().to_mimebundle(fig_dict)
        if self.painter is not None and self.picture:
            bundle[PNG] = base64.b64encode(self.painter.png(fig_dict)).decode()
            if len(pio.to_json(fig_dict, validate=False)) > MOST_JSON:
                del bundle[PLOTLY]
        return bundle


class Painter:
    """One browser that stays open for all pictures of a notebook; starting it takes a second."""

    def __init__(self):
        from kaleido import Kaleido  # late: starts a browser's machinery

        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="painter", daemon=True).start()
        # mathjax=False: it would come from the network
        self._kaleido = Kaleido(n=1, mathjax=False, timeout=PATIENCE)
        self._wait(self._kaleido.open())
        atexit.register(self.close)

    def png(self, fig_dict: dict[str, Any]) -> bytes:
        height = fig_dict["layout"].get("height", 450)
        opts = dict(format="png", width=fig_dict["layout"].get("width", WIDTH), height=height)
        return _smaller(self._wait(self._kaleido.calc_fig(fig_dict, opts=opts)))

    def close(self) -> None:
        if self._loop.is_running():
            self._wait(self._kaleido.close())
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _wait(self, work: Coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


@cache
def _painter() -> Painter | None:
    """The painter of this process; None without kaleido or a browser."""
    try:
        return Painter()
    except Exception:  # a missing browser, one that does not start: figures then have no PNG
        return None


def _smaller(png: bytes) -> bytes:
    """The same picture in at most N_COLORS colors."""
    from PIL import Image

    from engine.data.images import open_image

    buffer = io.BytesIO()
    with open_image(io.BytesIO(png)) as image:
        picture = image.convert("RGB")
    picture.quantize(N_COLORS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _bundle(fig: go.Figure, *, picture: bool = True) -> dict[str, Any]:
    return pio.renderers._build_mime_bundle(fig.to_dict(), NAME, picture=picture)
