"""What correction did to the labels of a run, in sentences, and every flip. No Streamlit.

Labels are (N,) integer class ids: given, corrected (argmax of the soft label), true (None where
the truth is not known).
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.analysis.label_outcomes import LabelOutcome
from engine.config import RunConfig
from engine.errors import StoreError
from engine.runs.folder import RunFolder
from engine.runs.lineage import label_parent

MOST_HISTORIES = 6  # runs whose flips are remembered; 50,000 samples take a few MB


@dataclass(frozen=True, eq=False)
class Flips:
    """Every change of a corrected label, in the order of the epochs; E of them."""

    epoch: np.ndarray  # (E,) int32
    sample: np.ndarray  # (E,) int32
    before: np.ndarray  # (E,) int32, class before the epoch
    after: np.ndarray  # (E,) int32, class after it

    def until(self, epoch: int) -> "Flips":
        """The flips up to and with an epoch."""
        n = int(np.searchsorted(self.epoch, epoch, side="right"))
        return Flips(self.epoch[:n], self.sample[:n], self.before[:n], self.after[:n])

    def per_sample(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First and last epoch of a flip (N,), -1 for none, and the number of flips (N,)."""
        first, last = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
        last[self.sample] = self.epoch
        first[self.sample[::-1]] = self.epoch[::-1]  # the last one written is the earliest
        return first, last, np.bincount(self.sample, minlength=n)


def flips(run: RunFolder) -> Flips:
    """Every flip of a run so far, those before a fork among them; only new epochs are read.

    A fork goes on from its parent's soft labels where it has the same given labels; if the parent
    is gone, its changes count as flips of the fork's first epoch. Raises StoreError.
    """
    key = run.folder, (run.folder / "config.json").stat().st_mtime_ns, run.alone
    with _lock:
        history = _histories.setdefault(key, _History())
        _histories.move_to_end(key)
        while len(_histories) > MOST_HISTORIES:
            _histories.popitem(last=False)
    return history.read(run)


class _History:
    """The flips of one run, as far as they were read."""

    def __init__(self):
        self._lock = threading.Lock()
        self._n = 0
        self._labels: np.ndarray | None = None  # (N,) after the last epoch read
        self._parts: list[Flips] = []

    def read(self, run: RunFolder) -> Flips:
        with self._lock:
            records = run.epochs
            if self._labels is None or len(records) < self._n:  # cut short from outside: anew
                self._n = 0
                self._labels, self._parts = _start(run)
            for row in range(self._n, len(records)):
                self._add(run, row, records[row])
            return _joined(self._parts)

    def _add(self, run: RunFolder, row: int, record: dict) -> None:
        if record["metrics"]["changed_labels"] == 0:  # known without reading N x C numbers
            labels = run.labels["given"]
        else:
            labels = run.array("soft", row + 1)[row].argmax(1)
        sample = np.flatnonzero(labels != self._labels).astype(np.int32)
        if len(sample):
            epoch = np.full(len(sample), record["epoch"], np.int32)
            before = self._labels[sample].astype(np.int32)
            self._parts.append(Flips(epoch, sample, before, labels[sample].astype(np.int32)))
        self._labels, self._n = labels, row + 1


def _start(run: RunFolder) -> tuple[np.ndarray, list[Flips]]:
    """The labels before a run's first epoch, and the flips that led there."""
    given, parent = run.labels["given"], label_parent(run)
    if parent is not None:
        with suppress(StoreError, OSError):  # its arrays may be damaged
            past = flips(parent).until(run.info["parent"]["epoch"])
            labels = np.array(given)
            labels[past.sample] = past.after  # in the order of the epochs: the last one stays
            return labels, [past]
    return given, []


def _joined(parts: list[Flips]) -> Flips:
    if not parts:
        none = np.empty(0, np.int32)
        return Flips(none, none, none, none)
    names = ("epoch", "sample", "before", "after")
    whole = Flips(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    parts[:] = [whole]
    return whole


def begins(config: RunConfig, record: dict[str, Any]) -> int | None:
    """The first epoch that corrects labels, by the settings of this record; None: none does."""
    settings = config.model_dump() | record["settings"]
    return settings["correction_start"] if settings["correction"] == "ema" else None


def sentence(counts: Mapping[LabelOutcome, int], epoch: int, *, truth_known: bool) -> str:
    """What became of the labels, in words; counts of each outcome."""
    clean, corrected, missed, harmed, kept, changed = (counts[outcome] for outcome in LabelOutcome)
    n_right, n_wrong = clean + harmed, corrected + missed + changed
    if not truth_known:
        return (
            f"Up to epoch {epoch} correction has **changed {changed:,} of {changed + kept:,} "
            "labels**. The true labels are not known, so whether that helped only your own eye can "
            "tell."
        )
    text = f"**harmed {harmed:,} of {n_right:,} right labels**"
    if n_wrong == 0:
        return f"No label was wrong at the start; up to epoch {epoch} correction {text}."
    return (
        f"Up to epoch {epoch} correction has **corrected {corrected:,} of {n_wrong:,} wrong "
        f"labels** and {text}. Of the other wrong labels it missed {missed:,} and changed "
        f"{changed:,} to another wrong one."
    )


def restless(flips: Flips, given: np.ndarray, corrected: np.ndarray) -> str:
    """How often labels flipped up to now, in words."""
    _, _, n = flips.per_sample(len(given))
    if not len(flips.sample):
        return "No label has flipped up to this epoch."
    often, back = int((n > 1).sum()), int(((n > 1) & (given == corrected)).sum())
    n_labels = int((n > 0).sum())
    return (
        f"Up to this epoch **{_count(n_labels, 'label')}** flipped, {often:,} of them more than "
        f"once, and {back:,} came back to the given label. Many flips late in training mean that "
        "correction has not settled."
    )


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


_histories: OrderedDict[tuple, _History] = OrderedDict()
_lock = threading.Lock()
