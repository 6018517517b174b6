"""The samples of all parts of a data set in one order: what every check gets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from engine.analysis.checks.report import Item, Sample

if TYPE_CHECKING:
    from engine.data import Data


@dataclass(frozen=True, eq=False)
class Part:
    """One part: images (n, C, H, W) uint8 or rows (n, D) of numbers, and labels (n,) int64."""

    labels: np.ndarray
    images: np.ndarray | None = None
    rows: np.ndarray | None = None
    ids: Sequence[str] | None = None  # None: row numbers


@dataclass(frozen=True, eq=False)
class Samples:
    """All M samples, the parts one after the other."""

    parts: dict[str, Part]  # "train", "val", "test"
    classes: tuple[str, ...]
    labels: np.ndarray = field(init=False)  # (M,) int64

    def __post_init__(self) -> None:
        labels = [np.asarray(part.labels, dtype=np.int64) for part in self.parts.values()]
        object.__setattr__(self, "labels", np.concatenate(labels))

    @property
    def has_images(self) -> bool:
        return all(part.images is not None for part in self.parts.values())

    @property
    def noun(self) -> str:
        return "image" if self.has_images else "row"

    @cached_property
    def part_of(self) -> np.ndarray:
        """(M,) the position of each sample's part in `parts`."""
        return np.repeat(np.arange(len(self.parts)), [len(p.labels) for p in self.parts.values()])

    @cached_property
    def starts(self) -> np.ndarray:
        """The first sample of each part."""
        return np.cumsum([0, *(len(part.labels) for part in self.parts.values())])[:-1]

    def rows_of(self, part: str) -> np.ndarray:
        """The samples of a part, (n,) int64; none for a part that does not exist."""
        names = list(self.parts)
        found = self.part_of == (names.index(part) if part in names else -1)
        return np.flatnonzero(found)

    def sample(self, index: int) -> Sample:
        """The description of sample index in 0..M-1."""
        number = int(self.part_of[index])
        name, part = list(self.parts.items())[number]
        row = int(index - self.starts[number])
        own = str(row) if part.ids is None else str(part.ids[row])
        return Sample(name, row, own, self.classes[self.labels[index]])

    def item(
        self,
        indices: Sequence[int] | np.ndarray,
        text: str,
        score: float,
        suggested: int | None = None,
    ) -> Item:
        """A finding about some samples."""
        samples = tuple(self.sample(int(index)) for index in indices)
        name = None if suggested is None else self.classes[suggested]
        return Item(samples, text, float(score), name)


def samples_of(data: "Data", labels: np.ndarray | None = None) -> Samples:
    """The samples of a data set. labels (N,): of the training part, where they are not its own."""
    given = data.labels.cpu().numpy() if labels is None else labels
    parts = {"train": (data.images, given, data.ids)}
    if data.val_images is not None and data.val_labels is not None:
        parts["val"] = (data.val_images, data.val_labels.cpu().numpy(), data.val_ids)
    parts["test"] = (data.test_images, data.test_labels.cpu().numpy(), data.test_ids)
    return Samples(
        {
            name: Part(own, rows=images.cpu().flatten(1).float().numpy(), ids=ids)
            if data.is_rows
            else Part(own, images=images.cpu().numpy(), ids=ids)
            for name, (images, own, ids) in parts.items()
            if name == "train" or len(own)
        },
        data.classes,
    )
