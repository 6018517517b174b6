"""The batches of an epoch, and the partners that each sample is mixed with."""

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from engine.method.mixing import mixing_weights, mixup_partners
from engine.method.neighbors import nearest

if TYPE_CHECKING:
    from engine.training.state import State


def draw_batches(state: "State", phase: str) -> list[Tensor]:
    """The batches of an epoch: row numbers (B,) int64 on the device, B nearly equal in all."""
    n, config = state.data.n, state.config
    shuffled = phase != "warmup" or config.warmup_shuffle
    order = torch.from_numpy(state.rng.permutation(n) if shuffled else np.arange(n))
    # nearly equal: batch normalization cannot use a last batch of one
    return list(order.to(state.device).tensor_split(-(-n // config.batch_size)))


@dataclass(frozen=True, eq=False)
class Partners:
    """The samples that each sample is mixed with; K is 0 without mixing."""

    neighbors: Tensor  # (N, K) int64, rows of the data set
    distances: Tensor  # (N, K) float32, nan for random partners
    weights: Tensor  # (N, K+1) float32, own weight first


def find_partners(
    state: "State", mixing: str, batches: list[Tensor], features: Tensor | None
) -> Partners:
    """The partners of each sample in this epoch, and their weights.

    mixing: "none", "mixup" or "neighbors". batches: as `draw_batches` returns them. features:
    (N, D) float32 of the last evaluation. Neighbors need them, and P(clean) in state.
    """
    if mixing == "none":
        n, device = state.data.n, state.device
        neighbors = torch.empty(n, 0, dtype=torch.int64, device=device)
        return Partners(neighbors, neighbors.float(), torch.ones(n, 1, device=device))
    if mixing == "mixup":
        return _random_partners(state, batches)
    if features is None or state.clean is None:
        raise ValueError("neighbors need the features and P(clean) of an evaluation")
    return _nearest_partners(state, batches, features, state.clean)


def _random_partners(state: "State", batches: list[Tensor]) -> Partners:
    n, device = state.data.n, state.device
    # drawn on the CPU batch by batch, copied to the device once
    drawn = [mixup_partners(len(batch), state.config.mixup_beta, state.rng) for batch in batches]
    starts = accumulate([len(batch) for batch in batches], initial=0)
    partners = torch.cat([own + start for (own, _), start in zip(drawn, starts, strict=False)])
    order = torch.cat(batches)
    neighbors = torch.empty(n, 1, dtype=torch.int64, device=device)
    neighbors[order] = order[partners.to(device)]
    weights = torch.empty(n, 2, device=device)
    weights[order] = torch.cat([weight for _, weight in drawn]).to(device)
    return Partners(neighbors, torch.full((n, 1), torch.nan, device=device), weights)


def _nearest_partners(
    state: "State", batches: list[Tensor], features: Tensor, clean: Tensor
) -> Partners:
    n, config, device = state.data.n, state.config, state.device
    if config.neighbor_scope == "dataset":
        neighbors, distances = nearest(
            features, config.k, backend=config.neighbor_backend, seed=config.seed
        )
    else:
        neighbors = torch.empty(n, config.k, dtype=torch.int64, device=device)
        distances = torch.empty(n, config.k, device=device)
        for batch in batches:
            positions, distances[batch] = nearest(features[batch], config.k, backend="exact")
            neighbors[batch] = batch[positions]
    clean = torch.ones_like(clean) if config.weighting == "equal" else clean
    return Partners(neighbors, distances, mixing_weights(clean, neighbors))
