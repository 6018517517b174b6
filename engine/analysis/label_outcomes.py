"""What label correction did to each label: one classification for pages, charts and exports.

Labels are (N,) integer class ids: given (before correction), true (None where the true labels are
not known) and current (now: argmax of the soft label). The members of LabelOutcome are in the
order in which they are listed everywhere; charts/theme.py has their colors and patterns.

>>> given, true, current = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 2, 1]])
>>> [LabelOutcome(code).word for code in outcomes(given, true, current)]
['clean', 'corrected', 'missed', 'changed', 'harmed']
"""

from collections.abc import Iterable
from enum import IntEnum

import numpy as np


class LabelOutcome(IntEnum):
    """The outcome of correction for one label; KEPT occurs only where true labels are not known."""

    CLEAN = 0
    CORRECTED = 1
    MISSED = 2
    HARMED = 3
    KEPT = 4
    CHANGED = 5

    @property
    def word(self) -> str:
        """The name that is shown, such as "corrected"."""
        return self.name.lower()

    @classmethod
    def possible(cls, truth_known: bool) -> tuple["LabelOutcome", ...]:
        """The outcomes that can occur, in order."""
        if truth_known:
            return cls.CLEAN, cls.CORRECTED, cls.MISSED, cls.HARMED, cls.CHANGED
        return cls.KEPT, cls.CHANGED

    def meaning(self, truth_known: bool = True) -> str:
        """One sentence; that of CHANGED says whether the true label is known."""
        if self is LabelOutcome.CHANGED and not truth_known:
            return "The label is another one now; the true label is not known."
        return _MEANINGS[self]


_MEANINGS = {
    LabelOutcome.CLEAN: "The given label was right and still is.",
    LabelOutcome.CORRECTED: "The given label was wrong; the label is right now.",
    LabelOutcome.MISSED: "The given label was wrong and has not changed.",
    LabelOutcome.HARMED: "The given label was right; the label is wrong now.",
    LabelOutcome.KEPT: "The label is still the given one; the true label is not known.",
    LabelOutcome.CHANGED: "The given label was wrong; the label is another wrong one now.",
}
WORDS: tuple[str, ...] = tuple(outcome.word for outcome in LabelOutcome)  # by code


def outcomes(given: np.ndarray, true: np.ndarray | None, current: np.ndarray) -> np.ndarray:
    """The outcome of each label: (N,) int8, values of LabelOutcome.

    Without true labels, only KEPT and CHANGED occur.
    """
    given, current = np.asarray(given), np.asarray(current)
    changed = current != given
    if true is None:
        return np.where(changed, LabelOutcome.CHANGED, LabelOutcome.KEPT).astype(np.int8)
    was_right, is_right = given == true, current == true
    return np.select(
        [was_right & is_right, was_right, is_right, ~changed],
        [LabelOutcome.CLEAN, LabelOutcome.HARMED, LabelOutcome.CORRECTED, LabelOutcome.MISSED],
        LabelOutcome.CHANGED,
    ).astype(np.int8)


def outcome_counts(codes: np.ndarray) -> dict[LabelOutcome, int]:
    """How many labels have each outcome; all outcomes, in order. codes: (N,), from `outcomes`."""
    numbers = np.bincount(codes, minlength=len(LabelOutcome)).tolist()
    return dict(zip(LabelOutcome, numbers, strict=True))


def samples_by_outcome(codes: np.ndarray) -> dict[LabelOutcome, np.ndarray]:
    """Outcome -> (M,) int64, the samples that have it, for those that occur, in order."""
    samples = {outcome: np.flatnonzero(codes == outcome) for outcome in LabelOutcome}
    return {outcome: ids for outcome, ids in samples.items() if len(ids)}


def outcome_words(codes: Iterable[int]) -> np.ndarray:
    """The word of each outcome, (N,) object, for tables and exports."""
    return np.array(WORDS, dtype=object)[np.asarray(codes)]


def memorized(
    given: np.ndarray, true: np.ndarray | None, prediction: np.ndarray
) -> np.ndarray | None:
    """(N,) bool: wrong given labels that the network predicts; None without true labels.

    Not an outcome: the network may predict the wrong label it was given, whether or not correction
    changed it. The share among wrong labels is `metrics.memorization`.
    """
    return None if true is None else (given != true) & (prediction == given)
