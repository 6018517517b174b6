"""Searches for samples of a run: arrays in, ids out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.analysis.label_outcomes import LabelOutcome, outcomes


@dataclass(frozen=True, eq=False)
class EpochLabels:
    """Labels and P(clean) after one epoch; N samples, C classes."""

    given: np.ndarray  # (N,) int
    true: np.ndarray | None  # (N,) int, None where not known
    soft: np.ndarray  # (N, C) float, rows sum to 1; argmax is the corrected label
    clean: np.ndarray  # (N,) float in [0, 1], 1 = current label surely clean
    names: np.ndarray | None = None  # (N,) str, None where samples have only numbers

    @property
    def corrected(self) -> np.ndarray:
        return self.soft.argmax(1)

    @property
    def outcomes(self) -> np.ndarray:
        """(N,) int8, values of LabelOutcome."""
        return outcomes(self.given, self.true, self.corrected)


@dataclass(frozen=True)
class Search:
    """One way to find samples, in a certain order."""

    title: str
    description: str  # what it finds, and what comes first
    find: Callable[..., np.ndarray]  # (EpochLabels[, argument]) -> (M,) ids
    argument: str = ""  # kind of argument: "class", "seed", "ids", "text" or none
    needs_truth: bool = False


def most_corrected(labels: EpochLabels) -> np.ndarray:
    """Samples with a changed label, those with the least weight on the given label first."""
    given_weight = labels.soft[np.arange(len(labels.given)), labels.given]
    return _ordered(given_weight, labels.corrected != labels.given)


def harmed(labels: EpochLabels) -> np.ndarray:
    """Samples whose given label was right and whose corrected one wrong, most confident first."""
    return _ordered(-labels.soft.max(1), labels.outcomes == LabelOutcome.HARMED)


def missed_or_changed(labels: EpochLabels) -> np.ndarray:
    """Samples whose given and corrected label are wrong, the highest P(clean) first."""
    wrong = np.isin(labels.outcomes, (LabelOutcome.MISSED, LabelOutcome.CHANGED))
    return _ordered(-labels.clean, wrong)


def least_clean(labels: EpochLabels) -> np.ndarray:
    """All samples, the lowest P(clean) first."""
    return _ordered(labels.clean)


def shuffled(labels: EpochLabels, seed: int) -> np.ndarray:
    """All samples in random order."""
    return np.random.default_rng(seed).permutation(len(labels.given))


def name_contains(labels: EpochLabels, text: str) -> np.ndarray:
    """Samples whose name contains a text; case is ignored."""
    if labels.names is None:
        return np.empty(0, int)
    text = text.casefold()
    return np.array([i for i, name in enumerate(labels.names) if text in name.casefold()], int)


SEARCHES: dict[str, Search] = {
    "corrected": Search(
        "Largest change",
        "Labels that correction has changed; those furthest from the given label first.",
        most_corrected,
    ),
    "harmed": Search(
        "Harmed",
        "The given label was right, the corrected one is wrong; the most confident first.",
        harmed,
        needs_truth=True,
    ),
    "wrong": Search(
        "Missed or changed",
        "The given label was wrong and the corrected one still is; the highest P(clean) first.",
        missed_or_changed,
        needs_truth=True,
    ),
    "doubted": Search(
        "Lowest P(clean)", "All samples; those most likely to be noisy first.", least_clean
    ),
    "given": Search(
        "Given label is",
        "All samples with this given label.",
        lambda labels, c: np.flatnonzero(labels.given == c),
        "class",
    ),
    "true": Search(
        "True label is",
        "All samples whose true label is this class.",
        lambda labels, c: np.flatnonzero(labels.true == c),
        "class",
        needs_truth=True,
    ),
    "now": Search(
        "Corrected label is",
        "All samples whose label is this class now.",
        lambda labels, c: np.flatnonzero(labels.corrected == c),
        "class",
    ),
    "random": Search("Random", "All samples in random order.", shuffled, "seed"),
    "all": Search(
        "All, in order",
        "All samples in the order of the data set.",
        lambda labels: np.arange(len(labels.given)),
    ),
    "lasso": Search(
        "Selected on the Map",
        "The samples selected on the Map.",
        lambda labels, ids: np.array([i for i in ids if i < len(labels.given)], int),
        "ids",
    ),
    "name": Search(
        "Name contains", "Samples whose name contains this text.", name_contains, "text"
    ),
}


def find_samples(search: str, labels: EpochLabels, *argument: Any) -> np.ndarray:
    """(M,) int64 ids that a search of SEARCHES finds, in its order.

    Raises ValueError for a search that needs the true labels where they are not known.
    """
    kind = SEARCHES[search]
    if kind.needs_truth and labels.true is None:
        raise ValueError(f"search = {search!r} needs true labels, which are not known here")
    return kind.find(labels, *argument)


def available_searches(*, truth: bool, lasso: bool, names: bool) -> list[str]:
    """Keys of the searches that can be used.

    truth: the true labels are known. lasso: samples are selected on the Map. names: samples have
    names.
    """
    has = {"lasso": lasso, "name": names}
    return [
        key
        for key, search in SEARCHES.items()
        if (truth or not search.needs_truth) and has.get(key, True)
    ]


def position_of(ids: np.ndarray, sample: int) -> int | None:
    """Position of a sample in a list of ids (M,), None where it is not in the list."""
    positions = np.flatnonzero(ids == sample)
    return int(positions[0]) if len(positions) else None


def previous_and_next(ids: np.ndarray, sample: int) -> tuple[int | None, int | None]:
    """The samples before and after one in a list, None at its ends.

    After a sample that is not in the list comes the first one of the list.
    """
    position = position_of(ids, sample)
    if position is None:
        return None, int(ids[0]) if len(ids) else None
    before = int(ids[position - 1]) if position else None
    after = int(ids[position + 1]) if position + 1 < len(ids) else None
    return before, after


def _ordered(key: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
    """Ids by ascending key (N,), ties by id; keep: (N,) bool, the samples to return."""
    ids = np.argsort(key, kind="stable")
    return ids if keep is None else ids[keep[ids]]
