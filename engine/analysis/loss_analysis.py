"""What the losses of one epoch say about its labels: counts, curves, errors. NumPy alone.

N samples, B bins, X places on the loss axis. A mixture is the record of
engine.runs.folder: means, stds and weights, two each, the clean one first. `wrong` (N,) bool says
which labels are wrong.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.analysis.label_outcomes import LabelOutcome, groups

BINS = 40
CUT = 0.98  # quantile of all bars of a run at which the zoomed axis ends


@dataclass(frozen=True)
class Verdict:
    """Labels called suspicious against labels that are wrong; None: nothing to count."""

    n: int
    suspicious: int
    wrong: int
    found: int  # suspicious and wrong

    @property
    def precision(self) -> float | None:
        return self.found / self.suspicious if self.suspicious else None

    @property
    def recall(self) -> float | None:
        return self.found / self.wrong if self.wrong else None

    @property
    def f1(self) -> float | None:
        both = self.suspicious + self.wrong
        return 2 * self.found / both if both else None

    @property
    def false_alarm_rate(self) -> float | None:
        right = self.n - self.wrong
        return (self.suspicious - self.found) / right if right else None


def verdict(clean: np.ndarray, wrong: np.ndarray, threshold: float) -> Verdict:
    """Call labels with P(clean) (N,) below the threshold suspicious."""
    suspicious = clean < threshold
    return Verdict(
        len(clean), int(suspicious.sum()), int(wrong.sum()), int((suspicious & wrong).sum())
    )


@dataclass(frozen=True, eq=False)
class Roc:
    """A ROC curve of "suspicious" for "wrong", ties as one step."""

    false_alarms: np.ndarray  # (T,) share of right labels accused, ascending from 0 to 1
    found: np.ndarray  # (T,) share of wrong labels found
    thresholds: np.ndarray  # (T,) P(clean) below which labels are accused; the last is inf
    area: float  # AUROC

    def thinned(self, most: int = 200) -> "Roc":
        """At most that many of its points, spread evenly along the curve, ends included."""
        way = self.false_alarms + self.found
        keep = np.unique(np.searchsorted(way, np.linspace(way[0], way[-1], most)))
        keep = np.unique(np.concatenate([[0], keep, [len(way) - 1]]))
        return Roc(self.false_alarms[keep], self.found[keep], self.thresholds[keep], self.area)


def roc(clean: np.ndarray, wrong: np.ndarray) -> Roc | None:
    """The curve of all thresholds on P(clean) (N,); None where all labels are right, or none."""
    n_wrong = int(wrong.sum())
    if n_wrong in (0, len(wrong)):
        return None
    order = np.argsort(clean)
    values, hits = clean[order], wrong[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # of each run of ties
    found = np.append(0, np.cumsum(hits)[last]) / n_wrong
    alarms = np.append(0, np.cumsum(~hits)[last]) / (len(wrong) - n_wrong)
    thresholds = np.append(values[last], np.inf)
    return Roc(alarms, found, thresholds.astype(float), float(np.trapezoid(found, alarms)))


def counts(values: np.ndarray, top: float, bins: int = BINS) -> np.ndarray:
    """Counts (bins,) of values (N,) in equal bins from 0 to top, larger ones in the last.

    What is not finite is left out. numpy.histogram is ten times slower.
    """
    values = values[np.isfinite(values)]
    number = np.minimum((values * (bins / top)).astype(np.int64), bins - 1)
    return np.bincount(np.maximum(number, 0), minlength=bins)


@dataclass(frozen=True)
class Axes:
    """Ranges that hold for all epochs of a run, so that a scrub does not jump."""

    top: float  # end of the loss axis
    full: float  # the tallest bar of all epochs
    cut: float  # where the zoomed axis ends; few bars are taller


def axes(rows: np.ndarray, members: np.ndarray | None, *, scaled: bool) -> Axes:
    """rows: (R, N) losses, may be memory-mapped; members: (N,) bool or None for all."""
    rows_of = ((row if members is None else row[members]) for row in rows)
    if scaled:
        top = 1.0
    else:
        most = [np.max(row, where=np.isfinite(row), initial=0.0) for row in rows]
        top = max(float(np.quantile(most, 0.95)), 1e-6) * 1.02  # an odd epoch shall not rule
    bars = np.stack([counts(row, top) for row in rows_of])
    full = max(float(bars.max()), 1.0)
    cut = float(np.quantile(bars.max(0), 0.9)) if len(bars) == 1 else float(np.quantile(bars, CUT))
    return Axes(top, full, min(max(cut * 1.15, 0.1 * full, 1.0), full))


def bells(mixture: dict[str, Any], x: np.ndarray) -> np.ndarray | None:
    """Densities (2, X) of the two components, weights included; None where one has no width."""
    means, stds, weights = (np.array(mixture[k])[:, None] for k in ("means", "stds", "weights"))
    if not (stds > 0).all():
        return None
    return weights * np.exp(-(((x - means) / stds) ** 2) / 2) / (stds * np.sqrt(2 * np.pi))


def posterior(mixture: dict[str, Any], x: np.ndarray) -> np.ndarray | None:
    """P(clean) (X,) at places x on the scaled loss; None where a component has no width."""
    means, stds, weights = (np.array(mixture[k])[:, None] for k in ("means", "stds", "weights"))
    if not (stds > 0).all():
        return None
    # far from both bells their densities vanish, their ratio does not
    logs = np.log(weights + 1e-300) - np.log(stds) - ((x - means) / stds) ** 2 / 2
    return 1 / (1 + np.exp(np.clip(logs[1] - logs[0], -700, 700)))


def spans(x: np.ndarray, accused: np.ndarray) -> list[tuple[float, float]]:
    """The stretches of the ascending x (X,) where accused (X,) is True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], accused.astype(int), [0]])))
    return [(float(x[a]), float(x[b - 1])) for a, b in edges.reshape(-1, 2)]


def typical(rows: np.ndarray, members: np.ndarray, n: int = 3) -> np.ndarray:
    """The n members (M,) whose losses over the epochs stay nearest to their group's median.

    rows: (R, N) losses of a few epochs.
    """
    values = np.stack([row[members] for row in rows])
    spread = np.nanmedian(values, axis=1, keepdims=True)
    distance = np.nan_to_num(np.abs(values - spread), nan=np.inf).mean(0)
    return members[np.argsort(distance, kind="stable")[:n]]


def examples(
    rows: np.ndarray, outcomes: np.ndarray, memorized: np.ndarray | None, n: int = 3
) -> np.ndarray:
    """The n most typical samples of each label outcome, (S,) int64, in the order of the outcomes.

    rows: (R, N) losses of a few epochs; outcomes: (N,) values of LabelOutcome; memorized: (N,) bool
    or None. Missed labels that the network has memorized are a group of their own.
    """
    found = groups(outcomes)
    missed = found.pop(LabelOutcome.MISSED, np.empty(0, np.int64))
    if memorized is None:
        parts = [missed]
    else:
        parts = [missed[~memorized[missed]], missed[memorized[missed]]]
    members = [*found.items(), *((LabelOutcome.MISSED, part) for part in parts if len(part))]
    members.sort(key=lambda group: group[0])
    return np.concatenate([typical(rows, samples, n) for _, samples in members])


@dataclass(frozen=True, eq=False)
class ClassLine:
    """The losses of one class: quantiles 0.1, 0.25, 0.5, 0.75, 0.9 of its labels by kind."""

    number: int
    quantiles: dict[str, np.ndarray]  # "right", "wrong" or "all" -> (5,)
    sizes: dict[str, int]
    area: float | None  # AUROC of P(clean) inside the class


def by_class(
    values: np.ndarray, clean: np.ndarray, classes: np.ndarray, wrong: np.ndarray | None
) -> list[ClassLine]:
    """One line for each class that has samples; hardest first where the truth is known.

    values: (N,) losses. classes: (N,) class ids to sort by.
    """
    order = np.argsort(classes, kind="stable")
    ids, starts = np.unique(classes[order], return_index=True)
    lines = []
    for number, members in zip(ids, np.split(order, starts[1:]), strict=True):
        if wrong is None:
            parts = {"all": members}
        else:
            parts = {"right": members[~wrong[members]], "wrong": members[wrong[members]]}
        parts = {kind: rows for kind, rows in parts.items() if len(rows)}
        curve = None if wrong is None else roc(clean[members], wrong[members])
        lines.append(
            ClassLine(
                int(number),
                {
                    k: np.nanquantile(values[r], (0.1, 0.25, 0.5, 0.75, 0.9))
                    for k, r in parts.items()
                },
                {k: len(r) for k, r in parts.items()},
                curve and curve.area,
            )
        )
    return sorted(lines, key=lambda line: 2.0 if line.area is None else line.area)
