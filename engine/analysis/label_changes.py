"""Label changes of a run over the epochs: every flip, and sentences that summarize them.

Labels are (N,) integer class ids: given, corrected (argmax of the soft label), true (None where
not known).
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

MAX_CACHED_RUNS = 6  # whose flips are kept in memory; 50,000 samples take a few MB


@dataclass(frozen=True, eq=False)
class LabelFlips:
    """The E changes of corrected labels, in the order of the epochs."""

    epoch: np.ndarray  # (E,) int32
    sample: np.ndarray  # (E,) int32
    before: np.ndarray  # (E,) int32, class before the epoch
    after: np.ndarray  # (E,) int32, class after it

    def until(self, epoch: int) -> "LabelFlips":
        """The flips up to and including an epoch."""
        n = int(np.searchsorted(self.epoch, epoch, side="right"))
        return LabelFlips(self.epoch[:n], self.sample[:n], self.before[:n], self.after[:n])

    def per_sample(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First and last epoch of a flip (N,), -1 for none, and the number of flips (N,)."""
        first, last = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
        last[self.sample] = self.epoch
        first[self.sample[::-1]] = self.epoch[::-1]  # the last one written is the earliest
        return first, last, np.bincount(self.sample, minlength=n)


def label_flips(run: RunFolder) -> LabelFlips:
    """All label flips of a run so far, including those before a fork; only new epochs are read.

    A fork continues from its parent's soft labels where both have the same given labels; if the
    parent is missing, its changes count as flips of the fork's first epoch. Raises StoreError.
    """
    key = run.folder, (run.folder / "config.json").stat().st_mtime_ns, run.alone
    with _lock:
        reader = _readers.setdefault(key, _FlipReader())
        _readers.move_to_end(key)
        while len(_readers) > MAX_CACHED_RUNS:
            _readers.popitem(last=False)
    return reader.read(run)


class _FlipReader:
    """The flips of one run, as far as they have been read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = 0  # epochs read
        self._labels: np.ndarray | None = None  # (N,) after the last epoch read
        self._parts: list[LabelFlips] = []

    def read(self, run: RunFolder) -> LabelFlips:
        with self._lock:
            records = run.epochs
            labels = self._labels
            if labels is None or len(records) < self._n:  # shortened on disk: read all again
                self._n = 0
                labels, self._parts = _initial_labels(run)
            for row in range(self._n, len(records)):
                labels = self._add(run, row, records[row], labels)
            self._labels = labels
            return _concatenated(self._parts)

    def _add(self, run: RunFolder, row: int, record: dict, before: np.ndarray) -> np.ndarray:
        """Add the flips of one epoch; returns the labels (N,) after it."""
        if record["metrics"]["changed_labels"] == 0:  # known without reading N x C numbers
            labels = run.labels["given"]
        else:
            labels = run.array("soft", row + 1)[row].argmax(1)
        sample = np.flatnonzero(labels != before).astype(np.int32)
        if len(sample):
            epoch = np.full(len(sample), record["epoch"], np.int32)
            old, new = before[sample].astype(np.int32), labels[sample].astype(np.int32)
            self._parts.append(LabelFlips(epoch, sample, old, new))
        self._labels, self._n = labels, row + 1
        return labels


def _initial_labels(run: RunFolder) -> tuple[np.ndarray, list[LabelFlips]]:
    """The labels before a run's first epoch, and the flips that led to them."""
    given, parent = run.labels["given"], label_parent(run)
    if parent is not None:
        with suppress(StoreError, OSError):  # its arrays may be damaged
            earlier = label_flips(parent).until(run.info["parent"]["epoch"])
            labels = np.array(given)
            labels[earlier.sample] = earlier.after  # in the order of the epochs: the last one stays
            return labels, [earlier]
    return given, []


def _concatenated(parts: list[LabelFlips]) -> LabelFlips:
    if not parts:
        none = np.empty(0, np.int32)
        return LabelFlips(none, none, none, none)
    names = ("epoch", "sample", "before", "after")
    whole = LabelFlips(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    parts[:] = [whole]
    return whole


def first_correction_epoch(config: RunConfig, record: dict[str, Any]) -> int | None:
    """The first epoch that corrects labels, by the settings of a record; None if none does."""
    settings = config.model_dump() | record["settings"]
    return settings["correction_start"] if settings["correction"] == "ema" else None


def outcome_summary(counts: Mapping[LabelOutcome, int], epoch: int, *, truth_known: bool) -> str:
    """The outcome of label correction in words. counts: how many labels have each outcome."""
    clean, corrected, missed, harmed, kept, changed = (counts[outcome] for outcome in LabelOutcome)
    n_right, n_wrong = clean + harmed, corrected + missed + changed
    if not truth_known:
        return (
            f"Up to epoch {epoch} correction has **changed {changed:,} of {changed + kept:,} "
            "labels**. The true labels are not known, so check by eye whether that helped."
        )
    text = f"**harmed {harmed:,} of {n_right:,} right labels**"
    if n_wrong == 0:
        return f"No label was wrong at the start; up to epoch {epoch} correction {text}."
    return (
        f"Up to epoch {epoch} correction has **corrected {corrected:,} of {n_wrong:,} wrong "
        f"labels** and {text}. Of the other wrong labels it missed {missed:,} and changed "
        f"{changed:,} to another wrong one."
    )


def flip_summary(flips: LabelFlips, given: np.ndarray, corrected: np.ndarray) -> str:
    """How often labels have flipped, in words. given, corrected: (N,) class ids."""
    _, _, n = flips.per_sample(len(given))
    if not len(flips.sample):
        return "No label has flipped up to this epoch."
    n_repeated = int((n > 1).sum())
    n_returned = int(((n > 1) & (given == corrected)).sum())
    n_labels = int((n > 0).sum())
    return (
        f"Up to this epoch **{_count(n_labels, 'label')}** flipped, {n_repeated:,} of them more "
        f"than once, and {n_returned:,} returned to the given label. Many flips late in training "
        "mean that correction has not converged."
    )


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


_readers: OrderedDict[tuple, _FlipReader] = OrderedDict()
_lock = threading.Lock()
