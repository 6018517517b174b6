"""One sample of a run at one of its epochs: what the Sample page tells of it."""

import numpy as np

from app import reading
from app.sample.samples import SEARCHES
from app.state.parameters import Param, one_of
from engine.store import StoreError

PARAMS = {"search": Param(None, one_of(*SEARCHES), words=" | ".join(SEARCHES))}  # of the URL


class Sample:
    """A sample of a run at one of its rows, read once for all that is drawn of it."""

    def __init__(self, name: str, row: int, index: int):
        self.name, self.row, self.index = name, row, index
        self.run, self.records = reading.run(name), reading.records(name)
        self.epoch = self.records[row]["epoch"]
        self.classes = [str(c) for c in reading.class_names(name)]
        labels = self.run.labels
        self.given = int(labels["given"][index])
        self.all_true = labels.get("true")
        self.true = None if self.all_true is None else int(self.all_true[index])
        self.history = reading.history(name, index)
        self.soft = self.history["soft"][row]
        self.corrected = int(self.soft.argmax())

    def now(self, array: str) -> float:
        """What an array of the run says of it after this epoch."""
        return self.history[array][self.row]

    @property
    def called(self) -> str:
        """Its number, and its name where it has one."""
        title = f"Sample {self.index}"
        known = reading.sample_name(self.name, self.index)
        return title if known == str(self.index) else f"{title} ({known})"

    def mark(self, index: int, label: int) -> str:
        """✓ or ✗: whether a sample's label is right; nothing where the truth is not known."""
        return "" if self.all_true is None else "✓" if self.all_true[index] == label else "✗"


def images(name: str, ids: np.ndarray) -> np.ndarray | None:
    """Training images (n, H, W, C); None where they are gone, which the page says once."""
    try:
        return reading.pixels(name, ids)
    except StoreError:
        return None
