"""The evidence of network, neighbors and losses for and against each given label."""

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from engine.config import corrects
from engine.runs.folder import RunFolder
from engine.runs.lineage import label_parent

N_RECENT_EPOCHS = 5  # whose predictions are averaged
MAX_NEIGHBORS = 20  # that vote on a label; fewer where classes are small
MIN_NEIGHBORS = 5


@dataclass(frozen=True, eq=False)
class RunEpoch:
    """One epoch of a run, or of the run that it was forked from."""

    run: RunFolder
    row: int
    record: dict[str, Any]
    alpha: float
    corrects: bool  # whether soft labels were updated in it


def epoch_history(run: RunFolder, row: int) -> list[RunEpoch]:
    """The epochs up to a row, oldest first; those of a fork's parent included where it exists.

    A parent with other given labels (other noise) is left out: the fork's labels started over.
    """
    epochs = _parent_history(run)
    for number, record in enumerate(run.epochs[: row + 1]):
        config = run.config.changed(**record["settings"])
        updated = corrects(config, record["epoch"])
        epochs.append(RunEpoch(run, number, record, config.alpha, updated))
    return epochs


def epochs_before_correction(epochs: list[RunEpoch]) -> list[RunEpoch]:
    """The epochs before the first one that updated soft labels; all if none did."""
    first = epochs[0]
    # a fork whose parent is missing may have started with labels that were already corrected
    if first.run.info["parent"] is not None and not first.corrects:
        given = first.run.labels["given"]
        own = first.run.array("soft")[first.row][np.arange(len(given)), given]
        if own.min() < 0.999:
            return []
    return list(takewhile(lambda epoch: not epoch.corrects, epochs))


def given_label_weight(epochs: list[RunEpoch]) -> float:
    """Weight of the given label in each soft label, in [0, 1]; 1 before any correction."""
    return float(np.prod([epoch.alpha for epoch in epochs if epoch.corrects]))


def mean_pred_probs(epochs: list[RunEpoch]) -> np.ndarray:
    """(N, C) float32, rows sum to 1: the network's probabilities, averaged over epochs.

    The soft label is a moving average that starts at the given label; after m steps, alpha^m of it
    is still that label, which is no evidence for it, so this part is subtracted. Before the first
    step, it is the average over the newest epochs, see `recent_pred_probs`.
    """
    run, row = epochs[-1].run, epochs[-1].row
    given, own_weight = run.labels["given"], given_label_weight(epochs)
    if own_weight > 0.999:
        return recent_pred_probs(epochs)
    soft = np.array(run.array("soft")[row], dtype=np.float32)
    soft[np.arange(len(given)), given] -= own_weight
    soft = soft.clip(min=1e-7)
    return soft / soft.sum(1, keepdims=True)


def recent_pred_probs(epochs: list[RunEpoch]) -> np.ndarray:
    """(N, C) float32, rows sum to 1: the network's probabilities, averaged over recent epochs."""
    newest = epochs[-N_RECENT_EPOCHS:]
    n, n_classes = newest[0].run.array("soft").shape[1:]
    total, rows = np.zeros((n, n_classes), np.float32), np.arange(n)
    for epoch in newest:
        prediction = np.array(epoch.run.array("prediction")[epoch.row])
        epoch.run.check_ids("prediction", prediction)
        confidence = np.array(epoch.run.array("confidence")[epoch.row])
        # the rest is shared equally among the other classes: only the confidence is stored
        rest = (1 - confidence) / max(n_classes - 1, 1)
        total += rest[:, None]
        total[rows, prediction] += confidence - rest
    return total / len(newest)


def neighbor_votes(epochs: list[RunEpoch], before: list[RunEpoch]) -> np.ndarray:
    """(N, C) float32: share of each sample's nearest neighbors that were given each class.

    Neighbors are the nearest by the features before correction, for samples whose features are
    stored (see `NoisyLabels.panel`); for all others, those it was mixed with in the epochs before
    correction, else after. Rows of samples without a neighbor are nan, all others sum to 1.
    """
    epoch = before[-1] if before else epochs[-1]
    given = epoch.run.labels["given"]
    n, n_classes = epoch.run.array("soft").shape[1:]
    votes = np.zeros((n, n_classes), np.float32)
    panel = epoch.run.labels["panel"]
    features = np.array(epoch.run.array("panel_features")[epoch.row], dtype=np.float32)
    if len(panel) > MIN_NEIGHBORS and np.isfinite(features).all():
        k = min(max(len(panel) // (2 * n_classes), MIN_NEIGHBORS), MAX_NEIGHBORS)
        import torch  # late: the rest does not need it

        from engine.method.neighbors import nearest

        neighbors = panel[nearest(torch.from_numpy(features), k)[0].numpy()]
        np.add.at(votes, (np.repeat(panel, k), given[neighbors].ravel()), 1)
    outside = votes.sum(1) == 0
    if outside.any():
        _add_votes_of_mixed_neighbors(
            votes, outside, [*reversed(before), *epochs[len(before) :]], given
        )
    with np.errstate(invalid="ignore"):
        return votes / votes.sum(1, keepdims=True)


def nearest_samples(
    run: RunFolder, row: int, sample: int, most: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest samples (n,) int64 and their distances (n,) in feature space.

    Searched among the samples whose features are stored, if this one is among them; else those it
    was last mixed with. Both are empty where neither is known.
    """
    panel = run.labels["panel"]
    position = int(np.searchsorted(panel, sample))
    if position < len(panel) and panel[position] == sample:
        features = np.array(run.array("panel_features")[row], dtype=np.float32)
        distances = np.linalg.norm(features - features[position], axis=1)
        distances[position] = np.inf  # never the sample itself
        near = np.argsort(distances, kind="stable")[: min(most, len(panel) - 1)]
        return panel[near], distances[near]
    mixed = [r for r, record in enumerate(run.epochs[: row + 1]) if record["n_neighbors"]]
    if not mixed:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    neighbors, distances, _ = run.mixing_of(mixed[-1])
    return neighbors[sample, :most], distances[sample, :most]


def _add_votes_of_mixed_neighbors(
    votes: np.ndarray, rows: np.ndarray, epochs: list[RunEpoch], given: np.ndarray
) -> None:
    """Add the votes of the neighbors that these rows (N,) bool were mixed with, up to NEIGHBORS."""
    n_votes = 0
    for epoch in epochs:
        if n_votes >= MAX_NEIGHBORS:
            return
        if epoch.record["n_neighbors"]:
            neighbors, distances, _ = epoch.run.mixing_of(epoch.row)
            near = np.isfinite(distances) & rows[:, None]  # random partners have no distance
            np.add.at(votes, (np.nonzero(near)[0], given[neighbors[near]]), 1)
            n_votes += neighbors.shape[1] * bool(near.any())


def _parent_history(run: RunFolder) -> list[RunEpoch]:
    parent = label_parent(run)
    if parent is None:
        return []
    return epoch_history(parent, run.info["parent"]["epoch"] - parent.info["first_epoch"])
