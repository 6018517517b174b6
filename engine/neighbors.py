"""Nearest neighbors in feature space; the one border to the search libraries."""

import numpy as np
import torch
from torch import Tensor

# On a CPU, building and asking an HNSW graph overtakes exact search here, and only for features of
# few dimensions; on a GPU never (tests/benchmarks/bench_neighbors.py, assets/results).
HNSW_FROM, HNSW_DIMENSIONS = 20_000, 256
# hnswlib's settings; ef grows with k. On a ResNet's 50,000 x 512 features they left recall 0.91.
HNSW_M, HNSW_EF_CONSTRUCTION, HNSW_EF = 16, 100, 50
CHUNK = 2**25  # entries of the distance matrix held at once: 128 MB of float32


def nearest(
    features: Tensor, k: int, *, backend: str = "auto", seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The k nearest other samples of each sample, nearest first, by Euclidean distance.

    features: (N, D) float, on any device. k: 1 to N - 1. backend: "exact" (all distances by matrix
    product), "hnsw" (approximate, hnswlib, on the CPU), "auto" (the faster one for this size and
    device). A sample is never its own neighbor; its exact duplicates are, at distance 0.
    Returns indices (N, k) int64 and distances (N, k) float32, on the device of features.
    Raises ValueError for k, backend or features that are not allowed.
    """
    if features.ndim != 2:
        raise ValueError(f"features of shape {tuple(features.shape)}: allowed is (N, D)")
    n = len(features)
    if not 1 <= k < n:
        raise ValueError(
            f"k = {k}: allowed is 1 to {n - 1}, "
            f"since {n} samples have {n - 1} neighbors each at most"
        )
    if not torch.isfinite(features).all():
        raise ValueError("features have entries that are not finite: has the training diverged?")
    backends = {"exact": _exact, "hnsw": _hnsw}
    if backend == "auto":
        large = n >= HNSW_FROM and features.shape[1] <= HNSW_DIMENSIONS
        backend = "hnsw" if large and features.device.type == "cpu" else "exact"
    if backend not in backends:
        raise ValueError(f"backend = {backend!r}: allowed are auto, {', '.join(backends)}")
    features = features.detach().float()
    indices = backends[backend](features, k, seed)
    return indices, _distances(features, indices)


def _exact(features: Tensor, k: int, seed: int) -> Tensor:
    n = len(features)
    # centered, since |a|^2 + |b|^2 - 2ab loses digits far from the origin
    centered = features - features.mean(0)
    squares = centered.square().sum(1)
    # a few more than k: the product's rounding may swap near ties, which exact distances settle
    spare = min(k + 8, n - 1)
    indices = torch.empty(n, k, dtype=torch.int64, device=features.device)
    for start in range(0, n, max(CHUNK // n, 1)):
        rows = torch.arange(start, min(start + max(CHUNK // n, 1), n), device=features.device)
        scores = torch.addmm(squares, centered[rows], centered.T, alpha=-2)
        scores[rows - start, rows] = torch.inf  # never itself, duplicates or not
        found = scores.topk(spare, largest=False, sorted=False).indices
        # equal distances: the lower index first
        found = found.sort(dim=1).values
        order = _distances(centered, found, rows).sort(dim=1, stable=True).indices[:, :k]
        indices[rows] = found.gather(1, order)
    return indices


def _hnsw(features: Tensor, k: int, seed: int) -> Tensor:
    import hnswlib  # late: not needed, and perhaps not there, where exact search is enough

    points = np.ascontiguousarray(features.cpu().numpy())
    n, d = points.shape
    graph = hnswlib.Index("l2", d)
    graph.init_index(n, M=HNSW_M, ef_construction=HNSW_EF_CONSTRUCTION, random_seed=seed)
    graph.add_items(points, num_threads=1)  # with more threads the graph differs from run to run
    graph.set_ef(max(HNSW_EF, 2 * (k + 1)))
    try:
        found = graph.knn_query(points, k + 1)[0].astype(np.int64)
    except RuntimeError:  # the graph is not connected enough to return k + 1, as with duplicates
        return _exact(features, k, seed)
    # itself goes by value: among duplicates it may stand anywhere, or be missing
    itself = found == np.arange(n)[:, None]
    itself[~itself.any(1), -1] = True
    return torch.from_numpy(found[~itself].reshape(n, k)).to(features.device)


def _distances(features: Tensor, indices: Tensor, rows: Tensor | None = None) -> Tensor:
    """Distances (M, k) of samples `rows` (all by default) to the samples of indices (M, k)."""
    own = features if rows is None else features[rows]
    # one neighbor rank at a time: (M, D) in memory rather than (M, k, D)
    return torch.stack(
        [(own - features[column]).square().sum(1).sqrt() for column in indices.T], dim=1
    )
