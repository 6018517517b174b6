"""Label issues of a run: which labels are likely wrong, and which changes are proposed.

True labels are never used. Evaluated by tests/benchmarks/bench_label_guard.py.
"""

from dataclasses import dataclass

import numpy as np

from engine.analysis.label_evidence import (
    RunEpoch,
    epoch_history,
    epochs_before_correction,
    mean_pred_probs,
    neighbor_votes,
    recent_pred_probs,
)
from engine.errors import StoreError
from engine.runs.folder import RunFolder

MIN_PROBABILITY = 0.95  # calibrated probability from which a change is proposed
MIN_P_CLEAN = 0.5  # below which the losses contradict a label
# Contradicted labels per label that all evidence contradicts, above which nothing is proposed:
# 1.0 to 1.2 on digits with 5 to 40 % wrong labels, 2.4 and more on 2,000 photos with 0 to 40 %.
MAX_CONTRADICTION_RATIO = 1.5
MAX_UNSEEN_ERRORS = 3  # rule of three: with no error observed, up to 3 are likely (95 %)


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """Label issues after one epoch of a run. N samples, C classes."""

    given: np.ndarray  # (N,) int64
    suggested: np.ndarray  # (N,) int64, the network's most likely class, for a person to check
    pred_probs: np.ndarray  # (N, C) float32, rows sum to 1, the network's average probabilities
    probability: np.ndarray  # (N,) in [0, 1], that of `suggested`, calibrated; 0 where unknown
    p_clean: np.ndarray  # (N,) of the given label, before correction; nan where not known
    quality: np.ndarray  # (N,) in [0, 1], how likely the given label is right
    flagged: np.ndarray  # (S,) int64, suspicious samples, the most suspicious first
    proposed: np.ndarray  # (N,) int64, the label after the proposed changes; else the given label
    soft_argmax: np.ndarray  # (N,) int64, argmax of the soft labels: raw result of correction
    soft_weight: np.ndarray  # (N,) its weight
    estimate: int  # labels that are wrong by all evidence; 0 if chance would explain as many
    warning: str | None  # why no change is proposed though the network contradicts labels

    def confidence(self) -> np.ndarray:
        """(N,) in [0, 1], the network's probability of the suggested label, not calibrated."""
        return self.pred_probs[np.arange(len(self.given)), self.suggested]


def label_issues(run: RunFolder, at: int | None = None) -> LabelIssues:
    """Find label issues from a run folder alone. at: row of the epoch, by default the newest.

    Evidence against a label: the network's average prediction is another class (now, and before
    correction); P(clean) before correction is below 0.5; its neighbors' given labels vote for
    another class. Labels that two of the three contradict are suspicious (`flagged`).

    `proposed` differs from `given` only where all name the same class with a calibrated probability
    of at least 0.95, and nowhere if the network contradicts, or correction changed, more labels
    than the estimate of wrong ones allows; `warning` then says so. Raises StoreError for a run
    without an epoch.
    """
    records = run.epochs
    if not records:
        raise StoreError(f"{run.folder} has no epoch yet")
    epochs = epoch_history(run, len(records) - 1 if at is None else at)
    before = epochs_before_correction(epochs)
    given = run.labels["given"]
    rows = np.arange(len(given))
    soft = np.array(epochs[-1].run.array("soft")[epochs[-1].row])
    pred_probs, votes = mean_pred_probs(epochs), neighbor_votes(epochs, before)
    suggested, soft_argmax = pred_probs.argmax(1), soft.argmax(1)
    p_clean, trusted = _p_clean_before_correction(before, len(given))
    voted = np.isfinite(votes[:, 0])
    majority = np.where(voted, np.nan_to_num(votes).argmax(1), -1)
    probability = calibrated_probability(pred_probs.max(1), majority == suggested, voted)

    by_network, by_losses = suggested != given, (p_clean < MIN_P_CLEAN) & trusted
    by_neighbors = voted & (votes[rows, given] < votes.max(1))
    n_known = 1 + trusted + voted.astype(int)
    flagged = by_network.astype(int) + by_losses + by_neighbors >= np.minimum(n_known, 2)
    supported = by_network & by_losses & (majority == suggested)
    if before:
        supported &= recent_pred_probs(before).argmax(1) == suggested

    self_confidence = pred_probs[rows, given]
    quality = np.where(voted, (self_confidence + votes[rows, given]) / 2, self_confidence)
    suspects = np.flatnonzero(flagged)
    estimate = _estimated_errors(supported, probability)
    contradicted = int((by_network | (soft_argmax != given)).sum())
    warning = None
    if contradicted > MAX_CONTRADICTION_RATIO * estimate:
        n_changed = int((soft_argmax != given).sum())
        warning = _warning(len(given), contradicted, n_changed, int(supported.sum()), before, voted)
    change = supported & (probability >= MIN_PROBABILITY) & (warning is None)
    return LabelIssues(
        given=given,
        suggested=suggested,
        pred_probs=pred_probs,
        probability=probability,
        p_clean=p_clean,
        quality=quality,
        flagged=suspects[np.argsort(quality[suspects], kind="stable")],
        proposed=np.where(change, suggested, given),
        soft_argmax=soft_argmax,
        soft_weight=soft[rows, soft_argmax],
        estimate=estimate,
        warning=warning,
    )


def calibrated_probability(sure: np.ndarray, agrees: np.ndarray, voted: np.ndarray) -> np.ndarray:
    """The network's confidences (N,), calibrated by isotonic regression; 0 if unknown.

    After training on mixed and wrong labels a network is underconfident: at 40 % noise on digits,
    predictions with confidence 0.65 are right in 97 of 100 cases. The target is whether the
    neighbors' majority names the same class (agrees), among samples with neighbors (voted); true
    labels are not used.
    """
    if not voted.any():
        return np.zeros(len(sure))
    from sklearn.isotonic import IsotonicRegression  # late: importing it takes a while

    curve = IsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1)
    curve.fit(sure[voted], agrees[voted].astype(float))
    return np.where(voted, curve.predict(sure), 0.0)


def _p_clean_before_correction(before: list[RunEpoch], n: int) -> tuple[np.ndarray, bool]:
    """P(clean) (N,) of the given labels in the last epoch before correction, and its reliability.

    It is not reliable if the mixture raised a warning, such as for unimodal losses.
    """
    if not before:
        return np.full(n, np.nan, np.float32), False
    last = before[-1]
    return np.array(last.run.array("clean")[last.row]), last.record["mixture"]["warning"] is None


def _estimated_errors(supported: np.ndarray, probability: np.ndarray) -> int:
    """How many labels are wrong; 0 if the network's expected errors would explain as many."""
    expected = MAX_UNSEEN_ERRORS + (1 - probability[probability >= MIN_PROBABILITY]).sum()
    count = int(supported.sum())
    return count if count > expected else 0


def _warning(
    n: int,
    contradicted: int,
    n_changed: int,
    supported: int,
    before: list[RunEpoch],
    voted: np.ndarray,
) -> str:
    """Why nothing is proposed."""
    text = f"No label change is proposed: the network contradicts {contradicted:,} of {n:,} labels"
    if n_changed:
        text += f" (correction changed {n_changed:,})"
    if not before:
        return f"{text}, and there is no epoch before correction to compare with."
    if before[-1].record["mixture"]["warning"]:
        return f"{text}, and P(clean) before correction is not reliable enough to confirm that."
    if not voted.any():
        return f"{text}, and no neighbors are known that could confirm that."
    return (
        f"{text}, but only {supported:,} of them are contradicted by their neighbors and by the "
        "losses before correction as well. Check each label before you change it."
    )
