"""Which labels of a run look wrong, and what they should be: one answer for all who ask.

The decision never looks at true labels. Figures: tests/benchmarks/bench_label_guard.py.
"""

from dataclasses import dataclass

import numpy as np

from engine.analysis.label_evidence import (
    Moment,
    average_prediction,
    before_correction,
    history,
    likelihoods,
    neighbor_votes,
)
from engine.errors import StoreError
from engine.runs.folder import RunFolder

SURE = 0.95  # calibrated probability from which a change is proposed
CLEAN = 0.5  # P(clean) below which the losses speak against a label
# Contradicted labels for each one that all evidence contradicts, above which nothing is proposed:
# 1.0 to 1.2 on digits with 5 to 40 % wrong labels, 2.4 and more on 2,000 photos with 0 to 40 %.
ALLOWED = 1.5
RULE_OF_THREE = 3  # errors that may hide where none was seen (95 %)


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """What one epoch of a run says of all given labels. N samples, C classes."""

    given: np.ndarray  # (N,) int64
    suggested: np.ndarray  # (N,) int64, the network's most likely class, to be looked at
    likelihood: np.ndarray  # (N, C) float32, rows sum to 1, what the network said on average
    probability: np.ndarray  # (N,) in [0, 1], that of `suggested`, calibrated; 0 where unknown
    p_clean: np.ndarray  # (N,) of the given label, before correction; nan where not known
    quality: np.ndarray  # (N,) in [0, 1], how likely the given label is right
    flagged: np.ndarray  # (S,) int64, suspicious samples, the most suspicious first
    proposed: np.ndarray  # (N,) int64, what to change labels to unseen; else the given label
    moved: np.ndarray  # (N,) int64, largest class of the soft labels: raw end state of correction
    moved_weight: np.ndarray  # (N,) its weight
    estimate: int  # labels that are wrong by all evidence; 0 if no more than errors would explain
    warning: str | None  # why no change is proposed though the network contradicts labels

    def sure(self) -> np.ndarray:
        """(N,) likelihood of the suggested label, in [0, 1], as the network said it."""
        return self.likelihood[np.arange(len(self.given)), self.suggested]


def label_issues(run: RunFolder, at: int | None = None) -> LabelIssues:
    """Judge every given label by the run folder alone; at: row of the epoch, by default the newest.

    Evidence against a label: the network's average prediction is another class (now, and before
    correction); P(clean) before correction is below 0.5; its neighbors' given labels vote for
    another class. Suspicious (`flagged`) are labels that two of the three speak against.

    `proposed` differs from `given` only where all name the same class with a calibrated probability
    of at least 0.95, and nowhere if the network contradicts, or correction moved, more labels than
    the estimate of wrong ones allows; `warning` then says so. Raises StoreError without an epoch.
    """
    records = run.epochs
    if not records:
        raise StoreError(f"{run.folder} has no epoch yet")
    moments = history(run, len(records) - 1 if at is None else at)
    before = before_correction(moments)
    given = run.labels["given"]
    rows = np.arange(len(given))
    soft = np.array(moments[-1].run.array("soft")[moments[-1].row])
    likelihood, votes = likelihoods(moments), neighbor_votes(moments, before)
    suggested, moved = likelihood.argmax(1), soft.argmax(1)
    p_clean, trusted = _clean_before(before, len(given))
    voted = np.isfinite(votes[:, 0])
    elected = np.where(voted, np.nan_to_num(votes).argmax(1), -1)
    probability = calibrated(likelihood.max(1), elected == suggested, voted)

    by_network, by_losses = suggested != given, (p_clean < CLEAN) & trusted
    by_neighbors = voted & (votes[rows, given] < votes.max(1))
    known = 1 + trusted + voted.astype(int)
    flagged = by_network.astype(int) + by_losses + by_neighbors >= np.minimum(known, 2)
    supported = by_network & by_losses & (elected == suggested)
    if before:
        supported &= average_prediction(before).argmax(1) == suggested

    own = likelihood[rows, given]
    quality = np.where(voted, (own + votes[rows, given]) / 2, own)
    suspects = np.flatnonzero(flagged)
    estimate = _estimate(supported, probability)
    contradicted = int((by_network | (moved != given)).sum())
    warning = None
    if contradicted > ALLOWED * estimate:
        n_moved = int((moved != given).sum())
        warning = _why(len(given), contradicted, n_moved, int(supported.sum()), before, voted)
    change = supported & (probability >= SURE) & (warning is None)
    return LabelIssues(
        given=given,
        suggested=suggested,
        likelihood=likelihood,
        probability=probability,
        p_clean=p_clean,
        quality=quality,
        flagged=suspects[np.argsort(quality[suspects], kind="stable")],
        proposed=np.where(change, suggested, given),
        moved=moved,
        moved_weight=soft[rows, moved],
        estimate=estimate,
        warning=warning,
    )


def calibrated(sure: np.ndarray, agrees: np.ndarray, voted: np.ndarray) -> np.ndarray:
    """The network's probabilities (N,) as shares of hits, by isotonic regression; 0 if unknown.

    What a network says after training on mixed and wrong labels is no probability: at 40 % noise it
    says 0.65 on digits and is right in 97 of 100. A hit is a sample whose neighbors elect the same
    class (agrees), among those that have neighbors (voted); no true label is asked.
    """
    if not voted.any():
        return np.zeros(len(sure))
    from sklearn.isotonic import IsotonicRegression  # late: importing it takes a while

    curve = IsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1)
    curve.fit(sure[voted], agrees[voted].astype(float))
    return np.where(voted, curve.predict(sure), 0.0)


def _clean_before(before: list[Moment], n: int) -> tuple[np.ndarray, bool]:
    """P(clean) (N,) of the given labels in the last epoch before correction, and whether it counts.

    It does not where the mixture had its doubts, such as losses with a single peak.
    """
    if not before:
        return np.full(n, np.nan, np.float32), False
    last = before[-1]
    return np.array(last.run.array("clean")[last.row]), last.record["mixture"]["warning"] is None


def _estimate(supported: np.ndarray, probability: np.ndarray) -> int:
    """How many labels are wrong, if more than a network this sure may be mistaken about."""
    expected = RULE_OF_THREE + (1 - probability[probability >= SURE]).sum()
    count = int(supported.sum())
    return count if count > expected else 0


def _why(
    n: int, contradicted: int, n_moved: int, supported: int, before: list[Moment], voted: np.ndarray
) -> str:
    """Why nothing is proposed."""
    text = f"No label change is proposed: the network contradicts {contradicted:,} of {n:,} labels"
    if n_moved:
        text += f" (correction moved {n_moved:,})"
    if not before:
        return f"{text}, and no epoch before correction is there to compare with."
    if before[-1].record["mixture"]["warning"]:
        return f"{text}, and P(clean) before correction is not reliable enough to confirm that."
    if not voted.any():
        return f"{text}, and no neighbors are known that could confirm it."
    return (
        f"{text}, but only {supported:,} of them are contradicted by their neighbors and by the "
        "losses before correction as well. Look at each label before you change it."
    )
