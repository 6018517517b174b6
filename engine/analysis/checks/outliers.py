"""Samples unlike all others: far from their nearest neighbors."""

import numpy as np

from engine.analysis.checks.features import Space
from engine.analysis.checks.report import Check, check, count, skipped
from engine.analysis.checks.samples import Samples

MIN_SAMPLES = 30
N_NEIGHBORS = 10
MIN_DEVIATIONS = 6.0  # of the logarithm of the distance, above its median
TITLE = "Outliers"


def outlier_check(samples: Samples, space: Space) -> Check:
    """Samples whose mean distance to their nearest neighbors is far above the usual one.

    The distance counts by its logarithm in robust standard deviations from the median, of the
    samples of the same class where there are enough.
    """
    near = space.distances[:, :N_NEIGHBORS]
    if len(samples.labels) < MIN_SAMPLES:
        why = f"Too few {samples.noun}s to know what is usual; {MIN_SAMPLES} are needed."
        return skipped("outliers", TITLE, why)
    log = np.log(near.mean(1, dtype=np.float64) + 1e-9)
    score = deviations(log)
    for c in np.unique(samples.labels):
        rows = np.flatnonzero(samples.labels == c)
        if len(rows) >= MIN_SAMPLES:  # what is usual in a class may be far for another
            score[rows] = np.minimum(score[rows], deviations(log[rows]))
    items = [
        samples.item([row], f"{np.exp(log[row] - np.median(log)):.1f} x the usual distance", s)
        for row, s in enumerate(score)
        if s >= MIN_DEVIATIONS
    ]
    n = count(len(items), f"{samples.noun} is", f"{samples.noun}s are")
    return check(
        "outliers",
        TITLE,
        items,
        f"{n} unlike all others of the set, by simple features.",
        f"No {samples.noun} is unlike all others.",
    )


def deviations(values: np.ndarray) -> np.ndarray:
    """(n,) how far each value is from the median, in robust standard deviations (1.48 MAD)."""
    off = values - np.median(values)
    spread = 1.4826 * np.median(np.abs(off))
    return off / max(spread, 0.02)
