"""Which labels of a run look wrong, what they should be instead, and what speaks for it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.metrics import label_quality
from engine.report import SUSPICIOUS_BELOW
from engine.store import Run
from engine.train import corrects

VOTES = 5  # newest epochs that are asked where correction has not moved a label yet


@dataclass(frozen=True, eq=False)
class Suspects:
    """What one epoch says of all labels. N samples, C classes."""

    given: np.ndarray  # (N,) int64
    suggested: np.ndarray  # (N,) int64, most likely class
    likelihood: np.ndarray  # (N, C) float32, rows sum to 1
    clean: np.ndarray  # (N,) float32, P(clean) of the current label
    quality: np.ndarray  # (N,) float in [0, 1], how likely the given label is right
    order: np.ndarray  # (S,) int64, the suspicious samples, the most suspicious first

    def sure(self) -> np.ndarray:
        """(N,) likelihood of the suggested label."""
        return self.likelihood[np.arange(len(self.given)), self.suggested]


def find(run: Run, row: int) -> Suspects:
    """Suspicious as `engine.report` has it: correction changed the label, or P(clean) < 0.5.

    They are ranked by `engine.metrics.label_quality`.
    """
    given = run.labels["given"]
    soft, clean = np.array(run.array("soft")[row]), np.array(run.array("clean")[row])
    quality = label_quality(soft, clean, given)
    likelihood = likelihoods(run, row)
    suspicious = np.flatnonzero((soft.argmax(1) != given) | (clean < SUSPICIOUS_BELOW))
    order = suspicious[np.argsort(quality[suspicious], kind="stable")]
    return Suspects(given, likelihood.argmax(1), likelihood, clean, quality, order)


def likelihoods(run: Run, row: int) -> np.ndarray:
    """(N, C) float32, rows sum to 1: what the network said of each image, averaged over epochs.

    The soft label is a moving average that began at the given label, so part of it is that label
    and no evidence for it: after m steps alpha^m. This part is taken out. Before any step, the
    network's votes of the last epochs stand in, each weighed by its confidence.
    """
    given = run.labels["given"]
    inertia = given_share(run, row)
    soft = np.array(run.array("soft")[row])
    if inertia > 0.999:
        return _votes(run, row, soft.shape[1])
    soft[np.arange(len(given)), given] -= inertia
    soft = soft.clip(min=1e-7)
    return soft / soft.sum(1, keepdims=True)


def given_share(run: Run, row: int) -> float:
    """How much of each soft label still is the given label, in [0, 1]; 1 before any correction."""
    share = _inherited_share(run)
    for record in run.epochs[: row + 1]:
        config = run.config.changed(**record["settings"])
        if corrects(config, record["epoch"]):
            share *= config.alpha
    return share


def evidence(run: Run, row: int, sample: int, most: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The nearest samples (n,) int64 and their distances (n,) in the network's eyes.

    Searched among the samples whose features are kept, where this one is among them; else those it
    was last mixed with. Both are empty where neither is known.
    """
    panel = run.labels["panel"]
    at = int(np.searchsorted(panel, sample))
    if at < len(panel) and panel[at] == sample:
        features = np.array(run.array("panel_features")[row], dtype=np.float32)
        distances = np.linalg.norm(features - features[at], axis=1)
        distances[at] = np.inf  # never the image itself
        near = np.argsort(distances, kind="stable")[: min(most, len(panel) - 1)]
        return panel[near], distances[near]
    mixed = [r for r, record in enumerate(run.epochs[: row + 1]) if record["n_neighbors"]]
    if not mixed:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    neighbors, distances, _ = run.mixed_with(mixed[-1])
    return neighbors[sample, :most], distances[sample, :most]


def _votes(run: Run, row: int, n_classes: int) -> np.ndarray:
    rows = slice(max(0, row + 1 - VOTES), row + 1)
    prediction = np.array(run.array("prediction")[rows])
    run.check_numbers("prediction", prediction)
    confidence = np.array(run.array("confidence")[rows])
    n_epochs, n = prediction.shape
    # what a vote leaves goes to all other classes alike: more is not kept on disk
    rest = (1 - confidence) / max(n_classes - 1, 1)
    votes = np.repeat(rest.sum(0)[:, None], n_classes, axis=1)
    for epoch in range(n_epochs):
        votes[np.arange(n), prediction[epoch]] += confidence[epoch] - rest[epoch]
    return (votes / n_epochs).astype(np.float32)


def _inherited_share(run: Run) -> float:
    """given_share that a fork began with; 1 where nothing is known of its parent."""
    parent = run.info["parent"]
    if parent is None or not (Path(parent["run"]) / "epochs.json").is_file():
        return 1.0
    before = Run(parent["run"])
    rows = [row for row, r in enumerate(before.epochs) if r["epoch"] <= parent["epoch"]]
    # other noise: the labels began anew
    if not rows or not np.array_equal(before.labels["given"], run.labels["given"]):
        return 1.0
    return given_share(before, rows[-1])
