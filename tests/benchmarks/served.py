"""The app under measurement: a server of its own, and when the records of its runs were written."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import StoreError
from engine.files import read_json

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.browser.conftest import ROOT, Server, serve  # noqa: E402
from tests.records import read_records


class Epochs:
    """When the records of a run were written, noted by a thread of its own."""

    def __init__(self, folder: Path):
        self.folder, self.times = folder, []  # of the records, in seconds of time.time()
        self._thread = threading.Thread(target=self._note, daemon=True)
        self._thread.start()

    def training(self) -> bool:
        return self._thread.is_alive()

    def wait(self) -> "Epochs":
        self._thread.join()
        return self

    @property
    def seconds(self) -> list[float]:
        """From one record to the next."""
        return [b - a for a, b in zip(self.times, self.times[1:], strict=False)]

    def _note(self) -> None:
        path, last = self.folder / "epochs.jsonl", 0
        while self._state() not in ("done", "failed", "stopped"):
            time.sleep(0.005)
            now = path.stat().st_mtime_ns if path.exists() else 0
            if now != last and (n := len(read_records(self.folder))):
                self.times += [now / 1e9] * (n - len(self.times))
            last = now

    def _state(self) -> str:
        try:
            return read_json(self.folder / "status.json")["state"]
        except StoreError:
            return "queued"


@contextmanager
def server(root: Path) -> Iterator[str]:
    """The app over a runs root; gives its address."""
    with server_process(root) as running:
        yield running.url


@contextmanager
def server_process(root: Path, project: Path = ROOT, **environment: str) -> Iterator[Server]:
    """The same of a checkout; gives the server with its process."""
    running = serve(root, project=project, **environment)
    try:
        yield running
    finally:
        running.stop()


def new_run(root: Path, there: set[Path]) -> Path | None:
    """The run folder that was not there before."""
    found = [p for p in root.iterdir() if p.is_dir() and p not in there and p.name[0] != "."]
    return found[0] if found else None


def wait_for(found: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The result of a function, once it returns one."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        if time.monotonic() > deadline:
            raise TimeoutError("nothing happened in time")
        time.sleep(0.005)
    return value
