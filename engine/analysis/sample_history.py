"""One sample of a run: what an epoch trained it on, and its history over the epochs."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import StoreError
from engine.runs.folder import RunFolder


@dataclass(frozen=True, eq=False)
class Mix:
    """The weighted images that replace a sample in training: itself first, then K others."""

    kind: str  # "nothing", "partner" (random, mixup) or "neighbors"
    parts: np.ndarray  # (K+1,) int64 ids
    weights: np.ndarray  # (K+1,) float, sum to 1
    distances: np.ndarray  # (K+1,) float in feature space, own 0; nan for a random partner
    clean: np.ndarray  # (K+1,) float, P(clean) after the epoch before; nan where it is not known
    soft: np.ndarray  # (K+1, C) float, soft labels after the epoch before

    @cached_property
    def label(self) -> np.ndarray:
        """The mixed label (C,): the soft labels by their weights."""
        return self.weights @ self.soft

    def nearest(self, k: int) -> "Mix":
        """The same with only the k nearest neighbors, with the weights of MixNN's rule."""
        return self.reweighted(mixnn_weights(self.clean[: k + 1]))

    def reweighted(self, weights: np.ndarray) -> "Mix":
        """The first len(weights) parts with these weights (>= 0), normalized to sum to 1.

        Where all weights are 0, the sample itself gets weight 1.
        """
        n, total = len(weights), weights.sum()
        own = np.eye(1, n)[0]
        return Mix(
            self.kind,
            self.parts[:n],
            weights / total if total > 0 else own,
            self.distances[:n],
            self.clean[:n],
            self.soft[:n],
        )


def training_mix(run: RunFolder, records: list[dict[str, Any]], row: int, sample: int) -> Mix:
    """What the epoch in a row of the run trained a sample on, before augmentation."""
    k = records[row]["n_neighbors"]
    distances = np.append(0.0, run.array("distances")[row, :k, sample])
    kind = "nothing" if not k else "neighbors"
    if np.isnan(distances[1:]).any():
        kind, k, distances = "partner", 1, distances[:2]  # the others have no weight
    neighbors = run.array("neighbors")[row, :k, sample].astype(np.int64)
    run.check_ids("neighbors", neighbors)
    weights = np.array(run.array("weights")[row, : k + 1, sample], np.float64)
    parts = np.append(sample, neighbors)
    return Mix(kind, parts, weights, distances, *state_before(run, row, parts))


def mixing_candidates(
    run: RunFolder,
    records: list[dict[str, Any]],
    row: int,
    sample: int,
    most: int,
    features: np.ndarray | None = None,
) -> Mix:
    """Up to `most` neighbors for manual mixing: those of the epoch, then the nearest of the panel.

    features: (D,) of the sample after the epoch before, for one that is not in the panel; without
    them only the epoch's own neighbors are returned. Weights are those of MixNN's rule.
    """
    mix = training_mix(run, records, row, sample)
    if mix.kind != "neighbors":
        mix = replace(_first(mix), kind="neighbors")
    panel = run.labels["panel"]
    if not run.has("panel_features"):  # a recorded loop may lack them
        return mix.nearest(most)
    panel_features = np.array(run.array("panel_features")[max(row - 1, 0)], np.float32)
    inside = np.flatnonzero(panel == sample)
    if len(inside):
        features = panel_features[inside[0]]
    if features is not None and np.isfinite(features).all():
        distances = np.linalg.norm(panel_features - features, axis=1)
        distances[np.isin(panel, mix.parts) | ~np.isfinite(distances)] = np.inf
        more = np.argsort(distances, kind="stable")[: max(0, most + 1 - len(mix.parts))]
        more = more[np.isfinite(distances[more])]
        clean, soft = state_before(run, row, panel[more])
        mix = Mix(
            "neighbors",
            np.append(mix.parts, panel[more]),
            np.empty(0),
            np.append(mix.distances, distances[more]),
            np.append(mix.clean, clean),
            np.concatenate([mix.soft, soft]),
        )
    if np.isnan(mix.clean).any():
        # not estimated before this epoch, so that its own estimate is the closest one
        mix = replace(mix, clean=run.array("clean")[row, mix.parts])
    return mix.nearest(most)


def mixnn_weights(clean: np.ndarray) -> np.ndarray:
    """MixNN's weights (K+1,) of a sample and its neighbors by their P(clean) (K+1,), own first."""
    import torch  # late: reading a history does not need it

    from engine.method.mixing import mixing_weights

    own_first = torch.from_numpy(np.asarray(clean, np.float64))
    others = torch.arange(1, len(clean)).expand(len(clean), -1)
    return mixing_weights(own_first, others)[0].numpy()


def mixed_image(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted sum (H, W, C) float of images (K+1, H, W, C) in [0, 255] by weights (K+1,)."""
    import torch

    from engine.method.mixing import weighted_sum

    parts = torch.from_numpy(np.asarray(images, np.float64))
    mixed = weighted_sum(parts[None], torch.from_numpy(np.asarray(weights, np.float64))[None])
    return mixed[0].numpy().clip(0, 255)


def state_before(run: RunFolder, row: int, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """State of samples `ids` (n,) before a row: P(clean) (n,), nan if not estimated, soft (n, C).

    A first epoch starts with the given labels, that of a fork with its parent's soft labels, unless
    their given labels differ. Raises StoreError where the parent is missing.
    """
    if row > 0:
        return (
            np.array(run.array("clean")[row - 1, ids], np.float64),
            np.array(run.array("soft")[row - 1, ids], np.float64),
        )
    given = run.labels["given"]
    if run.info["parent"] is not None:
        parent, epoch = _parent(run), run.info["parent"]["epoch"]
        if np.array_equal(parent.labels["given"], given):
            return state_before(parent, epoch - parent.info["first_epoch"] + 1, ids)
    soft = np.eye(len(run.info["data"]["classes"]))[given[ids]]
    return np.full(len(ids), np.nan), soft


def sample_history(run: RunFolder, sample: int, n: int) -> dict[str, np.ndarray]:
    """A sample's first n rows: what `Run.sample` returns, and the labels its neighbors had.

    neighbor_labels: (n, K) int, the label of each neighbor before the epoch, -1 where there is no
    neighbor. label_changed: (n,) bool, whether the corrected label changed in this epoch.
    """
    history = {name: values[:n] for name, values in run.sample(sample).items()}
    neighbors, soft = history["neighbors"], run.array("soft")
    neighbor_labels = np.full(neighbors.shape, -1)
    used = neighbors >= 0
    later = used & (np.arange(n) > 0)[:, None]
    rows = np.broadcast_to(np.arange(n)[:, None], neighbors.shape)[later]
    neighbor_labels[later] = soft[rows - 1, neighbors[later]].argmax(1)
    corrected = history["soft"].argmax(1)
    start = corrected[:1]
    with suppress(StoreError):  # a fork whose parent is missing
        neighbor_labels[0, used[0]] = state_before(run, 0, neighbors[0, used[0]])[1].argmax(1)
        start = state_before(run, 0, np.array([sample]))[1].argmax(1)
    changed = np.diff(corrected, prepend=start) != 0
    return history | {"neighbor_labels": neighbor_labels, "label_changed": changed}


def _first(mix: Mix) -> Mix:
    """The sample alone, with the weight it has in the mix."""
    arrays = ("parts", "weights", "distances", "clean", "soft")
    return replace(mix, **{name: getattr(mix, name)[:1] for name in arrays})


def _parent(run: RunFolder) -> RunFolder:
    """The run that a fork was made from. Raises StoreError where it is missing."""
    if (parent := run.parent) is not None:
        return parent
    raise StoreError(
        f"{run.folder.name} is a fork of {Path(run.info['parent']['run']).name}, which is missing: "
        "the state before its first epoch is not known"
    )
