"""Label issues of a run: which labels are likely wrong, and which changes are proposed.

True labels are never used. Evaluated by tests/benchmarks/bench_label_guard.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.analysis.label_evidence import (
    RunEpoch,
    epoch_history,
    epochs_before_correction,
    evidence_epochs,
    log_likelihood,
    mean_pred_probs,
    neighbor_votes,
)
from engine.errors import StoreError
from engine.method.noise_estimate import (
    TINY,
    NoiseEstimate,
    estimate_noise,
    n_voters,
    true_class_probability,
)
from engine.runs.folder import RunFolder

DECISIONS = KEEP, CHANGE, REVIEW = "keep", "change", "review"
MAX_DOUBTED = 0.01  # share of labels that are flagged where possibly none is wrong
MIN_PROBABILITY = 0.6  # of the suggested class, from which a change is proposed


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """Label issues after one epoch of a run. N samples, C classes."""

    given: np.ndarray  # (N,) int64
    suggested: np.ndarray  # (N,) int64, the most likely class by network and neighbors
    pred_probs: np.ndarray  # (N, C) float32, rows sum to 1, the network's average probabilities
    # (N, C) float32, rows sum to 1, of the neighbors' given labels or of the linear classifier
    # (setting vote_from); nan where unknown
    votes: np.ndarray
    probability: np.ndarray  # (N,) in [0, 1], that `suggested` is the true class; nan where unknown
    p_clean: np.ndarray  # (N,) of the given label, before correction; nan where not known
    quality: np.ndarray  # (N,) in [0, 1], a score: the higher, the more likely is the given label
    flagged: np.ndarray  # (S,) int64, samples with a label issue, the most suspicious first
    proposed: np.ndarray  # (N,) int64, the label after the proposed changes; else the given label
    soft_argmax: np.ndarray  # (N,) int64, argmax of the soft labels: raw result of correction
    soft_weight: np.ndarray  # (N,) its weight
    noise: NoiseEstimate | None  # how many labels are wrong; None where that is not known
    warning: str | None  # why no change is proposed, one sentence
    judge: str = "network"  # whose probabilities they are, in sentences
    voter: str = "neighbors"  # whose votes they are, a value of the setting vote_from

    def confidence(self) -> np.ndarray:
        """(N,) in [0, 1], the network's probability of the suggested label, not calibrated."""
        return self.pred_probs[np.arange(len(self.given)), self.suggested]

    def decisions(self) -> np.ndarray:
        """(N,) of DECISIONS: "change" where a change is proposed, "review" where flagged."""
        decisions = np.full(len(self.given), KEEP, dtype=object)
        decisions[self.flagged] = REVIEW
        decisions[self.proposed != self.given] = CHANGE
        return decisions

    def estimate(self) -> str:
        """How many labels are wrong, in words."""
        if self.noise is None:
            return "How many labels are wrong is not known."
        low, high = (round(limit) for limit in self.noise.interval)
        n = len(self.given)
        return (
            f"About {round(self.noise.n_wrong):,} of {n:,} labels are wrong (95 % interval {low:,} "
            f"to {high:,}), not counting classes that look alike and were confused."
        )

    def reason(self, sample: int, classes: Sequence[str]) -> str:
        """Why the label of a sample is doubted, one sentence; empty where it is not."""
        if sample not in self.flagged:
            return ""
        given, other = int(self.given[sample]), int(self.suggested[sample])
        network, votes = self.pred_probs[sample], self.votes[sample]
        text = (
            f"The {self.judge} sees {classes[other]} ({_percent(network[other])}) rather than "
            f"{classes[given]} ({_percent(network[given])})"
        )
        if self.judge != "network":
            return f"{text}."
        if np.isnan(votes[given]):
            return f"{text}; no similar images are known."
        if self.voter == "linear":
            return (
                f"{text}; a linear classifier fitted to all other labels gives {classes[other]} "
                f"({_percent(votes[other])}) and {classes[given]} ({_percent(votes[given])})."
            )
        return (
            f"{text}, and of the most similar images {_percent(votes[other])} are labeled "
            f"{classes[other]}, {_percent(votes[given])} {classes[given]}."
        )


@dataclass(frozen=True, eq=False)
class Judgment:
    """What the evidence says of N given labels; the fields of the same names in `LabelIssues`."""

    suggested: np.ndarray
    quality: np.ndarray
    probability: np.ndarray
    flagged: np.ndarray
    proposed: np.ndarray
    noise: NoiseEstimate | None


def label_issues(
    run: RunFolder, at: int | None = None, probabilities: np.ndarray | None = None
) -> LabelIssues:
    """Find label issues from a run folder. at: row of the epoch, by default the newest.

    probabilities: (N, C) of a model of one's own, preferably out-of-sample, rows sum to 1. They
    count as much as the network: the geometric mean of both.

    All evidence is from the epochs before correction (see `evidence_epochs`), so what correction
    did to the labels cannot confirm itself: the network's probability of the given label, averaged
    over epochs, and the given labels of the nearest neighbors or, with vote_from linear, a
    classifier fitted without the label. Their geometric mean, relative to that of the labels of
    its class which they confirm, is `quality`.

    `noise` estimates how many labels of each class are wrong. As many are flagged, those with the
    lowest quality, where network and neighbors together contradict the label. `proposed` differs
    from `given` only for flagged labels for which another class has a probability of at least
    MIN_PROBABILITY (see `true_class_probability`) and the network predicts that class, and nowhere
    if there may be no wrong label at all; then at most MAX_DOUBTED are flagged, and `warning` says
    so. Raises StoreError for a run without an epoch.
    """
    records = run.epochs
    if not records:
        raise StoreError(f"{run.folder} has no epoch yet")
    epochs = epoch_history(run, len(records) - 1 if at is None else at)
    before, judged = epochs_before_correction(epochs), evidence_epochs(epochs)
    given = run.labels["given"]
    rows = np.arange(len(given))
    soft = np.array(epochs[-1].run.array("soft")[epochs[-1].row])
    soft_argmax = soft.argmax(1)
    spoken = judged or epochs[-1:]
    pred_probs, votes = mean_pred_probs(spoken), neighbor_votes(spoken)
    likelihood = np.exp(log_likelihood(judged)) if judged else pred_probs[rows, given]
    if probabilities is not None:
        pred_probs = _geometric_mean(pred_probs, probabilities)
        likelihood = np.sqrt(likelihood * probabilities[rows, given])
    who = run.config.voter(len(given))
    found = judge(given, pred_probs, votes, likelihood, estimated=bool(judged), voter=who)
    return LabelIssues(
        given=given,
        pred_probs=pred_probs,
        votes=votes,
        p_clean=_p_clean(before, len(given)),
        soft_argmax=soft_argmax,
        soft_weight=soft[rows, soft_argmax],
        warning=_warning(bool(judged), found.noise, bool((found.proposed != given).any())),
        voter=who,
        **vars(found),
    )


def probability_issues(given: np.ndarray, probabilities: np.ndarray) -> LabelIssues:
    """Find label issues from predicted probabilities alone, without a run.

    given: (N,) int64. probabilities: (N, C), preferably out-of-sample, rows sum to 1. They take the
    place of network and neighbors in `label_issues`.
    """
    n, rows = len(given), np.arange(len(given))
    likelihood = probabilities[rows, given]
    found = judge(given, probabilities, probabilities, likelihood, smooth=False)
    return LabelIssues(
        given=given,
        pred_probs=probabilities,
        votes=np.full(probabilities.shape, np.nan, np.float32),
        p_clean=np.full(n, np.nan, np.float32),
        soft_argmax=given,
        soft_weight=np.ones(n, np.float32),
        judge="model",
        warning=_warning(True, found.noise, bool((found.proposed != given).any())),
        **vars(found),
    )


def judge(
    given: np.ndarray,
    pred_probs: np.ndarray,
    votes: np.ndarray,
    likelihood: np.ndarray,
    *,
    estimated: bool = True,
    smooth: bool = True,
    voter: str = "neighbors",
) -> Judgment:
    """Judge given labels (N,) int64 by network and neighbors, see `label_issues`.

    pred_probs, votes: (N, C), rows sum to 1; votes nan where unknown. likelihood: (N,) in [0, 1],
    the probability of the given label. estimated: whether votes tell how many labels are wrong.
    smooth: votes are of a few neighbors, or as uncertain. voter: see `estimate_noise`.
    """
    rows, voted = np.arange(len(given)), np.isfinite(votes[:, 0])
    smoothed = _smoothed(votes, n_voters(*votes.shape)) if smooth else votes
    suggested = (pred_probs * smoothed).argmax(1)
    quality = _by_class(np.sqrt(likelihood * smoothed[rows, given]), given, suggested == given)
    noise = estimate_noise(votes, given, voter) if estimated and voted.any() else None
    flagged, probability, proposed = rows[:0], np.full(len(given), np.nan), given
    if noise is not None:
        by_class, maybe_none = noise.by_class, noise.interval[0] < 1
        if maybe_none and noise.n_wrong > MAX_DOUBTED * len(given):
            by_class = by_class * (MAX_DOUBTED * len(given) / noise.n_wrong)
        flagged = _most_suspicious(quality, given, suggested != given, by_class)
        posterior = true_class_probability(votes, pred_probs, given, noise)
        probability = posterior[rows, suggested]
        change = np.isin(rows, flagged) & (probability >= MIN_PROBABILITY)
        change &= (pred_probs.argmax(1) == suggested) & (not maybe_none)
        proposed = np.where(change, suggested, given)
    return Judgment(suggested, quality, probability, flagged, proposed, noise)


def _geometric_mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of probabilities (N, C), rows sum to 1."""
    mean = np.sqrt(a.clip(TINY) * b.clip(TINY))
    return (mean / mean.sum(1, keepdims=True)).astype(np.float32)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _smoothed(votes: np.ndarray, k: int) -> np.ndarray:
    """(N, C) votes of k neighbors with half a vote more for each class; equal where unknown."""
    n_classes = votes.shape[1]
    known = np.where(np.isfinite(votes), votes, 1 / n_classes)
    return (k * known + 0.5) / (k + 0.5 * n_classes)


def _by_class(score: np.ndarray, given: np.ndarray, agreed: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: the score of each label, relative to that of agreed labels of its class.

    The mean score of those is the class's threshold in confident learning (Northcutt et al. 2021).
    """
    relative = score.copy()
    for c in np.unique(given[agreed]):
        relative[given == c] /= score[agreed & (given == c)].mean()
    return relative.clip(max=1)


def _most_suspicious(
    quality: np.ndarray, given: np.ndarray, contradicted: np.ndarray, by_class: np.ndarray
) -> np.ndarray:
    """Of each class, the contradicted labels of lowest quality, as many as are wrong; sorted."""
    chosen = []
    for c, n_wrong in enumerate(by_class):
        samples = np.flatnonzero((given == c) & contradicted)
        chosen.append(samples[np.argsort(quality[samples], kind="stable")][: round(n_wrong)])
    suspects = np.concatenate(chosen)
    return suspects[np.argsort(quality[suspects], kind="stable")]


def _p_clean(before: list[RunEpoch], n: int) -> np.ndarray:
    """P(clean) (N,) of the given labels in the last epoch before correction; nan without one."""
    if not before:
        return np.full(n, np.nan, np.float32)
    return before[-1].run.row("clean", before[-1].row)


def _warning(judged: bool, noise: NoiseEstimate | None, proposes: bool) -> str | None:
    """Why nothing is proposed. judged: whether there was evidence on the given labels."""
    if proposes:
        return None
    text = "No label change is proposed:"
    if not judged:
        return f"{text} there is no epoch before correction, so nothing speaks of the given labels."
    if noise is None:
        return f"{text} no neighbors are known that could confirm what the network says."
    if noise.interval[0] < 1:
        return (
            f"{text} there may be no wrong label at all, or only labels of classes that look alike."
        )
    return (
        f"{text} another class is not probable enough for any label. Check each label before you "
        "change it."
    )
