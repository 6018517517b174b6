"""The order in which labels are reviewed: by doubt, by confused pair of classes, by look-alikes.

True labels are never used. Evaluated by tests/benchmarks/bench_review.py.
"""

from dataclasses import dataclass

import numpy as np

from engine.analysis.label_issues import LabelIssues
from engine.method.noise_estimate import true_class_probability
from engine.runs.folder import RunFolder

LOOK_ALIKES = 12  # nearest neighbors among which look-alikes are found


@dataclass(frozen=True, eq=False)
class Doubt:
    """How doubtful each given label is. N samples."""

    order: np.ndarray  # (N,) int64 samples, the most doubtful first
    wrong: np.ndarray  # (N,) P(the given label is wrong); nan where it is not known


@dataclass(frozen=True, eq=False)
class Grouping:
    """N images in G groups, each next to each other, the most doubtful groups and images first."""

    order: np.ndarray  # (N,) int64 positions
    sizes: np.ndarray  # (G,) int64
    given: np.ndarray  # (G,) the given class of a group, -1: several
    suggested: np.ndarray  # (G,) the suggested class of a group, -1: several


def doubt_of(issues: LabelIssues) -> Doubt:
    """Rank labels by what network and neighbors say against them."""
    rows, n = np.arange(len(issues.given)), len(issues.given)
    wrong = np.full(n, np.nan)
    if issues.noise is not None:
        probability = true_class_probability(
            issues.votes, issues.pred_probs, issues.given, issues.noise
        )
        wrong = 1 - probability[rows, issues.given]
    return Doubt(np.argsort(issues.quality, kind="stable"), wrong)


def by_doubt(n: int) -> Grouping:
    """One group of n images in order of doubt."""
    return Grouping(np.arange(n), *(np.array([value]) for value in (n, -1, -1)))


def by_pair(given: np.ndarray, suggested: np.ndarray, wrong: np.ndarray) -> Grouping:
    """Groups with the same given and suggested class, from arrays (N,) in order of doubt.

    Most expected wrong labels first; groups whose label is the suggested one come last.
    """
    n_classes = 1 + int(max(given.max(), suggested.max()))
    pair, members = np.unique(given * n_classes + suggested, return_inverse=True)
    expected = np.bincount(members, np.nan_to_num(wrong)) + 1e-9 * np.bincount(members)
    agreed = pair // n_classes == pair % n_classes
    first = np.lexsort((-expected, agreed))
    return _grouped(members, first, pair // n_classes, pair % n_classes)


def by_look_alikes(
    run: RunFolder, row: int, samples: np.ndarray, given: np.ndarray, wrong: np.ndarray
) -> Grouping:
    """Groups of images that are nearest neighbors of each other in feature space.

    samples, given, wrong: (N,) in order of doubt. The most doubtful image that has no group yet
    starts one with those of its LOOK_ALIKES nearest neighbors that have none and of whose nearest
    it is one. Features of the epoch `row`; of images without stored features the neighbors that
    they were last mixed with. Images without a look-alike are one last group.
    """
    near = _nearest(run, row, len(samples))
    neighbors_of = [set(some[some >= 0].tolist()) for some in near]
    group = np.full(len(samples), -1)
    n_groups = 0
    for sample in samples.tolist():
        if group[sample] >= 0:
            continue
        alike = [
            other
            for other in near[sample].tolist()
            if other >= 0 and group[other] < 0 and sample in neighbors_of[other]
        ]
        if alike:
            group[[sample, *alike]] = n_groups
            n_groups += 1
    members = np.where(group < 0, n_groups, group)[samples]
    n_groups += bool((group < 0).any())
    expected = np.bincount(members, np.nan_to_num(wrong), n_groups)
    alone = np.arange(n_groups) == (n_groups - 1 if (group < 0).any() else -1)
    first = np.lexsort((-expected, alone))
    low, high = np.full(n_groups, given.max()), np.zeros(n_groups, np.int64)
    np.minimum.at(low, members, given)
    np.maximum.at(high, members, given)
    return _grouped(members, first, np.where(low == high, low, -1), np.full(n_groups, -1))


def _nearest(run: RunFolder, row: int, n: int) -> np.ndarray:
    """(N, LOOK_ALIKES) the nearest samples of each, nearest first; -1 where there is none."""
    near = np.full((n, LOOK_ALIKES), -1)
    mixed = [r for r, record in enumerate(run.epochs[: row + 1]) if record["n_neighbors"]]
    if mixed:
        neighbors, distances, _ = run.mixing_of(mixed[-1])
        k = min(neighbors.shape[1], LOOK_ALIKES)
        near[:, :k] = np.where(np.isfinite(distances), neighbors, -1)[:, :k]
    panel = run.labels["panel"]
    if run.has("panel_features") and len(panel) > 1:
        features = np.array(run.array("panel_features")[row], dtype=np.float32)
        if np.isfinite(features).all():
            import torch  # late: the rest does not need it

            from engine.method.neighbors import nearest

            k = min(LOOK_ALIKES, len(panel) - 1)
            near[panel] = -1
            near[panel, :k] = panel[nearest(torch.from_numpy(features), k)[0].numpy()]
    return near


def _grouped(
    members: np.ndarray, first: np.ndarray, given: np.ndarray, suggested: np.ndarray
) -> Grouping:
    """The grouping of positions (N,) by `members`, groups in the order `first` (G,)."""
    rank = np.empty(len(first), np.int64)
    rank[first] = np.arange(len(first))
    return Grouping(
        order=np.argsort(rank[members], kind="stable"),
        sizes=np.bincount(rank[members], minlength=len(first)),
        given=given[first],
        suggested=suggested[first],
    )
