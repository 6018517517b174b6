"""Which labels look wrong, in every part; classes that are confused; a health score.

Without a run, labels are judged by two simple views of each sample that have not seen its own
label: the labels of its nearest neighbors, and logistic regression on samples of other folds.
Their product found wrong labels better than either alone (see engine/README.md). With a run, its
network judges instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.analysis.checks.features import Space
from engine.analysis.checks.report import Check, Item, Table, check, count, percent, skipped
from engine.analysis.checks.samples import Samples
from engine.method.noise_estimate import NoiseEstimate, estimate_noise, n_voters

if TYPE_CHECKING:
    from engine.runs.folder import RunFolder

N_FOLDS = 3
REGULARIZATION = 0.05  # C of logistic regression: with 1, wrong labels were memorized
MAX_ITERATIONS = 60
MOST_WORK = 3e9  # samples x features x classes, above which the neighbors judge alone
MIN_CLASS_SIZE = 5  # labels of a class, below which they are not judged
# A classifier that predicts less than this share of the labels estimated to be right, both beyond
# chance, knows too little. With weak features that estimate is too low as well, hence a floor.
MIN_AGREEMENT, MIN_RIGHT = 0.75, 0.6
SURE = 0.9  # probability of another class, from which a weak classifier is listened to
CLOSE = 0.75  # probability of the second class, relative to the first, of an ambiguous sample
MIN_CONFUSED = 0.05  # share of two classes that is confused, from which on it is said
MOST_PAIRS = 12

ISSUES, AMBIGUOUS = "Labels that look wrong", "Ambiguous samples"
CONFUSED, QUALITY = "Classes that are confused", "Label quality of each class"


@dataclass(frozen=True, eq=False)
class Judgment:
    """What M labels look like to a classifier that did not learn them."""

    pred_probs: np.ndarray  # (M, C), rows sum to 1
    flagged: np.ndarray  # (S,) int64, samples whose labels look wrong
    noise: NoiseEstimate | None  # None where it is not known
    estimated: np.ndarray  # (n,) samples that noise speaks of
    weak: bool  # the classifier knows too little to count wrong labels
    agreement: float  # share of labels that it predicts
    method: str  # what judged, one sentence


def judge(samples: Samples, space: Space, groups: np.ndarray) -> Judgment | None:
    """Judge all labels by neighbors and logistic regression; None if there is only one class.

    groups: (M,) int64, equal for duplicates, which are always in one fold.
    """
    labels, n_classes = samples.labels, len(samples.classes)
    if len(np.unique(labels)) < 2 or len(labels) < 2 * N_FOLDS:
        return None
    k = min(n_voters(len(labels), n_classes), space.neighbors.shape[1])
    votes = _votes(labels, space.neighbors[:, :k], groups, n_classes)
    pred_probs = _smoothed(votes, k)
    method = f"the labels of the {k} nearest neighbors"
    if len(labels) * space.features.shape[1] * n_classes <= MOST_WORK:
        learned = _out_of_fold(space.features, labels, groups, n_classes)
        pred_probs = _normalized(pred_probs * learned)
        method = f"{N_FOLDS}-fold logistic regression and {method}"
    space_words = "simple image features" if samples.has_images else "the given features"
    return judged(labels, pred_probs, votes, f"Labels were judged by {method}, on {space_words}.")


def judged(labels: np.ndarray, pred_probs: np.ndarray, votes: np.ndarray, method: str) -> Judgment:
    """The labels (M,) that look wrong by pred_probs and votes (M, C), rows of which sum to 1."""
    noise = estimate_noise(votes, labels)
    agreement = float((pred_probs.argmax(1) == labels).mean())
    right = 1 - noise.n_wrong / len(labels)
    chance = float(np.square(np.bincount(labels) / len(labels)).sum())
    weak = agreement - chance < MIN_AGREEMENT * (max(right, MIN_RIGHT) - chance)
    score = pred_probs[np.arange(len(labels)), labels]
    doubted = pred_probs.argmax(1) != labels
    doubted &= np.bincount(labels, minlength=pred_probs.shape[1])[labels] >= MIN_CLASS_SIZE
    if weak:
        doubted &= pred_probs.max(1) >= SURE
    flagged = [
        rows[np.argsort(score[rows], kind="stable")][: round(n_wrong)]
        for c, n_wrong in enumerate(noise.by_class)
        if len(rows := np.flatnonzero(doubted & (labels == c)))
    ]
    found = np.concatenate([np.empty(0, np.int64), *flagged])
    order, everyone = np.argsort(score[found], kind="stable"), np.arange(len(labels))
    return Judgment(pred_probs, found[order], noise, everyone, weak, agreement, method)


def judge_by_run(samples: Samples, quick: Judgment | None, run: "RunFolder") -> Judgment:
    """Judge training labels by a run, and other parts by its network where that is stored."""
    from engine.analysis.label_issues import label_issues

    issues = label_issues(run)
    train, others = samples.rows_of("train"), np.flatnonzero(samples.part_of > 0)
    n_classes = len(samples.classes)
    votes = np.where(np.isfinite(issues.votes), issues.votes, 1 / n_classes)
    own = _normalized(issues.pred_probs * _smoothed(votes, n_voters(*votes.shape)))
    method = f"Training labels were judged by the run {run.folder.name}"
    pred_probs = np.full((len(samples.labels), n_classes), 1 / n_classes)
    pred_probs[train], flagged = own, [train[issues.flagged]]
    if len(others):
        predicted = _predicted(samples, run)
        if predicted is not None:
            pred_probs[others] = predicted
            method += ", those of the other parts by its network"
            views = quick.pred_probs[others] if quick else predicted
            other = judged(samples.labels[others], _normalized(predicted * views), views, "")
            flagged.append(others[other.flagged])
        elif quick:
            pred_probs[others] = quick.pred_probs[others]
            flagged.append(quick.flagged[np.isin(quick.flagged, others)])
            method += ", which keeps no network; those of the other parts by simple features"
    agreement = float((own.argmax(1) == samples.labels[train]).mean())
    return Judgment(
        pred_probs, np.concatenate(flagged), issues.noise, train, False, agreement, f"{method}."
    )


def label_checks(samples: Samples, judgment: Judgment | None) -> list[Check]:
    """Label issues, ambiguous samples, confused classes and the quality of each class."""
    if judgment is None:
        why = "Labels cannot be judged: that takes at least two classes and a few samples of each."
        kinds = ("label_issues", "ambiguous", "confused_classes", "class_quality")
        titles = (ISSUES, AMBIGUOUS, CONFUSED, QUALITY)
        return [skipped(kind, title, why) for kind, title in zip(kinds, titles, strict=True)]
    return [
        _issues(samples, judgment),
        _ambiguous(samples, judgment),
        _confused(samples, judgment),
        _quality(samples, judgment),
    ]


def health(judgment: Judgment | None) -> float | None:
    """The estimated share of right labels; None where the classifier knows too little."""
    if judgment is None or judgment.noise is None or judgment.weak:
        return None
    return float(max(0.0, 1 - judgment.noise.n_wrong / len(judgment.estimated)))


def _issues(samples: Samples, judgment: Judgment) -> Check:
    items = []
    for index in judgment.flagged.tolist():
        given, probabilities = int(samples.labels[index]), judgment.pred_probs[index]
        other = int(np.where(np.arange(len(probabilities)) == given, -1, probabilities).argmax())
        text = f"looks like {samples.classes[other]} ({percent(float(probabilities[other]))})"
        items.append(samples.item([index], text, 1 - probabilities[given], other))
    by_part = [
        f"{n:,} in {part}"
        for number, part in enumerate(samples.parts)
        if (n := int((samples.part_of[judgment.flagged] == number).sum()))
    ]
    found = f"{count(len(items), 'label')} of {len(samples.labels):,}: {', '.join(by_part)}."
    nothing = "No label looks wrong."
    if judgment.weak:
        weak = (
            f" The simple classifier predicts only {percent(judgment.agreement)} of the labels, so "
            "how many are wrong is not known; a run judges them better."
        )
        found, nothing = found + weak, f"No label looks wrong for sure.{weak}"
    return check(
        "label_issues", ISSUES, items, found, nothing, "note" if judgment.weak else "error"
    )


def _ambiguous(samples: Samples, judgment: Judgment) -> Check:
    if judgment.weak:
        why = (
            f"The simple classifier predicts only {percent(judgment.agreement)} of the labels: "
            "most samples would be ambiguous to it."
        )
        return skipped("ambiguous", AMBIGUOUS, why)
    order = np.argsort(-judgment.pred_probs, axis=1, kind="stable")[:, :2]
    first, second = np.take_along_axis(judgment.pred_probs, order, 1).T
    close = (second >= CLOSE * first) & (order == samples.labels[:, None]).any(1)
    close[judgment.flagged] = False
    items: list[Item] = []
    for index in np.flatnonzero(close).tolist():
        a, b = (samples.classes[c] for c in order[index])
        text = f"{a} ({percent(first[index])}) or {b} ({percent(second[index])})"
        items.append(samples.item([index], text, second[index] / first[index]))
    found = f"{count(len(items), 'sample')} could be of either of two classes."
    return check(
        "ambiguous", AMBIGUOUS, items, found, "Every sample has one most likely class.", "note"
    )


def _confused(samples: Samples, judgment: Judgment) -> Check:
    n_classes = len(samples.classes)
    confusion = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(confusion, (samples.labels, judgment.pred_probs.argmax(1)), 1)
    sizes = confusion.sum(1)
    both = np.triu(confusion + confusion.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [divmod(int(place), n_classes) for place in order if both.flat[place]]
    shares = {(a, b): both[a, b] / (sizes[a] + sizes[b]) for a, b in pairs}
    names = samples.classes
    rows = tuple(
        (
            names[a],
            names[b],
            f"{confusion[a, b]:,}",
            f"{confusion[b, a]:,}",
            percent(float(shares[a, b])),
        )
        for a, b in pairs
    )
    head = ("class", "and class", "labeled first, looks second", "reverse", "of both")
    often = [pair for pair in pairs if shares[pair] >= MIN_CONFUSED and both[pair] >= 5]
    if often:
        a, b = often[0]
        text = f"{count(len(often), 'pair')} of classes; most often {names[a]} and {names[b]}: "
        text += f"{both[a, b]:,} of their {sizes[a] + sizes[b]:,} samples."
    else:
        text = f"No two classes are confused in {percent(MIN_CONFUSED)} of their samples or more."
    table = Table(head, rows) if rows else None
    state = "note" if often else "ok"
    return Check("confused_classes", CONFUSED, state, len(often), text, table=table)


def _quality(samples: Samples, judgment: Judgment) -> Check:
    if judgment.noise is None or judgment.weak:
        why = "How many labels of each class are wrong is not known."
        return skipped("class_quality", QUALITY, why)
    n_classes = len(samples.classes)
    flagged, counts = (
        np.bincount(samples.labels[rows], minlength=n_classes)
        for rows in (np.intersect1d(judgment.flagged, judgment.estimated), judgment.estimated)
    )
    right = 1 - judgment.noise.by_class / np.maximum(counts, 1)
    order = [c for c in np.argsort(right, kind="stable").tolist() if counts[c]]
    rows = tuple(
        (samples.classes[c], f"{counts[c]:,}", f"{flagged[c]:,}", percent(float(right[c])))
        for c in order
    )
    table = Table(("class", "labels", "look wrong", "estimated right"), rows)
    worst = order[0]
    text = f"Estimated to be right: {percent(float(right[worst]))} of the labels of "
    text += f"{samples.classes[worst]}, {percent(float(right[order[-1]]))} of those of "
    text += f"{samples.classes[order[-1]]}."
    state = "warning" if right[worst] < 0.9 else "ok"
    n_bad = int((right[order] < 0.9).sum())
    return Check("class_quality", QUALITY, state, n_bad, text, table=table)


def _votes(
    labels: np.ndarray, neighbors: np.ndarray, groups: np.ndarray, n_classes: int
) -> np.ndarray:
    """(M, C) shares of the neighbors' labels; duplicates of the sample itself do not vote."""
    votes = np.zeros((len(labels), n_classes))
    counts = np.maximum(np.bincount(labels, minlength=n_classes), 1)
    rows = np.arange(len(labels))
    for near in neighbors.T:
        other = groups[near] != groups
        votes[rows[other], labels[near][other]] += 1
    votes /= counts * (len(labels) / n_classes)
    total = votes.sum(1, keepdims=True)
    return np.where(total > 0, votes / np.maximum(total, 1e-300), 1 / n_classes)


def _smoothed(votes: np.ndarray, k: int) -> np.ndarray:
    """Votes with half a vote more for each class."""
    return (k * votes + 0.5) / (k + 0.5 * votes.shape[1])


def _normalized(joint: np.ndarray) -> np.ndarray:
    return joint / joint.sum(1, keepdims=True)


def _out_of_fold(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, n_classes: int
) -> np.ndarray:
    """(M, C) probabilities of logistic regression on the other folds."""
    from sklearn.linear_model import LogisticRegression

    from engine.training.cross_validation import stratified_folds

    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    n_folds = min(N_FOLDS, len(first))
    folds = stratified_folds(labels[first], n_folds, seed=0)[group]
    found = np.full((len(labels), n_classes), 1e-6)
    for fold in range(n_folds):
        inside = folds != fold
        model = LogisticRegression(C=REGULARIZATION, max_iter=MAX_ITERATIONS)
        if len(np.unique(labels[inside])) < 2:
            continue
        model.fit(features[inside], labels[inside])
        found[np.ix_(~inside, model.classes_)] += model.predict_proba(features[~inside])
    return _normalized(found)


def _predicted(samples: Samples, run: "RunFolder") -> np.ndarray | None:
    """(n, C) probabilities of all parts but train by the newest stored network of a run."""
    from engine.errors import StoreError
    from engine.runs.predictor import load_predictor

    stored = run.checkpoints()
    images: Sequence[np.ndarray | None] = [part.images for part in samples.parts.values()][1:]
    if not stored:
        return None
    try:
        predictor = load_predictor(run, stored[-1])
        return np.concatenate([predictor.predict_proba(i)[0] for i in images if i is not None])
    except (StoreError, ValueError):
        return None
