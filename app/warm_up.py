"""Slow imports in the background: PyTorch and others, after the first page is drawn.

An import keeps the interpreter busy, so what the first page does not need would delay it. A page or
a run that needs a library earlier imports it itself: Python lets both share the work.
"""

import logging
import threading
from importlib import import_module

IDLE = 15.0  # seconds without a visitor after which the imports start anyway
PAUSE = 0.5  # seconds after the first page is sent, in which the browser fetches its scripts

_first_page = threading.Event()
_log = logging.getLogger(__name__)


def start() -> threading.Thread:
    """Import in the background what pages and runs need, in the order in which they need it."""
    thread = threading.Thread(target=_import_all, name="warm-up", daemon=True)
    thread.start()
    return thread


def first_page_drawn() -> None:
    """Call it when a page has been sent to a browser."""
    _first_page.set()


def _import_all() -> None:
    try:
        _import_pages()
        if _first_page.wait(IDLE):
            threading.Event().wait(PAUSE)
        _import_training()
        _import_charts()
    except (ImportError, MemoryError, OSError, RuntimeError):  # the page that needs it reports it
        _log.exception("a library could not be imported")


def _import_pages() -> None:
    """Parts of the first page: light, and needed as soon as a browser connects."""
    from app.server import player_routes, run_manager  # noqa: F401

    player_routes.files()
    from app.components import history, player, settings_form, sharing  # noqa: F401
    from app.views.home import pair  # noqa: F401
    from app.views.lesson import steps  # noqa: F401
    from app.views.sample import sample  # noqa: F401
    from app.views.train import run_controls, variants  # noqa: F401

    import_module("pandas")  # Streamlit's own widgets import it when they are first drawn


def _import_training() -> None:
    """Libraries of a run before its first epoch."""
    import torch  # noqa: F401

    from engine.training import state, train  # noqa: F401


def _import_charts() -> None:
    """Libraries of the charts of a run."""
    import pyarrow  # noqa: F401

    from engine.charts import live_curves  # noqa: F401
