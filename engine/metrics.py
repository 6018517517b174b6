"""Metrics of a run; arrays in, plain numbers out, None where there is nothing to count.

labels, true, given, predictions: (N,) integer class ids. clean: (N,) float in [0, 1], 1 =
certainly clean.
"""

import numpy as np

CHUNK = 2**24  # entries of the table of soft labels processed together: a copy of 64 MB


def mean_true(hits: np.ndarray) -> float | None:
    """Share of True in a boolean array; None for an empty one."""
    return float(hits.mean()) if hits.size else None


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float | None:
    """Share of predictions that equal the label."""
    return mean_true(predictions == labels)


def memorization(
    predictions: np.ndarray, given: np.ndarray, true: np.ndarray
) -> tuple[float | None, float | None]:
    """Share of given labels that the network predicts: (of the truly clean, of the truly wrong).

    The second is memorization: a network predicts wrong labels only after memorizing them (Zhang et
    al. 2017; Arpit et al. 2017).
    """
    wrong = given != true
    fit = predictions == given
    return mean_true(fit[~wrong]), mean_true(fit[wrong])


def calibration_error(
    confidence: np.ndarray, correct: np.ndarray, n_bins: int = 15
) -> float | None:
    """Expected calibration error: mean gap of confidence and accuracy over equal bins.

    confidence: (N,) float in [0, 1], the largest probability; correct: (N,) bool. Returns a number
    in [0, 1], 0 = calibrated (Guo et al. 2017).
    """
    if not correct.size:
        return None
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(correct))


def auroc(score: np.ndarray, positive: np.ndarray) -> float | None:
    """Area under the ROC curve of a score for a boolean truth; None if it has only one class.

    score: (N,) float, higher for positives; positive: (N,) bool. Returns a number in [0, 1].
    """
    if positive.all() or not positive.any():
        return None
    # Mann and Whitney's U: negatives below each positive, ties count half; sorting both sides
    # takes less time than ranking all
    above, below = np.sort(score[positive]), np.sort(score[~positive])
    pairs = sum(int(np.searchsorted(below, above, side).sum()) for side in ("left", "right"))
    return pairs / 2 / (len(above) * len(below))


def normalized_margin(soft: np.ndarray, clean: np.ndarray, given: np.ndarray) -> np.ndarray:
    """How likely each given label is correct, in [0, 1]; low values are suspicious.

    soft: (N, C) soft labels. cleanlab's normalized margin, (1 + m) / 2, m being the margin of the
    given label's weight over the largest other one; where the given label is still the argmax, m
    is multiplied by P(clean), which then refers to the given label too. So every label that
    correction has changed is below 0.5, and every other is not. It needs one epoch only;
    detection_auroc uses it. `label_issues`, which uses the whole run and the neighbors, has a
    different label quality that ranks better on hard images; export, app and the experiment
    "detection" use that one. Returns (N,).
    """
    margin = np.empty(len(given), np.float32)
    step = max(CHUNK // soft.shape[1], 1)
    for start in range(0, len(given), step):
        others = soft[start : start + step].astype(np.float32)
        rows = np.arange(len(others)), given[start : start + step]
        own = others[rows]
        others[rows] = -np.inf
        margin[start : start + step] = own - others.max(1)
    return (1 + np.where(margin > 0, margin * clean, margin)) / 2


def _classes(labels: np.ndarray) -> np.ndarray:
    """The class ids that occur, in order; by counting, since sorting takes longer."""
    return np.flatnonzero(np.bincount(labels))


def label_metrics(
    given: np.ndarray,
    true: np.ndarray | None,
    predictions: np.ndarray | None,
    soft: np.ndarray,
    clean: np.ndarray,
) -> dict[str, float | None]:
    """All metrics of the training labels after an epoch; None where the truth is not known.

    predictions: None where they are not known, nor what needs them.

    changed_labels: share of labels that correction has changed. clean_share: mean P(clean).
    lost_classes: share of the given classes that the network predicts for no sample.
    fit_clean, memorized: see `memorization`. train_accuracy: predictions against the truth.
    label_accuracy: corrected labels against the truth (label recovery). clean_auroc: P(clean)
    against whether the current label is right. detection_auroc: `normalized_margin` against whether
    the given label is right.
    """
    corrected = soft.argmax(1)
    measured = {
        "changed_labels": mean_true(corrected != given),
        "clean_share": float(clean.mean()),
        "lost_classes": None,
    }
    if predictions is not None:
        lost = ~np.isin(_classes(given), _classes(predictions))
        measured["lost_classes"] = mean_true(lost)
    if true is None:
        unknown = ("fit_clean", "memorized", "train_accuracy", "label_accuracy")
        return measured | dict.fromkeys((*unknown, "clean_auroc", "detection_auroc"))
    fit_clean = memorized = None
    if predictions is not None:
        fit_clean, memorized = memorization(predictions, given, true)
    return measured | {
        "fit_clean": fit_clean,
        "memorized": memorized,
        "train_accuracy": None if predictions is None else accuracy(predictions, true),
        "label_accuracy": accuracy(corrected, true),
        "clean_auroc": auroc(clean, corrected == true),
        "detection_auroc": auroc(normalized_margin(soft, clean, given), given == true),
    }
