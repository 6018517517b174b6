"""The evidence of network, neighbors and losses for and against each given label."""

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from engine.config import corrects
from engine.method.noise_estimate import MIN_NEIGHBORS, n_voters
from engine.runs.folder import RunFolder
from engine.runs.lineage import label_parent

MAX_VOTES = 15  # epochs in which neighbors vote; fewer of a long run, to save time


@dataclass(frozen=True, eq=False)
class RunEpoch:
    """One epoch of a run, or of the run that it was forked from."""

    run: RunFolder
    row: int
    record: dict[str, Any]
    corrects: bool  # whether soft labels were updated in it


def epoch_history(run: RunFolder, row: int) -> list[RunEpoch]:
    """The epochs up to a row, oldest first; those of a fork's parent included where it exists.

    A parent with other given labels (other noise) is left out: the fork's labels started over.
    """
    epochs = _parent_history(run)
    for number, record in enumerate(run.epochs[: row + 1]):
        config = run.config.changed(**record["settings"])
        updated = corrects(config, record["epoch"])
        epochs.append(RunEpoch(run, number, record, updated))
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


def evidence_epochs(epochs: list[RunEpoch]) -> list[RunEpoch]:
    """The epochs that speak about the given labels: the later half of those before correction.

    A network has learned little in the earlier ones, and is taught other labels after them.
    """
    before = epochs_before_correction(epochs)
    return before[len(before) // 2 :]


def mean_pred_probs(epochs: list[RunEpoch]) -> np.ndarray:
    """(N, C) float32, rows sum to 1: the network's probabilities, averaged over epochs.

    Stored are the probability of the prediction and, before correction, the loss of the given
    label; the rest is shared equally among the other classes. A recorded loop may lack predictions:
    then the loss alone counts.
    """
    n, n_classes = epochs[-1].run.array("soft").shape[1:]
    rows, total = np.arange(n), np.zeros((n, n_classes), np.float32)
    for epoch in epochs:
        given = epoch.run.labels["given"]
        if not epoch.run.has("prediction"):
            own = np.exp(-epoch.run.row("loss", epoch.row)).clip(0, 1)
            rest = (1 - own) / max(n_classes - 1, 1)
            total += rest[:, None]
            total[rows, given] += own - rest
            continue
        add_pred_probs(
            total,
            epoch.run.row("prediction", epoch.row),
            epoch.run.row("confidence", epoch.row),
            None if epoch.corrects else epoch.run.row("loss", epoch.row),
            given,
        )
    return total / len(epochs)


def add_pred_probs(
    total: np.ndarray,
    prediction: np.ndarray,
    confidence: np.ndarray,
    loss: np.ndarray | None,
    given: np.ndarray,
) -> None:
    """Add to total (N, C) the probabilities that prediction, confidence and loss of an epoch say.

    loss: (N,) of the given labels; None where it is of others.
    """
    rows, n_classes = np.arange(len(given)), total.shape[1]
    other = (prediction != given) & (loss is not None)  # the loss says more than confidence
    own = np.where(other, np.exp(0 if loss is None else -loss), 0)
    own = np.minimum(own, 1 - confidence)
    rest = (1 - confidence - own) / np.maximum(n_classes - 1 - other, 1)
    total += rest[:, None]
    total[rows, prediction] += confidence - rest
    total[rows[other], given[other]] += (own - rest)[other]


def log_likelihood(epochs: list[RunEpoch]) -> np.ndarray:
    """(N,) float32: log of the given label's probability, averaged over epochs before correction.

    The mean loss with the opposite sign: as the area under the margin (Pleiss et al. 2020), it uses
    that a network learns a wrong label late.
    """
    return -np.mean([epoch.run.row("loss", epoch.row) for epoch in epochs], axis=0)


def neighbor_votes(epochs: list[RunEpoch]) -> np.ndarray:
    """(N, C) float32: share of each sample's nearest neighbors that were given each class.

    A sample's own label has no vote. Averaged over epochs. Neighbors are the nearest by the
    features of each epoch: among all samples in a run that stores votes (see `Snapshot.votes`),
    else among those whose features are stored (see `NoisyLabels.panel`); for others than these,
    those it was mixed with in these epochs. Rows of samples without a neighbor are nan, all others
    sum to 1. With vote_from linear, the stored votes are the linear classifier's probabilities.
    """
    run, every = epochs[-1].run, -(-len(epochs) // MAX_VOTES)
    epochs = epochs[::-every][::-1]  # the newest among them
    given = run.labels["given"]
    votes = np.zeros(run.array("soft").shape[1:], np.float32)
    for epoch in epochs:
        stored = epoch.run.votes(epoch.row)
        if stored is None:
            _add_votes_of_panel(votes, epoch, given)
        else:
            votes += stored
    outside = votes.sum(1) == 0
    if outside.any():
        _add_votes_of_mixed_neighbors(votes, outside, epochs, given)
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
    if position < len(panel) and panel[position] == sample and run.has("panel_features"):
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


def _add_votes_of_panel(votes: np.ndarray, epoch: RunEpoch, given: np.ndarray) -> None:
    """Add the votes of the nearest of the panel to those of its samples."""
    panel = epoch.run.labels["panel"]
    if len(panel) <= MIN_NEIGHBORS or not epoch.run.has("panel_features"):
        return
    features = np.array(epoch.run.array("panel_features")[epoch.row], dtype=np.float32)
    if not np.isfinite(features).all():
        return
    import torch  # late: the rest does not need it

    from engine.method.neighbors import nearest

    k = n_voters(len(panel), votes.shape[1])
    neighbors = panel[nearest(torch.from_numpy(features), k)[0].numpy()]
    np.add.at(votes, (np.repeat(panel, k), given[neighbors].ravel()), 1)


def _add_votes_of_mixed_neighbors(
    votes: np.ndarray, rows: np.ndarray, epochs: list[RunEpoch], given: np.ndarray
) -> None:
    """Add the votes of the neighbors that these rows (N,) bool were mixed with."""
    for epoch in epochs:
        if epoch.record["n_neighbors"]:
            neighbors, distances, _ = epoch.run.mixing_of(epoch.row)
            near = np.isfinite(distances) & rows[:, None]  # random partners have no distance
            np.add.at(votes, (np.nonzero(near)[0], given[neighbors[near]]), 1)


def _parent_history(run: RunFolder) -> list[RunEpoch]:
    parent = label_parent(run)
    if parent is None:
        return []
    return epoch_history(parent, run.info["parent"]["epoch"] - parent.info["first_epoch"])
