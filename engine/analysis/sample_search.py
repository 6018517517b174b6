"""Which samples to look at: searches over a run's labels, arrays in, ids out; no Streamlit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.analysis.label_outcomes import LabelOutcome, outcomes


@dataclass(frozen=True, eq=False)
class Labels:
    """What one epoch says of N samples of C classes."""

    given: np.ndarray  # (N,) int, labels that came
    true: np.ndarray | None  # (N,) int, None where the truth is not known
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
    """One way to find samples; `find` says in which order they are looked through."""

    title: str
    words: str  # what it finds, and what comes first
    find: Callable[..., np.ndarray]  # (Labels) -> ids, or (Labels, argument) where it takes one
    takes: str = ""  # its argument: "class", "seed", "ids" or "text"
    needs_truth: bool = False


def most_corrected(labels: Labels) -> np.ndarray:
    """Samples whose label was changed, least weight left on the given one first."""
    left = labels.soft[np.arange(len(labels.given)), labels.given]
    return _ordered(left, labels.corrected != labels.given)


def wrongly_corrected(labels: Labels) -> np.ndarray:
    """Samples whose given label was right and whose corrected one is not, the surest first."""
    harmed = labels.outcomes == LabelOutcome.HARMED
    return _ordered(-labels.soft.max(1), harmed)


def still_wrong(labels: Labels) -> np.ndarray:
    """Samples whose given and corrected label are wrong, the highest P(clean) first."""
    wrong = np.isin(labels.outcomes, (LabelOutcome.MISSED, LabelOutcome.CHANGED))
    return _ordered(-labels.clean, wrong)


def least_clean(labels: Labels) -> np.ndarray:
    """All samples, the least P(clean) first."""
    return _ordered(labels.clean)


def shuffled(labels: Labels, seed: int) -> np.ndarray:
    """All samples in an order drawn by a seed."""
    return np.random.default_rng(seed).permutation(len(labels.given))


def named(labels: Labels, text: str) -> np.ndarray:
    """Samples whose name holds a text, in capitals or not."""
    text = text.casefold()
    return np.array([i for i, name in enumerate(labels.names) if text in name.casefold()], int)


SEARCHES: dict[str, Search] = {
    "corrected": Search(
        "Largest change",
        "Labels that correction has changed; those moved furthest from the given label first.",
        most_corrected,
    ),
    "harmed": Search(
        "Harmed",
        "The given label was right, the corrected one is wrong; the most confident first.",
        wrongly_corrected,
        needs_truth=True,
    ),
    "wrong": Search(
        "Missed or changed",
        "The given label was wrong and the corrected one still is; the highest P(clean) first.",
        still_wrong,
        needs_truth=True,
    ),
    "doubted": Search(
        "Least P(clean)", "All samples; those whose label MixNN doubts most first.", least_clean
    ),
    "given": Search(
        "Given label is",
        "All samples that came with this label.",
        lambda labels, c: np.flatnonzero(labels.given == c),
        "class",
    ),
    "true": Search(
        "True label is",
        "All samples that really show this class.",
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
    "name": Search("Name contains", "Samples whose name holds this text.", named, "text"),
}


def find_all(search: str, labels: Labels, *argument: Any) -> np.ndarray:
    """Ids (M,) int64 that a search of SEARCHES finds, in its order. Raises ValueError."""
    kind = SEARCHES[search]
    if kind.needs_truth and labels.true is None:
        raise ValueError(f"search = {search!r}: the truth is not known here")
    return kind.find(labels, *argument)


def offered(*, truth: bool, lasso: bool, names: bool) -> list[str]:
    """The searches that make sense where the truth is known, a lasso drawn, samples have names."""
    has = {"lasso": lasso, "name": names}
    return [
        key
        for key, search in SEARCHES.items()
        if (truth or not search.needs_truth) and has.get(key, True)
    ]


def place(ids: np.ndarray, sample: int) -> int | None:
    """Position of a sample in a list of ids (M,), None where it is not in it."""
    found = np.flatnonzero(ids == sample)
    return int(found[0]) if len(found) else None


def around(ids: np.ndarray, sample: int) -> tuple[int | None, int | None]:
    """The samples before and after one in a list; from outside the list its first one comes next.

    None at the ends.
    """
    position = place(ids, sample)
    if position is None:
        return None, int(ids[0]) if len(ids) else None
    before = int(ids[position - 1]) if position else None
    after = int(ids[position + 1]) if position + 1 < len(ids) else None
    return before, after


def _ordered(key: np.ndarray, of: np.ndarray | None = None) -> np.ndarray:
    """Ids by ascending key (N,), equal ones in order; of: (N,) bool, which to keep."""
    ids = np.argsort(key, kind="stable")
    return ids if of is None else ids[of[ids]]
