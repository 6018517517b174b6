"""One sample of a run at one of its epochs: what the Sample page shows of it."""

import numpy as np

from app.server import run_cache
from app.server.run_view import RunView
from app.state.parameters import Param, one_of
from engine.analysis.label_outcomes import LabelOutcome, outcomes
from engine.analysis.sample_search import SEARCHES
from engine.errors import StoreError

PARAMS = {  # of the URL; the search "wrong" was called "missed"
    "search": Param(
        None, one_of(*SEARCHES, aliases={"missed": "wrong"}), words=" | ".join(SEARCHES)
    )
}


class Sample:
    """A sample of a run at one of its epochs, read once for everything that shows it.

    index: of the sample in the data set. Raises StoreError for a run that cannot be read.
    """

    def __init__(self, view: RunView, index: int):
        self.view, self.index = view, index
        self.name, self.run, self.row = view.name, view.run, view.row
        self.records, self.epoch, self.classes = view.records, view.epoch, view.classes
        self.given = int(view.labels["given"][index])
        self.true_labels = view.labels.get("true")  # of all samples
        self.true = None if self.true_labels is None else int(self.true_labels[index])
        self.history = run_cache.history(view.name, index)
        self.soft = self.history["soft"][view.row]
        self.corrected = int(self.soft.argmax())

    @property
    def outcome(self) -> LabelOutcome:
        """What correction did to its label up to this epoch."""
        true = None if self.true is None else np.array([self.true])
        codes = outcomes(np.array([self.given]), true, np.array([self.corrected]))
        return LabelOutcome(int(codes[0]))

    @property
    def title(self) -> str:
        """Its number, and its name if it has one."""
        title = f"Sample {self.index}"
        name = self.view.sample_name(self.index)
        return title if name == str(self.index) else f"{title} ({name})"

    def value(self, array: str) -> float:
        """Its value in an array of the run after this epoch."""
        return self.history[array][self.row]

    def pixels(self, samples: np.ndarray) -> np.ndarray | None:
        """Training images (n, H, W, C) of the run; None if missing, which the page says once."""
        try:
            return self.view.pixels(samples)
        except StoreError:
            return None

    def mark(self, index: int, label: int) -> str:
        """✓ or ✗: whether a label of sample `index` is right; "" if true labels are unknown."""
        if self.true_labels is None:
            return ""
        return "✓" if self.true_labels[index] == label else "✗"

    def class_notes(self) -> dict[int, str]:
        """Class -> "given", "true" or both, for the axes of charts."""
        notes = {self.given: "given"}
        if self.true is not None:
            notes[self.true] = "given, true" if self.true == self.given else "true"
        return notes
