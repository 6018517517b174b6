"""How many labels are wrong, by the labels of each sample's neighbors, and which class it has.

The vote of a sample's nearest neighbors leaves out its own label, so it cannot have been memorized.
True labels are not used. Two kinds of wrong labels can be told apart from hard images:

- labels of a class that the image does not resemble. Among labels that are wrong at random, the
  image's evidence for the class is that of any image of other classes, so the share of these that
  have less evidence is uniform; for right labels it is near 1. Hence the number below LAMBDA,
  divided by LAMBDA, estimates the number of wrong labels (Storey 2002; with classes as in Scott
  2015, "mixture proportion estimation").
- a class whose images carry another class's labels, but not the other way around. Two classes that
  look alike are confused in both directions.

A share OUTLIERS of all labels is taken off the first number, as outliers among the right ones.
Wrong labels within pairs of classes that look alike, in both directions, are not seen: the estimate
is then too low.
"""

from dataclasses import dataclass

import numpy as np

LAMBDA = 0.25  # of uniform shares, those that count
# Right labels of which the image resembles no other of its class look wrong, too: of 2,000 photos
# without a wrong label (CIFAR-10) 1.2 % by votes of neighbors and 3.6 and 5.0 % (two subsets) by
# those of a linear classifier, of 5,000 3.8 %.
OUTLIERS = {"neighbors": 0.01, "linear": 0.04}
MIN_ONE_WAY = 0.05  # share of a class's images that carry labels of another: less is no pattern
MAX_POINTS = 400_000  # of the calibration
POWERS = (0.25, 1.25)  # least and most sharpening
TINY = 1e-9
MIN_NEIGHBORS, MAX_NEIGHBORS = 5, 20  # that vote on a label


@dataclass(frozen=True, eq=False)
class NoiseEstimate:
    """Wrong labels of a set of N samples and C classes."""

    n_wrong: float  # how many labels are wrong
    interval: tuple[float, float]  # 95 %; the upper limit is without outliers
    by_class: np.ndarray  # (C,) how many of the labels of each class are wrong
    transition: np.ndarray  # (C, C) rows sum to 1: from the true class (row) to the given label


def n_voters(n: int, n_classes: int) -> int:
    """How many neighbors vote among n samples: fewer where classes are small."""
    return min(max(n // (2 * n_classes), MIN_NEIGHBORS), MAX_NEIGHBORS)


def estimate_noise(votes: np.ndarray, given: np.ndarray, voter: str = "neighbors") -> NoiseEstimate:
    """Estimate wrong labels.

    votes: (N, C), rows sum to 1, nan where unknown. given: (N,) int64. voter: whose votes they are,
    a value of the setting vote_from.
    """
    outliers = OUTLIERS[voter]
    n_classes = votes.shape[1]
    voted = np.isfinite(votes[:, 0])
    shares, labels = votes[voted].astype(np.float64), given[voted]
    counts = np.bincount(labels, minlength=n_classes)
    below = _random_labels(shares, labels, n_classes)
    one_way = _one_way(shares, labels, n_classes)
    scale = len(given) / max(len(labels), 1)
    low, high = _interval(below.sum(), len(labels))
    random = np.clip(_pooled(below / LAMBDA, counts) - outliers * counts, 0, counts)
    by_class = np.minimum(np.maximum(random, one_way.sum(0)), counts)
    extra = by_class.sum() - random.sum()
    return NoiseEstimate(
        n_wrong=float(by_class.sum() * scale),
        interval=(
            float((max(low - outliers * len(labels), 0) + extra) * scale),
            float(min(high + extra, len(labels)) * scale),
        ),
        by_class=by_class * scale,
        transition=_transition(by_class, one_way, counts),
    )


def true_class_probability(
    votes: np.ndarray, pred_probs: np.ndarray, given: np.ndarray, noise: NoiseEstimate
) -> np.ndarray:
    """(N, C) P(true class), rows sum to 1, by votes, network and given label; nan without votes.

    Bayes' rule: the class by the image, from calibrated votes and the network's pred_probs (N, C),
    times the estimated probability of the given label for each class. Votes and network are not
    independent: their product is sharpened or softened until as many labels are expected to be
    wrong as estimated.
    """
    voted = np.isfinite(votes[:, 0])
    shares, labels = votes[voted].astype(np.float64), given[voted]
    observed = _calibrated(shares, labels)  # P(given label | image)
    by_votes = np.clip(observed @ np.linalg.pinv(noise.transition), TINY, None)
    evidence = np.log(by_votes) + np.log(pred_probs[voted].clip(1e-6))
    rows, likelihood = np.arange(len(labels)), noise.transition[:, labels].T
    n_wrong = noise.n_wrong * len(labels) / max(len(given), 1)

    def posterior(power: float) -> np.ndarray:
        joint = np.exp(power * (evidence - evidence.max(1, keepdims=True))) * likelihood
        return joint / np.maximum(joint.sum(1, keepdims=True), TINY)

    low, high = POWERS
    for _ in range(12):  # bisection: the sharper, the more labels are contradicted
        power = (low + high) / 2
        expected = (1 - posterior(power)[rows, labels]).sum()
        low, high = (low, power) if expected > n_wrong else (power, high)
    found = np.full(votes.shape, np.nan)
    found[voted] = posterior(low)
    return found


def _random_labels(shares: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """(C,) how many labels have a share of less evident images of other classes below LAMBDA.

    Of ties the expected number counts. Other classes: by label and by vote.
    """
    below, best = np.zeros(n_classes), shares.argmax(1)
    for c in range(n_classes):
        own, others = labels == c, (labels != c) & (best != c)
        if not own.any() or not others.any():
            continue
        reference = np.sort(shares[others, c])
        low, high = (
            np.searchsorted(reference, shares[own, c], side) / len(reference)
            for side in ("left", "right")
        )
        below[c] = np.clip((LAMBDA - low) / np.maximum(high - low, TINY), 0, 1).sum()
    return below


def _pooled(wrong: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(C,) estimated numbers of wrong labels, moved toward the rate of all classes together.

    The fewer labels a class has, the less its own number says: at extreme noise it may exceed the
    wrong labels by so much that none of the class would be left. Each class's rate keeps the share
    of its variance between classes (Efron and Morris 1975).
    """
    counts = np.maximum(counts, 1)
    rates, rate = wrong / counts, wrong.sum() / counts.sum()
    low = np.clip(rate * LAMBDA, 0, 1)  # the share of labels below LAMBDA
    errors = low * (1 - low) / (LAMBDA**2 * counts)
    between = max(float(np.mean((rates - rate) ** 2 - errors)), 0.0)
    kept = between / np.maximum(between + errors, TINY)
    return (rate + kept * (rates - rate)) * counts


def _one_way(shares: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """(C, C) how many labels of a class (column) images of another (row) carry, beyond mutual ones.

    The lower quartile of the neighbors' labels, less the median of the opposite direction.
    """
    best = shares.argmax(1)
    # a small class has few labels to be confused with
    balanced = shares / np.maximum(np.bincount(labels, minlength=n_classes), 1)
    balanced /= balanced.sum(1, keepdims=True)
    quartile, median = np.zeros((2, n_classes, n_classes))
    voted = np.bincount(best, minlength=n_classes)
    for c in np.flatnonzero(voted):
        quartile[c], median[c] = np.quantile(balanced[best == c], [0.25, 0.5], axis=0)
    excess = quartile - median.T
    np.fill_diagonal(excess, 0)
    excess[excess < MIN_ONE_WAY] = 0
    carried = np.zeros((n_classes, n_classes))
    np.add.at(carried, (best, labels), 1)
    return np.minimum(excess * voted[:, None], carried)


def _interval(count: float, n: int) -> tuple[float, float]:
    """95 % interval of the number of wrong labels (Clopper and Pearson 1934)."""
    from scipy.stats import beta  # late: importing it takes a while

    low = beta.ppf(0.025, count, n - count + 1) if count > TINY else 0.0
    high = beta.ppf(0.975, count + 1, n - count) if count < n else 1.0
    return low * n / LAMBDA, min(high / LAMBDA, 1.0) * n


def _transition(by_class: np.ndarray, one_way: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(C, C) P(given label | true class): random wrong labels from any class, others from one."""
    n_classes = len(counts)
    random = np.maximum(by_class - one_way.sum(0), 0)
    others = np.maximum(counts.sum() - counts, 1)
    moved = one_way + (counts[:, None] / others) * random
    np.fill_diagonal(moved, 0)
    right = np.maximum(counts - by_class, 0.5)
    joint = moved + np.diag(right)
    return joint / joint.sum(1, keepdims=True) if n_classes > 1 else np.ones((1, 1))


def _calibrated(shares: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N, C) the votes, so that of labels voted for with p, a share p is given (isotonic)."""
    from sklearn.isotonic import IsotonicRegression  # late: importing it takes a while

    hits = (labels[:, None] == np.arange(shares.shape[1])).ravel().astype(float)
    some = slice(None, None, -(-hits.size // MAX_POINTS))
    curve = IsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1)
    curve.fit(shares.ravel()[some], hits[some])
    observed = curve.predict(shares.ravel()).reshape(shares.shape) + TINY
    return observed / observed.sum(1, keepdims=True)
