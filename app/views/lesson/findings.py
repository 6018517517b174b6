"""What the runs of a step show: its outcome and explanation, computed once for all visitors."""

from collections.abc import Callable

import numpy as np

from app.server import run_cache
from engine.analysis import lesson_explanations
from engine.analysis.lesson_explanations import Explanation
from engine.caching import once


def finding(step: int, names: dict[str, str]) -> Explanation:
    """The outcome of a step, from its finished runs: kind -> name. Raises StoreError."""
    created = tuple(run_cache.run(name).info["created"] for name in names.values())
    return _finding(step, tuple(names.items()), created)


@once(maxsize=32)
def _finding(step: int, names: tuple[tuple[str, str], ...], created: tuple) -> Explanation:
    """created: times that tell the runs from deleted ones with the same names."""
    return FINDINGS[step](dict(names))


def early_learning(names: dict[str, str]) -> Explanation:
    """Step 1, see `lesson_explanations`, as for the other steps."""
    return lesson_explanations.explain_early_learning(run_cache.records(names["plain"]))


def losses(names: dict[str, str]) -> Explanation:
    mixnn, plain = names["mixnn"], names["plain"]
    row, last = before_correction(mixnn), len(run_cache.records(plain)) - 1
    loss, clean = (run_cache.values(mixnn, array, row) for array in ("loss", "clean"))
    late = run_cache.values(plain, "loss", last)
    epoch = run_cache.records(mixnn)[row]["epoch"]
    return lesson_explanations.explain_losses(loss, clean, is_wrong(mixnn), late, epoch)


def neighbors(names: dict[str, str]) -> Explanation:
    _, near, _ = first_mixing(names["mixnn"])
    labels = run_cache.run(names["mixnn"]).labels
    return lesson_explanations.explain_neighbors(near, labels["given"], labels["true"])


def mixing(names: dict[str, str]) -> Explanation:
    row, near, weights = first_mixing(names["mixnn"])
    soft = run_cache.values(names["mixnn"], "soft", row - 1)
    labels = run_cache.run(names["mixnn"]).labels
    return lesson_explanations.explain_mixing(weights, near, soft, labels["given"], labels["true"])


def correction(names: dict[str, str]) -> Explanation:
    records, others = (run_cache.records(names[kind]) for kind in ("mixnn", "plain"))
    labels = run_cache.run(names["mixnn"]).labels
    corrected = run_cache.values(names["mixnn"], "soft", len(records) - 1).argmax(1)
    return lesson_explanations.explain_correction(
        records, others, labels["given"], corrected, labels["true"]
    )


def failures(names: dict[str, str]) -> Explanation:
    return lesson_explanations.explain_failures(
        {kind: run_cache.records(name) for kind, name in names.items()}
    )


FINDINGS: dict[int, Callable[[dict[str, str]], Explanation]] = {
    1: early_learning,
    2: losses,
    3: neighbors,
    4: mixing,
    5: correction,
    6: failures,
}


def is_wrong(run: str) -> np.ndarray:
    """(N,) bool: given labels that are wrong."""
    labels = run_cache.run(run).labels
    return labels["given"] != labels["true"]


def before_correction(run: str) -> int:
    """The last row in which no label has changed yet."""
    return max(run_cache.run(run).config.correction_start - 1, 0)


def first_mixing(run: str) -> tuple[int, np.ndarray, np.ndarray]:
    """The first row with mixing, its neighbors (N, K) and weights (N, K+1)."""
    return _first_mixing(run, run_cache.run(run).info["created"])


@once(maxsize=8)
def _first_mixing(run: str, created: str) -> tuple[int, np.ndarray, np.ndarray]:
    """created: tells the run from a deleted one of the same name."""
    row = next(i for i, record in enumerate(run_cache.records(run)) if record["n_neighbors"])
    near, _, weights = run_cache.run(run).mixing_of(row)
    return row, near, weights
