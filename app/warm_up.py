"""Slow imports happen while nobody waits: PyTorch and the like after the first page is drawn.

An import keeps the interpreter busy, so what the first page does not need would only delay it. A
page or a run that needs a library earlier imports it itself: Python lets the two share the work.
"""

import logging
import threading

IDLE = 15.0  # seconds without a visitor after which the imports start all the same
PAUSE = 0.5  # seconds after the first page is sent, in which the browser fetches its scripts

_first_page = threading.Event()
_log = logging.getLogger(__name__)


def start() -> threading.Thread:
    """Import in the background what pages and runs need, in the order in which they need it."""
    thread = threading.Thread(target=_import_all, name="warm-up", daemon=True)
    thread.start()
    return thread


def first_page_drawn() -> None:
    """To be called when a page has been sent to a browser."""
    _first_page.set()


def _import_all() -> None:
    try:
        _import_pages()
        if _first_page.wait(IDLE):
            threading.Event().wait(PAUSE)
        _import_training()
        _import_charts()
    except (ImportError, MemoryError, OSError, RuntimeError):  # whoever needs it says so on a page
        _log.exception("a library could not be imported")


def _import_pages() -> None:
    """What the first page consists of: light, and needed as soon as a browser connects."""
    from app.components import settings_form, sharing  # noqa: F401


def _import_training() -> None:
    """What a run needs before its first epoch."""
    import torch  # noqa: F401

    from engine.training import state, train  # noqa: F401


def _import_charts() -> None:
    """What the pages of a run draw with."""
    import pyarrow  # noqa: F401

    from engine.charts import live_curves  # noqa: F401
