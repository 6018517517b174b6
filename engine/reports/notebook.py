"""A run in a cell of a notebook: its page in a frame, also in a static export."""

import html
from pathlib import Path

from engine.errors import StoreError
from engine.reports.publish import html_page
from engine.runs.folder import RunFolder
from engine.runs.forks import data_of


def play(
    run: RunFolder | Path | str,
    other: RunFolder | Path | str | None = None,
    *,
    height: int = 780,
) -> None:
    """Show a run, or two on the same data set, in the cell: the player, images and tables.

    run, other: run folders. height: of the frame in pixels. The cell contains the whole page (2 MB
    for two runs on digits), so it works in JupyterLab without a kernel and in an HTML export.
    Raises StoreError if one is no run folder, has no epoch, or if the data sets differ.

    >>> import engine
    >>> engine.play("runs/ce", "runs/mixnn")  # doctest: +SKIP
    """
    from IPython.display import HTML, display  # late: not needed elsewhere

    chosen = [one for one in (run, other) if one is not None]
    runs = [one if isinstance(one, RunFolder) else RunFolder(one) for one in chosen]
    display(HTML(frame(runs, height)))


def frame(runs: list[RunFolder], height: int) -> str:
    """The element <iframe> that contains the page. Its scripts run without any origin."""
    try:
        data = data_of(runs[0])
    except StoreError:
        data = None  # the page then has no images
    page = html.escape(html_page(runs, data), quote=True)
    style = f"width: 100%; height: {height}px; border: 0"
    return (
        f'<div><iframe title="Player of a run" style="{style}" '
        f'sandbox="allow-scripts allow-downloads" srcdoc="{page}"></iframe></div>'
    )
