"""Orderly shutdown within a deadline: runs stop after a batch, other processes end.

Streamlit waits without limit until every browser has received its data, and Python then exits
under a training thread, which aborts the process. So everything is closed here, in parallel to
Streamlit's own shutdown, and the process ends when that is done. If even that hangs, the system
kills the process: a run folder survives that at any time.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from types import FrameType
from typing import Any

from app.server.streamlit_internals import runtime

DEADLINE = 9  # whole seconds from the signal until the system kills the process
SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger(__name__)
_closers: list[Callable[[], None]] = []
_signals: SimpleQueue = SimpleQueue()  # put is reentrant, as a second signal requires
_lock = threading.Lock()
_thread: threading.Thread | None = None


def at_shutdown(close: Callable[[], None]) -> None:
    """Register a function to call at shutdown; the last one registered is called first.

    Together they have DEADLINE seconds. Does nothing outside a running server, where resources are
    closed by their creator. May be called from any thread.
    """
    global _thread
    loop = _event_loop()
    if loop is None:
        return
    with _lock:
        _closers.append(close)
        if _thread is None:
            _thread = threading.Thread(target=_close_all, name="shutdown", daemon=True)
            _thread.start()
            loop.call_soon_threadsafe(_install_handlers)


def _event_loop() -> asyncio.AbstractEventLoop | None:
    """The server's event loop, in the main thread, the only one that may handle signals."""
    server = runtime()
    if server is None:
        return None
    try:
        loop = server.stopped.get_loop()
    except (RuntimeError, AttributeError):  # another Streamlit: it ends in its own way
        return None
    return loop if isinstance(loop, asyncio.AbstractEventLoop) else None


def _install_handlers() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        signal.signal(number, partial(_on_signal, signal.getsignal(number)))
    atexit.register(_at_exit)


def _on_signal(
    before: Callable[..., Any] | int | None, number: int, frame: FrameType | None
) -> None:
    if not signal.getitimer(signal.ITIMER_REAL)[0]:  # a second signal does not extend the deadline
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(DEADLINE)
    _signals.put(number)
    if callable(before):
        before(number, frame)


def _at_exit() -> None:
    """At exit: wait until everything is closed."""
    _signals.put(0)
    if _thread is not None:
        _thread.join()


def _close_all() -> None:
    _signals.get()
    for close in reversed(_closers):
        try:
            close()
        except Exception:
            _log.exception("a resource could not be closed")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(0)  # a normal exit would abort while a thread is inside PyTorch
