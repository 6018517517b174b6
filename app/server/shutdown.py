"""A server that is told to end: runs stop after a batch, other processes end, all of it in time.

Streamlit waits for every browser to take what was sent to it, for as long as that takes, and
Python then ends below a training thread, which aborts the process. So what has to be closed is
closed here, beside Streamlit's own way to the end, and the process ends when that is done. Should
even that hang, the system ends the process: a run folder survives that at any moment.
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

DEADLINE = 9  # whole seconds from the signal until the system ends the process
SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger(__name__)
_closers: list[Callable[[], None]] = []
_told: SimpleQueue = SimpleQueue()  # its put may interrupt itself, as a second signal does
_lock = threading.Lock()
_thread: threading.Thread | None = None


def at_shutdown(close: Callable[[], None]) -> None:
    """Call `close` when the server is told to end; the last one given is called first.

    All of them have DEADLINE seconds together. Does nothing outside a running server, where
    whoever made a thing closes it. May be called from any thread.
    """
    global _thread
    loop = _event_loop()
    if loop is None:
        return
    with _lock:
        _closers.append(close)
        if _thread is None:
            _thread = threading.Thread(target=_end, name="shutdown", daemon=True)
            _thread.start()
            loop.call_soon_threadsafe(_listen)


def _event_loop() -> asyncio.AbstractEventLoop | None:
    """The server's, which runs in the main thread, the only one that may take signals."""
    server = runtime()
    if server is None:
        return None
    try:
        loop = server.stopped.get_loop()
    except (RuntimeError, AttributeError):  # another Streamlit: it ends in its own way
        return None
    return loop if isinstance(loop, asyncio.AbstractEventLoop) else None


def _listen() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        signal.signal(number, partial(_hear, signal.getsignal(number)))
    atexit.register(_wait)


def _hear(before: Callable[..., Any] | int | None, number: int, frame: FrameType | None) -> None:
    if not signal.getitimer(signal.ITIMER_REAL)[0]:  # a second signal gives no more time
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(DEADLINE)
    _told.put(number)
    if callable(before):
        before(number, frame)


def _wait() -> None:
    """Where the server ends of itself, or faster than what has to be closed."""
    _told.put(0)
    if _thread is not None:
        _thread.join()


def _end() -> None:
    _told.get()
    for close in reversed(_closers):
        try:
            close()
        except Exception:
            _log.exception("not closed in order")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(0)  # Python's own way out would abort where a thread is still inside PyTorch
