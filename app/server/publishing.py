"""Pages of runs for people without this server, written in the background."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from app.server import run_cache
from engine.errors import EngineError, StoreError

if TYPE_CHECKING:
    from engine.runs.folder import RunFolder

log = logging.getLogger(__name__)
_one = threading.Semaphore(1)  # pages are written one after the other: each keeps a core busy


class Publication(threading.Thread):
    """Writes the page of one run or two, as they are now, to a temporary file.

    runs: opened for the visitor who asked. `size` is set at the end, or else `refusal`.
    """

    def __init__(self, runs: Sequence[RunFolder]):
        super().__init__(name="publish", daemon=True)
        self._runs = list(runs)
        self._file: IO[bytes] | None = None
        self.began = time.monotonic()
        self.size = 0  # bytes
        self.refusal = ""

    @property
    def seconds(self) -> int:
        """Since it was asked for."""
        return int(time.monotonic() - self.began)

    def run(self) -> None:
        try:
            with _one:
                content = self._page()
            file = tempfile.TemporaryFile()  # noqa: SIM115 - read later, gone with this object
            file.write(content)
            self._file, self.size = file, len(content)
        except (EngineError, OSError) as error:
            self.refusal = str(error)
        except Exception as error:
            log.error("a page was not written", exc_info=error)
            self.refusal = f"the page was not written: {type(error).__name__}"

    def content(self) -> bytes:
        """The page as HTML. Raises StoreError before it is written."""
        if self._file is None:
            raise StoreError("the page is not written yet")
        self._file.seek(0)
        return self._file.read()

    def _page(self) -> bytes:
        from engine.reports.publish import html_page  # late: the first page needs none of it

        try:
            data = run_cache.data_of(self._runs[0])
        except StoreError:
            data = None  # the page then has no images
        return html_page(self._runs, data).encode()
