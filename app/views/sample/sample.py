"""One sample of a run at one of its epochs: what the Sample page tells of it."""

import numpy as np

from app.server import run_cache
from app.server.run_view import RunView
from app.state.parameters import Param, one_of
from engine.analysis.sample_search import SEARCHES
from engine.errors import StoreError

PARAMS = {  # of the URL; the search "wrong" was called "missed"
    "search": Param(
        None, one_of(*SEARCHES, aliases={"missed": "wrong"}), words=" | ".join(SEARCHES)
    )
}


class Sample:
    """A sample of a run at one of its epochs, read once for all that is drawn of it."""

    def __init__(self, view: RunView, index: int):
        self.view, self.index = view, index
        self.name, self.run, self.row = view.name, view.run, view.row
        self.records, self.epoch, self.classes = view.records, view.epoch, view.classes
        labels = view.labels
        self.given = int(labels["given"][index])
        self.all_true = labels.get("true")
        self.true = None if self.all_true is None else int(self.all_true[index])
        self.history = run_cache.history(view.name, index)
        self.soft = self.history["soft"][view.row]
        self.corrected = int(self.soft.argmax())

    def now(self, array: str) -> float:
        """What an array of the run says of it after this epoch."""
        return self.history[array][self.row]

    @property
    def called(self) -> str:
        """Its number, and its name where it has one."""
        title = f"Sample {self.index}"
        known = self.view.sample_name(self.index)
        return title if known == str(self.index) else f"{title} ({known})"

    def mark(self, index: int, label: int) -> str:
        """✓ or ✗: whether a sample's label is right; nothing where the truth is not known."""
        return "" if self.all_true is None else "✓" if self.all_true[index] == label else "✗"


def images(view: RunView, ids: np.ndarray) -> np.ndarray | None:
    """Training images (n, H, W, C); None where they are gone, which the page says once."""
    try:
        return view.pixels(ids)
    except StoreError:
        return None
