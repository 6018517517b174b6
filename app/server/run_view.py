"""A run at one of its epochs: opened once for everything that a page draws of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.server import run_cache


class RunView:
    """A run, its records, and the row of an epoch.

    name: of the run. row: index of the epoch's record, by default the newest. Raises StoreError for
    a run that cannot be read, RunsError for one that is missing or hidden from the visitor.
    """

    def __init__(self, name: str, row: int | None = None):
        self.name, self.run = name, run_cache.run(name)
        self.records = self.run.epochs
        self.row = len(self.records) - 1 if row is None else row
        self.labels: dict[str, np.ndarray] = self.run.labels  # of all samples, by kind
        self.classes = [str(c) for c in self.run.info["data"]["classes"]]

    @property
    def record(self) -> dict[str, Any]:
        """The record of this epoch."""
        return self.records[self.row]

    @property
    def epoch(self) -> int:
        """This epoch's number, from 0."""
        return self.record["epoch"]

    @property
    def n(self) -> int:
        """Number of training samples."""
        return len(self.labels["given"])

    def values(self, array: str) -> np.ndarray:
        """This epoch's row of an array of the run. Raises StoreError for invalid numbers."""
        return self.run.row(array, self.row)

    def pixels(self, samples: Sequence[int] | np.ndarray) -> np.ndarray:
        """Training images (n, H, W, C) uint8. Raises StoreError if they are missing."""
        return run_cache.pixels_of(self.run, samples)

    def inputs(self, samples: Sequence[int] | np.ndarray) -> np.ndarray:
        """What the network gets of training samples, (n, C, H, W) float32. Raises StoreError."""
        return run_cache.inputs_of(self.run, samples)

    def sample_name(self, sample: int) -> str:
        """The name of a sample in its data set: its file name, or its index."""
        ids = self.labels.get("ids")
        return str(sample) if ids is None else str(ids[sample])
