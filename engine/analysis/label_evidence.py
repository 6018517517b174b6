"""What a run folder holds for and against each given label: network, neighbors, losses."""

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from engine.config import corrects
from engine.runs.folder import RunFolder
from engine.runs.lineage import label_parent

EPOCHS = 5  # newest epochs whose predictions are averaged
NEIGHBORS = 20  # that vote on a label, fewer where classes are small; at least FEWEST
FEWEST = 5


@dataclass(frozen=True, eq=False)
class Moment:
    """One epoch of a run or of a run that it was forked from."""

    run: RunFolder
    row: int
    record: dict[str, Any]
    alpha: float  # of this epoch
    corrects: bool  # whether soft labels moved in it


def history(run: RunFolder, row: int) -> list[Moment]:
    """The epochs up to a row, oldest first; a fork's begin with its parent's where that is there.

    A parent with other given labels (other noise) is left out: the fork's labels started over.
    """
    moments = _parents(run)
    for number, record in enumerate(run.epochs[: row + 1]):
        config = run.config.changed(**record["settings"])
        moves = corrects(config, record["epoch"])
        moments.append(Moment(run, number, record, config.alpha, moves))
    return moments


def before_correction(moments: list[Moment]) -> list[Moment]:
    """The epochs before the first one in which soft labels moved; all where none did."""
    first = moments[0]
    # a fork whose parent is gone may have begun with labels that had moved already
    if first.run.info["parent"] is not None and not first.corrects:
        given = first.run.labels["given"]
        own = first.run.array("soft")[first.row][np.arange(len(given)), given]
        if own.min() < 0.999:
            return []
    return list(takewhile(lambda moment: not moment.corrects, moments))


def given_share(moments: list[Moment]) -> float:
    """How much of each soft label still is the given label, in [0, 1]; 1 before any correction."""
    return float(np.prod([moment.alpha for moment in moments if moment.corrects]))


def likelihoods(moments: list[Moment]) -> np.ndarray:
    """(N, C) float32, rows sum to 1: what the network said of each image, averaged over epochs.

    The soft label is a moving average that began at the given label, so part of it is that label
    and no evidence for it: after m steps alpha^m. This part is taken out. Before any step, it is
    the average over the newest epochs, see `average_prediction`.
    """
    run, row = moments[-1].run, moments[-1].row
    given, inertia = run.labels["given"], given_share(moments)
    if inertia > 0.999:
        return average_prediction(moments)
    soft = np.array(run.array("soft")[row], dtype=np.float32)
    soft[np.arange(len(given)), given] -= inertia
    soft = soft.clip(min=1e-7)
    return soft / soft.sum(1, keepdims=True)


def average_prediction(moments: list[Moment]) -> np.ndarray:
    """(N, C) float32, rows sum to 1: the network's probabilities, averaged over EPOCHS epochs."""
    newest = moments[-EPOCHS:]
    n, n_classes = newest[0].run.array("soft").shape[1:]
    total, rows = np.zeros((n, n_classes), np.float32), np.arange(n)
    for moment in newest:
        prediction = np.array(moment.run.array("prediction")[moment.row])
        moment.run.check_ids("prediction", prediction)
        confidence = np.array(moment.run.array("confidence")[moment.row])
        # what the predicted class leaves goes to all others alike: more is not kept on disk
        rest = (1 - confidence) / max(n_classes - 1, 1)
        total += rest[:, None]
        total[rows, prediction] += confidence - rest
    return total / len(newest)


def neighbor_votes(moments: list[Moment], before: list[Moment]) -> np.ndarray:
    """(N, C) float32: share of each sample's nearest others that were given each class.

    Neighbors are the nearest by the features before correction, as far as they are kept (see
    `NoisyLabels.panel`); for all other samples, those it was mixed with in the epochs before
    correction, else after. Rows of samples without a neighbor are nan, all others sum to 1.
    """
    at = before[-1] if before else moments[-1]
    given = at.run.labels["given"]
    n, n_classes = at.run.array("soft").shape[1:]
    votes = np.zeros((n, n_classes), np.float32)
    panel = at.run.labels["panel"]
    features = np.array(at.run.array("panel_features")[at.row], dtype=np.float32)
    if len(panel) > FEWEST and np.isfinite(features).all():
        k = min(max(len(panel) // (2 * n_classes), FEWEST), NEIGHBORS)
        import torch  # late: the rest needs none

        from engine.method.neighbors import nearest

        found = panel[nearest(torch.from_numpy(features), k)[0].numpy()]
        np.add.at(votes, (np.repeat(panel, k), given[found].ravel()), 1)
    outside = votes.sum(1) == 0
    if outside.any():
        _add_mixed(votes, outside, [*reversed(before), *moments[len(before) :]], given)
    with np.errstate(invalid="ignore"):
        return votes / votes.sum(1, keepdims=True)


def _add_mixed(
    votes: np.ndarray, rows: np.ndarray, moments: list[Moment], given: np.ndarray
) -> None:
    """Add the votes of the neighbors that these rows (N,) bool were mixed with, up to NEIGHBORS."""
    n_votes = 0
    for moment in moments:
        if n_votes >= NEIGHBORS:
            return
        if moment.record["n_neighbors"]:
            neighbors, distances, _ = moment.run.mixing_of(moment.row)
            near = np.isfinite(distances) & rows[:, None]  # random partners have no distance
            np.add.at(votes, (np.nonzero(near)[0], given[neighbors[near]]), 1)
            n_votes += neighbors.shape[1] * bool(near.any())


def _parents(run: RunFolder) -> list[Moment]:
    parent = label_parent(run)
    if parent is None:
        return []
    return history(parent, run.info["parent"]["epoch"] - parent.info["first_epoch"])
