"""What a run folder says of one sample: what an epoch trained it on, and its whole history."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import StoreError
from engine.runs.folder import RunFolder


@dataclass(frozen=True, eq=False)
class Mix:
    """What a sample is mixed from: itself first, then K others."""

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

    def cut(self, k: int) -> "Mix":
        """The same with the k nearest only, by the weights that MixNN's rule gives them."""
        weights = rule(self.clean[: k + 1])
        return self.weighted(weights)

    def weighted(self, weights: np.ndarray) -> "Mix":
        """The first len(weights) parts, by weights (>= 0) that are made to sum to 1.

        Where all weights are 0 the sample keeps itself.
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


def trained_on(run: RunFolder, records: list[dict[str, Any]], row: int, sample: int) -> Mix:
    """What the epoch of a row trained a sample on, before augmentation."""
    k = records[row]["n_neighbors"]
    neighbors = run.array("neighbors")[row, :k, sample].astype(np.int64)
    run.check_ids("neighbors", neighbors)
    distances = np.append(0.0, run.array("distances")[row, :k, sample])
    weights = np.array(run.array("weights")[row, : k + 1, sample], np.float64)
    parts = np.append(sample, neighbors)
    kind = "nothing" if not k else "partner" if np.isnan(distances[1:]).any() else "neighbors"
    return Mix(kind, parts, weights, distances, *before(run, row, parts))


def candidates(
    run: RunFolder,
    records: list[dict[str, Any]],
    row: int,
    sample: int,
    most: int,
    features: np.ndarray | None = None,
) -> Mix:
    """Up to `most` neighbors to mix by hand: those of the epoch, then the nearest of the panel.

    features: (D,) of the sample after the epoch before, for one that the panel does not hold;
    without them only the epoch's own neighbors. Weights are those of MixNN's rule.
    """
    mix = trained_on(run, records, row, sample)
    if mix.kind != "neighbors":
        mix = Mix("neighbors", *(part[:1] for part in _columns(mix)))
    panel = run.labels["panel"]
    around = np.array(run.array("panel_features")[max(row - 1, 0)], np.float32)
    inside = np.flatnonzero(panel == sample)
    if len(inside):
        features = around[inside[0]]
    if features is not None and np.isfinite(features).all():
        distances = np.linalg.norm(around - features, axis=1)
        distances[np.isin(panel, mix.parts) | ~np.isfinite(distances)] = np.inf
        more = np.argsort(distances, kind="stable")[: max(0, most + 1 - len(mix.parts))]
        more = more[np.isfinite(distances[more])]
        clean, soft = before(run, row, panel[more])
        mix = Mix(
            "neighbors",
            np.append(mix.parts, panel[more]),
            np.empty(0),
            np.append(mix.distances, distances[more]),
            np.append(mix.clean, clean),
            np.concatenate([mix.soft, soft]),
        )
    if np.isnan(mix.clean).any():
        # nobody had judged them: what this epoch says is the nearest there is
        mix = Mix(mix.kind, *_columns(mix)[:3], run.array("clean")[row, mix.parts], mix.soft)
    return mix.cut(most)


def rule(clean: np.ndarray) -> np.ndarray:
    """MixNN's weights (K+1,) of a sample and its neighbors by their P(clean) (K+1,), own first."""
    import torch  # late: reading a history needs none

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


def before(run: RunFolder, row: int, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a row began with: P(clean) (n,), nan where nobody had judged, soft labels (n, C).

    A first epoch begins with the given labels; in a fork with what its parent left, or with the
    given labels where they are others than the parent's. Raises StoreError where the parent is
    gone.
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
            return before(parent, epoch - parent.info["first_epoch"] + 1, ids)
    soft = np.eye(len(run.info["data"]["classes"]))[given[ids]]
    return np.full(len(ids), np.nan), soft


def history(run: RunFolder, sample: int, n: int) -> dict[str, np.ndarray]:
    """A sample's first n rows: what `RunFolder.sample` returns, and the labels its neighbors had.

    carried: (n, K) int, the label each neighbor had before the epoch, -1 where there was none.
    moved: (n,) bool, whether the corrected label changed in this epoch.
    """
    found = {name: values[:n] for name, values in run.sample(sample).items()}
    neighbors, soft = found["neighbors"], run.array("soft")
    carried = np.full(neighbors.shape, -1)
    used = neighbors >= 0
    later = used & (np.arange(n) > 0)[:, None]
    rows = np.broadcast_to(np.arange(n)[:, None], neighbors.shape)[later]
    carried[later] = soft[rows - 1, neighbors[later]].argmax(1)
    corrected = found["soft"].argmax(1)
    start = corrected[:1]
    with suppress(StoreError):  # a fork whose parent is gone
        carried[0, used[0]] = before(run, 0, neighbors[0, used[0]])[1].argmax(1)
        start = before(run, 0, np.array([sample]))[1].argmax(1)
    return found | {"carried": carried, "moved": np.diff(corrected, prepend=start) != 0}


def _columns(mix: Mix) -> tuple[np.ndarray, ...]:
    return mix.parts, mix.weights, mix.distances, mix.clean, mix.soft


def _parent(run: RunFolder) -> RunFolder:
    """The run that a fork came from. Raises StoreError where that is gone."""
    if (parent := run.parent) is not None:
        return parent
    raise StoreError(
        f"{run.folder.name} is a fork of {Path(run.info['parent']['run']).name}, which is gone: "
        "what its first epoch began with is not known"
    )
