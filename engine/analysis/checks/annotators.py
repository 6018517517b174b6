"""Several annotators' labels of the same samples: agreement, consensus, and who is reliable."""

from dataclasses import dataclass

import numpy as np

from engine.analysis.checks.report import Check, Table, check, count, percent, skipped
from engine.analysis.checks.samples import Samples

MISSING = -1
MAX_ITERATIONS, TOLERANCE = 100, 1e-5
PRIOR = 1.0  # labels added to a row of each annotator's matrix, spread as all annotators' are
SURE = 0.9  # probability of a consensus label that differs from the given one
TITLE = "Agreement of the annotators"


@dataclass(frozen=True, eq=False)
class Consensus:
    """The labels of N samples by A annotators, brought together."""

    majority: np.ndarray  # (N,) int64, the most frequent label, MISSING without any
    tied: np.ndarray  # (N,) bool, where several are
    probability: np.ndarray  # (N, C) of each class by Dawid and Skene; equal without a label
    accuracy: np.ndarray  # (A,) share of an annotator's labels expected to be right; nan for none
    agreement: float  # share of pairs of labels of one sample that are equal; nan without pairs
    kappa: float  # the same beyond chance: 1 all agree, 0 as by chance (Fleiss 1971)


def dawid_skene(votes: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """True classes and annotators' confusion by expectation maximization (Dawid and Skene 1979).

    votes: (N, A) int64 in 0..C-1, MISSING where there is none. Returns probabilities (N, C), rows
    sum to 1, and confusion (A, C, C): P(label | true class) of each annotator. Starts from the
    shares of the votes. Each annotator's matrix is drawn toward that of all by PRIOR labels, so
    that one of few labels is not taken for perfect.
    """
    from scipy.sparse import csr_array

    n, n_annotators = votes.shape
    items, who = np.nonzero(votes != MISSING)
    what = votes[items, who]
    cells = who * n_classes + what
    given = csr_array((np.ones(len(items)), (items, cells)), (n, n_annotators * n_classes))
    shares = np.zeros((n, n_classes))
    np.add.at(shares, (items, what), 1)
    shares = (shares + 1e-9) / (shares + 1e-9).sum(1, keepdims=True)
    confusion = np.zeros((n_annotators, n_classes, n_classes))
    for _ in range(MAX_ITERATIONS):
        joint = (given.T @ shares).reshape(n_annotators, n_classes, n_classes)  # label, true
        pooled = joint.sum(0) + 0.01
        joint = joint + PRIOR * pooled / pooled.sum(0)
        confusion = (joint / joint.sum(1, keepdims=True)).transpose(0, 2, 1)
        log = given @ np.log(confusion).transpose(0, 2, 1).reshape(-1, n_classes)
        log += np.log(shares.mean(0) + 1e-12)
        posterior = np.exp(log - log.max(1, keepdims=True))
        posterior /= posterior.sum(1, keepdims=True)
        change, shares = np.abs(posterior - shares).max(initial=0), posterior
        if change < TOLERANCE:
            break
    return shares, confusion


def consensus(votes: np.ndarray, n_classes: int) -> Consensus:
    """Majority, Dawid-Skene and agreement of votes (N, A) int64, MISSING where there is none."""
    counts = np.zeros((len(votes), n_classes))
    items, who = np.nonzero(votes != MISSING)
    what = votes[items, who]
    np.add.at(counts, (items, what), 1)
    total = counts.sum(1)
    top = counts.max(1, initial=0)
    tied = (counts == top[:, None]).sum(1) > 1
    probability, _ = dawid_skene(votes, n_classes)
    right = np.bincount(who, probability[items, what], votes.shape[1])
    n_labels = np.bincount(who, minlength=votes.shape[1])
    several = total > 1
    pairs = (counts * (counts - 1)).sum(1)[several] / (total * (total - 1))[several]
    agreement = float(pairs.mean()) if several.any() else float("nan")
    by_chance = float(np.square(counts.sum(0) / max(total.sum(), 1)).sum())
    return Consensus(
        majority=np.where(total > 0, counts.argmax(1), MISSING),
        tied=tied & (total > 0),
        probability=probability,
        accuracy=np.where(n_labels > 0, right / np.maximum(n_labels, 1), np.nan),
        agreement=agreement,
        kappa=(agreement - by_chance) / (1 - by_chance) if by_chance < 1 else 1.0,
    )


def annotator_check(
    samples: Samples, votes: np.ndarray | None, annotators: tuple[str, ...] = ()
) -> Check:
    """Agreement, and samples whose given label is not the consensus.

    votes: (M, A) int64 classes, MISSING where there is none; None without annotators' labels.
    """
    kind = "annotators"
    if votes is None or (votes != MISSING).sum(1).max(initial=0) < 2:
        why = "No sample has the labels of several annotators."
        return skipped(kind, TITLE, why)
    found = consensus(votes, len(samples.classes))
    best = found.probability.argmax(1)
    sure = found.probability.max(1)
    labeled = (votes != MISSING).any(1)
    items = []
    for row in np.flatnonzero(labeled & ((best != samples.labels) | found.tied)).tolist():
        other = int(best[row])
        if other != samples.labels[row] and sure[row] >= SURE:
            text = f"consensus {samples.classes[other]} ({percent(float(sure[row]))})"
            items.append(samples.item([row], text, 1 + sure[row], other))
        elif found.tied[row]:
            names = np.unique(votes[row][votes[row] != MISSING])
            text = f"no majority: {' or '.join(samples.classes[c] for c in names)}"
            items.append(samples.item([row], text, 1 - sure[row], other))
    n_tied = int((found.tied & labeled).sum())
    differ = int(((best != found.majority) & labeled & ~found.tied).sum())
    table = Table(
        ("annotator", "labels", "estimated right"),
        tuple(
            (
                annotators[a] if annotators else str(a + 1),
                f"{(votes[:, a] != MISSING).sum():,}",
                "-" if np.isnan(accuracy) else percent(float(accuracy)),
            )
            for a, accuracy in sorted(enumerate(found.accuracy), key=lambda pair: pair[1])
        ),
    )
    text = (
        f"{percent(found.agreement)} of the pairs of labels of one sample agree (kappa "
        f"{found.kappa:.2f}). {count(n_tied, 'sample has', 'samples have')} no majority; for "
        f"{differ:,} Dawid-Skene and the majority differ."
    )
    return check(kind, TITLE, items, text, text, "warning", table)
