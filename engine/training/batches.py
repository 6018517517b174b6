"""The batches of an epoch, and the partners that each sample is mixed with."""

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.config import registry
from engine.errors import TrainingError
from engine.hardware import choose_threads, threads
from engine.method.mixing import EPSILON, mixup_partners
from engine.method.neighbors import nearest

if TYPE_CHECKING:
    from engine.training.evaluation import Evaluation
    from engine.training.state import State


def draw_batches(state: "State", phase: str) -> list[Tensor]:
    """The batches of an epoch: row numbers (B,) int64 on the device, B nearly equal in all."""
    n, config = state.data.n, state.config
    if phase == "warmup" and not config.warmup_shuffle:
        order = torch.arange(n)
    elif phase != "warmup" and config.sampling != "uniform" and state.clean is not None:
        clean = state.clean if config.sampling == "clean" else (state.clean >= 1).float()
        odds = balanced_odds(clean, state.soft.argmax(1), state.data.n_classes)
        order = torch.from_numpy(state.rng.choice(n, n, p=odds.cpu().numpy()))
    else:
        order = torch.from_numpy(state.rng.permutation(n))
    # nearly equal: batch normalization cannot use a last batch of one
    return list(order.to(state.device).tensor_split(-(-n // config.batch_size)))


def balanced_odds(clean: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Probabilities (N,) float64 of drawing each sample: by P(clean), all classes alike.

    clean: (N,) in [0, 1]. labels: (N,) int64. Without this
    balance, classes that are hard to learn lose their samples and are never learned.
    """
    clean = clean.double() + EPSILON
    total = clean.new_zeros(n_classes).index_add(0, labels, clean)
    odds = clean / total[labels]
    return odds / odds.sum()


@dataclass(frozen=True, eq=False)
class Partners:
    """The samples that each sample is mixed with; K is 0 without mixing."""

    neighbors: Tensor  # (N, K) int64, rows of the data set
    distances: Tensor  # (N, K) float32, nan for random partners
    weights: Tensor  # (N, K+1) float32, own weight first


def find_partners(
    state: "State", mixing: str, batches: list[Tensor], evaluation: "Evaluation | None"
) -> Partners:
    """The partners of each sample in this epoch, and their weights.

    mixing: "none", "mixup" or "neighbors". batches: as `draw_batches` returns them.
    evaluation: the last one. Neighbors need it, and P(clean) in state.
    """
    if mixing == "none":
        n, device = state.data.n, state.device
        neighbors = torch.empty(n, 0, dtype=torch.int64, device=device)
        return Partners(neighbors, neighbors.float(), torch.ones(n, 1, device=device))
    if mixing == "mixup":
        return _random_partners(state, batches)
    if evaluation is None or state.clean is None:
        raise ValueError("neighbors need the features and P(clean) of an evaluation")
    neighbors, distances = _nearest_partners(state, batches, evaluation)
    shares = None
    if state.config.random_share:
        shares = _replace_by_random(state, batches, neighbors, distances)
    name = state.config.weighting
    weights = registry.function("weights", name)(
        state.clean,
        neighbors,
        distances=distances,
        features=evaluation.features,
        shares=shares,
        epoch=state.epoch + 1,
    )
    if registry.is_custom(name):
        _check_weights(name, weights, neighbors)
    return Partners(neighbors, distances, weights)


def _check_weights(name: str, weights: Tensor, neighbors: Tensor) -> None:
    """Raise TrainingError unless rows of weights (N, K+1) are shares."""
    shape = (len(neighbors), neighbors.shape[1] + 1)
    if not isinstance(weights, Tensor) or weights.shape != shape:
        raise TrainingError(
            f"weighting = {registry.in_words(name)!r} returns {described(weights)}: allowed are "
            f"weights (N, K+1) = {shape}, own weight first"
        )
    if not (weights.min() >= 0 and (weights.sum(1) - 1).abs().max() < 1e-3):  # false for nan
        raise TrainingError(
            f"weighting = {registry.in_words(name)!r} returns weights from {weights.min():g} "
            f"in rows that sum to {weights.sum(1).min():g} to {weights.sum(1).max():g}: allowed "
            "are weights from 0 in rows that sum to 1"
        )


def described(value: object) -> str:
    """What a part of one's own has returned, for a message."""
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _random_partners(state: "State", batches: list[Tensor]) -> Partners:
    n, device = state.data.n, state.device
    # drawn on the CPU batch by batch, copied to the device once
    drawn = [mixup_partners(len(batch), state.config.mixup_beta, state.rng) for batch in batches]
    starts = accumulate([len(batch) for batch in batches], initial=0)
    partners = torch.cat([own + start for (own, _), start in zip(drawn, starts, strict=False)])
    order = torch.cat(batches)
    # samples that are not drawn, see balanced_odds, keep themselves
    neighbors = torch.arange(n, device=device)[:, None]
    neighbors[order] = order[partners.to(device)]
    weights = torch.tensor([1.0, 0.0], device=device).repeat(n, 1)
    weights[order] = torch.cat([weight for _, weight in drawn]).to(device)
    return Partners(neighbors, torch.full((n, 1), torch.nan, device=device), weights)


def _nearest_partners(
    state: "State", batches: list[Tensor], evaluation: "Evaluation"
) -> tuple[Tensor, Tensor]:
    """The K nearest neighbors (N, K) of each sample, and their distances (N, K)."""
    n, config, device, features = state.data.n, state.config, state.device, evaluation.features
    if config.neighbor_scope == "dataset":
        if evaluation.neighbors is not None and config.k <= evaluation.neighbors.shape[1]:
            assert evaluation.distances is not None
            found = evaluation.neighbors, evaluation.distances
        else:
            found = nearest_samples(state, features, config.k)
        return found[0][:, : config.k].clone(), found[1][:, : config.k].clone()
    neighbors = torch.empty(n, config.k, dtype=torch.int64, device=device)
    distances = torch.empty(n, config.k, device=device)
    for batch in batches:
        positions, distances[batch] = nearest(
            features[batch], config.k, backend="exact", metric=config.neighbor_metric
        )
        neighbors[batch] = batch[positions]
    return neighbors, distances


def nearest_samples(state: "State", features: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest of the whole set (N, k) and their distances, by features (N, D).

    Samples that are rows have the same neighbors in every epoch: they are searched once, for the
    most that the settings need.
    """
    config, found = state.config, state.nearest_rows
    if found is None or found[0].shape[1] < k:
        most = max(k, config.k) if state.data.is_rows and config.mixing == "neighbors" else k
        # a search that happens once is worth all cores
        n_threads = choose_threads(config.threads, "") if state.data.is_rows else state.threads
        with threads(n_threads):
            found = nearest(
                features,
                most,
                backend=config.neighbor_backend,
                seed=config.seed,
                metric=config.neighbor_metric,
            )
        if state.data.is_rows:
            state.nearest_rows = found
    return found[0][:, :k], found[1][:, :k]


def _replace_by_random(
    state: "State", batches: list[Tensor], neighbors: Tensor, distances: Tensor
) -> Tensor:
    """Replace the neighbors of some samples by one random sample, drawn as the batches are.

    Changes neighbors and distances (N, K) in place; returns the shares (N, K+1) of P(clean) that
    count: 1 for neighbors; for a random sample Beta-distributed, as in mixup, and 0 for the rest.
    """
    n, config, device = state.data.n, state.config, state.device
    order = torch.cat(batches)
    chosen = order[torch.from_numpy(state.rng.random(n) < config.random_share).to(device)]
    partners = order[torch.from_numpy(state.rng.permutation(n)).to(device)][: len(chosen)]
    own = torch.from_numpy(state.rng.beta(config.mixup_beta, config.mixup_beta, len(chosen)))
    shares = torch.ones(n, neighbors.shape[1] + 1, device=device)
    shares[chosen] = 0
    shares[chosen, 0], shares[chosen, 1] = own.float().to(device), 1 - own.float().to(device)
    neighbors[chosen, 0] = partners
    distances[chosen] = torch.nan
    return shares
