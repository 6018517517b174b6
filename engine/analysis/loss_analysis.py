"""Losses and P(clean) of one epoch: histograms, the detection of wrong labels, losses by class.

N samples, B bins, X points on the loss axis. A mixture is the record of engine.runs.folder: means,
stds and weights, two each, the clean component first. `wrong`: (N,) bool, which labels are wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.analysis.label_outcomes import LabelOutcome, samples_by_outcome
from engine.method.mixture import MIN_ASHMAN_D

SHALLOW = 0.5  # height of a valley, as a share of the lower peak, from which peaks overlap

N_BINS = 40
ZOOM_QUANTILE = 0.98  # of all bars of a run: about where the zoomed axis ends
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Detection:
    """Detection of wrong labels at a threshold; measures are None where undefined."""

    n: int
    n_flagged: int  # P(clean) below the threshold
    n_wrong: int
    n_found: int  # flagged and wrong

    @property
    def precision(self) -> float | None:
        return self.n_found / self.n_flagged if self.n_flagged else None

    @property
    def recall(self) -> float | None:
        return self.n_found / self.n_wrong if self.n_wrong else None

    @property
    def f1(self) -> float | None:
        both = self.n_flagged + self.n_wrong
        return 2 * self.n_found / both if both else None

    @property
    def false_positive_rate(self) -> float | None:
        n_right = self.n - self.n_wrong
        return (self.n_flagged - self.n_found) / n_right if n_right else None


def detection(clean: np.ndarray, wrong: np.ndarray, threshold: float) -> Detection:
    """Flag labels with P(clean) (N,) below the threshold, and compare with those that are wrong."""
    flagged = clean < threshold
    return Detection(len(clean), int(flagged.sum()), int(wrong.sum()), int((flagged & wrong).sum()))


@dataclass(frozen=True, eq=False)
class RocCurve:
    """The ROC curve of detecting wrong labels by P(clean); ties are one step."""

    false_positive_rate: np.ndarray  # (T,) share of right labels flagged, ascending from 0 to 1
    true_positive_rate: np.ndarray  # (T,) share of wrong labels flagged
    thresholds: np.ndarray  # (T,) P(clean) below which labels are flagged; the last is inf
    auroc: float

    def thinned(self, most: int = 200) -> "RocCurve":
        """About `most` of its points, spread evenly along the curve, both ends included."""
        length = self.false_positive_rate + self.true_positive_rate
        keep = np.unique(np.searchsorted(length, np.linspace(length[0], length[-1], most)))
        keep = np.unique(np.concatenate([[0], keep, [len(length) - 1]]))
        return RocCurve(
            self.false_positive_rate[keep],
            self.true_positive_rate[keep],
            self.thresholds[keep],
            self.auroc,
        )


def roc_curve(clean: np.ndarray, wrong: np.ndarray) -> RocCurve | None:
    """The ROC curve over all thresholds on P(clean) (N,); None if all labels are right, or none."""
    n_wrong = int(wrong.sum())
    if n_wrong in (0, len(wrong)):
        return None
    order = np.argsort(clean)
    values, hits = clean[order], wrong[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # of each run of ties
    true_positive = np.append(0, np.cumsum(hits)[last]) / n_wrong
    false_positive = np.append(0, np.cumsum(~hits)[last]) / (len(wrong) - n_wrong)
    thresholds = np.append(values[last], np.inf).astype(float)
    auroc = float(np.trapezoid(true_positive, false_positive))
    return RocCurve(false_positive, true_positive, thresholds, auroc)


def bin_counts(values: np.ndarray, top: float, bins: int = N_BINS) -> np.ndarray:
    """Counts (bins,) of values (N,) in equal bins from 0 to top; larger values in the last bin.

    Values that are not finite are left out. numpy.histogram is ten times slower.
    """
    values = values[np.isfinite(values)]
    number = np.minimum((values * (bins / top)).astype(np.int64), bins - 1)
    return np.bincount(np.maximum(number, 0), minlength=bins)


@dataclass(frozen=True)
class HistogramAxes:
    """Axis ranges for all epochs of a run, so that the axes stay when the epoch changes."""

    top: float  # end of the loss axis
    full: float  # the tallest bar of all epochs
    cut: float  # end of the zoomed count axis; few bars are taller


def histogram_axes(rows: np.ndarray, members: np.ndarray | None, *, scaled: bool) -> HistogramAxes:
    """Axis ranges for the histograms of R epochs.

    rows: (R, N) losses, may be memory-mapped. members: (N,) bool, which samples; None for all.
    scaled: the losses are in [0, 1].
    """
    rows_of = ((row if members is None else row[members]) for row in rows)
    if scaled:
        top = 1.0
    else:
        most = [np.max(row, where=np.isfinite(row), initial=0.0) for row in rows]
        top = max(float(np.quantile(most, 0.95)), 1e-6) * 1.02  # not set by a single odd epoch
    bars = np.stack([bin_counts(row, top) for row in rows_of])
    full = max(float(bars.max()), 1.0)
    cut = (
        float(np.quantile(bars.max(0), 0.9))
        if len(bars) == 1
        else float(np.quantile(bars, ZOOM_QUANTILE))
    )
    return HistogramAxes(top, full, min(max(cut * 1.15, 0.1 * full, 1.0), full))


def component_densities(mixture: dict[str, Any], x: np.ndarray) -> np.ndarray | None:
    """Densities (2, X) of the two components times their weights; None if one has no width."""
    means, stds, weights = (np.array(mixture[k])[:, None] for k in ("means", "stds", "weights"))
    if not (stds > 0).all():
        return None
    return weights * np.exp(-(((x - means) / stds) ** 2) / 2) / (stds * np.sqrt(2 * np.pi))


def ashman_d(mixture: dict[str, Any]) -> float:
    """Distance of the two components in pooled standard deviations; they are bimodal from 2 on.

    0 where both have no width. Source: Ashman et al. 1994.
    """
    (low, high), stds = mixture["means"], np.array(mixture["stds"])
    pooled = float(np.sqrt((stds**2).mean()))
    return (high - low) / pooled if pooled > 0 else 0.0


def modality(mixture: dict[str, Any]) -> str:
    """Whether the losses have two peaks: "two", "overlapping" (apart, but the valley between them
    is higher than half of the lower peak) or "one" (unimodal by Ashman's D).
    """
    if ashman_d(mixture) < MIN_ASHMAN_D:
        return "one"
    low, high = mixture["means"]
    components = component_densities(mixture, np.linspace(low, high, 101))
    if components is None:  # a component without width is a peak of its own
        return "two"
    total = components.sum(0)
    return "two" if total.min() < SHALLOW * min(total[0], total[-1]) else "overlapping"


def telling_row(records: Sequence[dict[str, Any]], correction_start: int | None) -> int:
    """The row in which the losses tell most: the last one before labels are corrected.

    If no label is corrected in these records, the one with the largest Ashman's D; if all were,
    the first. correction_start: None if the run corrects no labels.
    """
    if correction_start is None or records[-1]["epoch"] < correction_start:
        return int(np.argmax([ashman_d(record["mixture"]) for record in records]))
    return max(sum(record["epoch"] < correction_start for record in records) - 1, 0)


def clean_posterior(mixture: dict[str, Any], x: np.ndarray) -> np.ndarray | None:
    """P(clean) (X,) at scaled losses x (X,); None if a component has no width."""
    means, stds, weights = (np.array(mixture[k])[:, None] for k in ("means", "stds", "weights"))
    if not (stds > 0).all():
        return None
    # far from both components their densities vanish, their ratio does not
    logs = np.log(weights + 1e-300) - np.log(stds) - ((x - means) / stds) ** 2 / 2
    return 1 / (1 + np.exp(np.clip(logs[1] - logs[0], -700, 700)))


def true_intervals(x: np.ndarray, mask: np.ndarray) -> list[tuple[float, float]]:
    """The intervals of the ascending x (X,) in which mask (X,) bool is True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return [(float(x[a]), float(x[b - 1])) for a, b in edges.reshape(-1, 2)]


def typical_samples(rows: np.ndarray, members: np.ndarray, n: int = 3) -> np.ndarray:
    """The n of the samples `members` (M,) whose losses stay closest to the median of all members.

    rows: (R, N) losses of a few epochs.
    """
    values = np.stack([row[members] for row in rows])
    median = np.nanmedian(values, axis=1, keepdims=True)
    distance = np.nan_to_num(np.abs(values - median), nan=np.inf).mean(0)
    return members[np.argsort(distance, kind="stable")[:n]]


def example_samples(
    rows: np.ndarray, outcomes: np.ndarray, memorized: np.ndarray | None, n: int = 3
) -> np.ndarray:
    """The n most typical samples of each label outcome, (S,) int64, in the order of the outcomes.

    rows: (R, N) losses of a few epochs; outcomes: (N,) values of LabelOutcome; memorized: (N,) bool
    or None. Missed labels that the network has memorized are a group of their own.
    """
    by_outcome = samples_by_outcome(outcomes)
    missed = by_outcome.pop(LabelOutcome.MISSED, np.empty(0, np.int64))
    if memorized is None:
        parts = [missed]
    else:
        parts = [missed[~memorized[missed]], missed[memorized[missed]]]
    members = [*by_outcome.items(), *((LabelOutcome.MISSED, part) for part in parts if len(part))]
    members.sort(key=lambda group: group[0])
    return np.concatenate([typical_samples(rows, samples, n) for _, samples in members])


@dataclass(frozen=True, eq=False)
class ClassLosses:
    """The losses of one class, by whether labels are "right" or "wrong" ("all" if not known)."""

    class_id: int
    quantiles: dict[str, np.ndarray]  # "right", "wrong" or "all" -> (5,), at QUANTILES
    sizes: dict[str, int]  # labels in each group
    auroc: float | None  # of P(clean) within the class


def losses_by_class(
    values: np.ndarray, clean: np.ndarray, classes: np.ndarray, wrong: np.ndarray | None
) -> list[ClassLosses]:
    """The losses of each class that has samples; lowest AUROC first where it is known.

    values: (N,) losses. clean: (N,) P(clean). classes: (N,) class ids.
    """
    order = np.argsort(classes, kind="stable")
    ids, starts = np.unique(classes[order], return_index=True)
    lines = []
    for class_id, members in zip(ids, np.split(order, starts[1:]), strict=True):
        if wrong is None:
            parts = {"all": members}
        else:
            parts = {"right": members[~wrong[members]], "wrong": members[wrong[members]]}
        parts = {kind: rows for kind, rows in parts.items() if len(rows)}
        curve = None if wrong is None else roc_curve(clean[members], wrong[members])
        lines.append(
            ClassLosses(
                int(class_id),
                {kind: np.nanquantile(values[rows], QUANTILES) for kind, rows in parts.items()},
                {kind: len(rows) for kind, rows in parts.items()},
                None if curve is None else curve.auroc,
            )
        )
    return sorted(lines, key=lambda line: 2.0 if line.auroc is None else line.auroc)
