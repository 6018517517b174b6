"""Nearest neighbors in feature space; the only module that uses search libraries."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

# On a CPU "auto" switches at these numbers of samples, on a GPU never
# (tests/benchmarks/bench_neighbors.py, assets/results/neighbors.json). The second is extrapolated:
# an inverted file's cost grows like N^1.5, and for a million it took 0.36 x as long as HNSW.
IVF_FROM, HNSW_FROM = 10_000, 10_000_000
# hnswlib's settings; ef grows with k. Its recall among a million samples, for 500 rows, was 0.966
# with ef 50, 0.982 with 100, 0.988 with 125 and 0.990 with 150.
HNSW_M, HNSW_EF_CONSTRUCTION, HNSW_EF = 16, 100, 150
# "ivf", with sqrt(N) clusters: the recall to reach on so many samples, which are searched exactly
# first (other samples may have slightly less: 0.98 is guaranteed by tests); and the share of all
# distances above which exact search is faster.
TARGET_RECALL, RECALL_SAMPLE_SIZE, MAX_CANDIDATE_SHARE = 0.995, 1024, 0.6
# Entries of a matrix in memory at a time: 32 MB of float32, near a CPU's cache size, or 512 MB.
CHUNK_ENTRIES = {"cpu": 2**23, "cuda": 2**27}
# Numbers from which on candidates are searched among principal components: 512 MB as float32; how
# many of them at least, and how many times as many candidates.
MOST_ENTRIES, FEWEST_COLUMNS, CANDIDATES = 2**27, 64, 4
CHUNK_ROWS = 2**14
BLOCK_COLUMNS = 64  # columns represented by their lowest score
# Candidates in addition to k: rounding may swap near ties, which exact distances resolve.
SPARE_CANDIDATES = 8


def nearest(
    features: Tensor, k: int, *, backend: str = "auto", seed: int = 0, metric: str = "l2"
) -> tuple[Tensor, Tensor]:
    """The k nearest other samples of each sample, nearest first, by Euclidean distance.

    metric: "l2", or "cosine", the Euclidean distance of the rows scaled to length 1, which orders
    them by their angle. A large table in half precision is never copied as a whole: candidates are
    searched among its first principal components, more of them, then compared by all columns.

    features: (N, D) float32 or float16, on the CPU or a GPU. k: 1 to N - 1. backend: "exact" (all
    distances by matrix product), "ivf" (approximate, an inverted file: distances to the samples
    of near clusters only, of as many as a recall of TARGET_RECALL took among some samples),
    "hnsw" (approximate, hnswlib), both on the CPU, "auto" (the fastest for this size and
    device). A sample is never its own neighbor; its exact duplicates are, at distance 0. Of
    equal distances the lower index is first. Returns indices (N, k) int64 and distances (N, k)
    float32, on the device of features. Raises ValueError for k, backend or features that are
    not allowed.
    """
    if features.ndim != 2:
        raise ValueError(f"features of shape {tuple(features.shape)}: allowed is (N, D)")
    n = len(features)
    if not 1 <= k < n:
        raise ValueError(
            f"k = {k}: allowed is 1 to {n - 1}, "
            f"since {n} samples have {n - 1} neighbors each at most"
        )
    if not all(torch.isfinite(chunk).all() for chunk in features.split(CHUNK_ROWS)):
        raise ValueError("features have entries that are not finite: has the training diverged?")
    backends = {"exact": _exact, "ivf": _ivf, "hnsw": _hnsw}
    if backend == "auto":
        large = "hnsw" if n >= HNSW_FROM else "ivf"
        backend = large if n >= IVF_FROM and features.device.type == "cpu" else "exact"
    if backend not in backends:
        raise ValueError(f"backend = {backend!r}: allowed are auto, {', '.join(backends)}")
    features = features.detach()
    if features.numel() > MOST_ENTRIES and features.device.type == "cpu":
        reduced = _principal_components(features, max(MOST_ENTRIES // n, FEWEST_COLUMNS), metric)
        candidates = backends[backend](reduced, min(CANDIDATES * k, n - 1), seed)
        del reduced
    else:
        features = comparable(features, metric)
        candidates = backends[backend](features, k, seed)
    return _rank(features, candidates.to(features.device), k, metric)


def comparable(features: Tensor, metric: str) -> Tensor:
    """Rows (N, D) as float32, whose Euclidean distances are those of the metric."""
    features = features.float()
    return torch.nn.functional.normalize(features, dim=1) if metric == "cosine" else features


def _principal_components(features: Tensor, number: int, metric: str) -> Tensor:
    """(N, number) float32: the projection on the directions of the largest variance."""
    n, d = features.shape
    chunks = features.split(CHUNK_ROWS)
    total, squares = torch.zeros(d, dtype=torch.float64), torch.zeros(d, d)
    shift = comparable(chunks[0], metric).mean(0)  # near the mean: float32 keeps its digits
    for chunk in chunks:
        rows = comparable(chunk, metric) - shift
        total += rows.sum(0).double()
        squares += rows.T @ rows
    mean = (total / n).float()
    axes = torch.linalg.eigh(squares / n - mean[:, None] * mean)[1][:, -min(number, d) :]
    return torch.cat([(comparable(chunk, metric) - shift - mean) @ axes for chunk in chunks])


def _exact(features: Tensor, k: int, seed: int) -> Tensor:
    points = _points(features)
    own = torch.arange(len(points), device=points.device)
    return _search(points, own, [points], min(k + SPARE_CANDIDATES, len(points) - 1))


def _ivf(features: Tensor, k: int, seed: int) -> Tensor:
    """Candidates from near clusters (inverted file: Jegou et al. 2011, without compression)."""
    points = _points(features.cpu())
    n = len(points)
    generator = torch.Generator().manual_seed(seed)
    centers = _centers(points, math.isqrt(n), generator)
    assigned, order = _assign(points, centers).sort(stable=True)
    points = points[order]  # from here on samples are ordered by cluster
    # the order in which clusters are searched
    near = (_queries(centers) @ centers.T).argsort(dim=1, stable=True)

    # how many clusters contain the neighbors of some samples
    rows = torch.randperm(n, generator=generator)[:RECALL_SAMPLE_SIZE]
    true = _search(points[rows], rows, [points], k)
    ranks = near.argsort(1)[assigned[rows, None], assigned[true]].flatten()
    n_searched = int(ranks.sort().values[math.ceil(TARGET_RECALL * len(ranks)) - 1]) + 1
    near = near[:, :n_searched].sort(1).values

    sizes = assigned.bincount(minlength=len(centers))
    number, n_candidates = min(k + SPARE_CANDIDATES, n - 1), sizes[near].sum(1)
    too_many = n_candidates @ sizes > MAX_CANDIDATE_SHARE * n**2
    if too_many or n_candidates[sizes > 0].min() <= number:
        return _exact(features, k, seed)
    ends = sizes.cumsum(0)
    spans = [slice(*ends) for ends in zip((ends - sizes).tolist(), ends.tolist(), strict=True)]

    def search(cluster: int, clusters: list[int]) -> Tensor:
        parts, rows = [spans[c] for c in clusters], spans[cluster]
        before = sum(part.stop - part.start for part in parts if part.stop <= rows.start)
        own = torch.arange(before, before + rows.stop - rows.start)
        positions = _search(points[rows], own, [points[part] for part in parts], number)
        return torch.cat([order[part] for part in parts])[positions]

    # clusters in parallel: threads within such small products mostly wait for each other
    filled = sizes.nonzero()[:, 0]
    with ThreadPoolExecutor(
        torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        candidates = list(pool.map(search, filled.tolist(), near[filled].tolist()))
    torch.set_num_threads(torch.get_num_threads())  # new threads would inherit the pool's 1
    return torch.cat(candidates)[order.argsort()]


def _hnsw(features: Tensor, k: int, seed: int) -> Tensor:
    import hnswlib  # late: not needed, and perhaps not installed, where exact search is enough

    points = np.ascontiguousarray(features.cpu().numpy())
    n, d = points.shape
    graph = hnswlib.Index("l2", d)
    graph.init_index(n, M=HNSW_M, ef_construction=HNSW_EF_CONSTRUCTION, random_seed=seed)
    graph.add_items(points, num_threads=1)  # with more threads the graph differs from run to run
    graph.set_ef(max(HNSW_EF, 2 * (k + 1)))
    try:
        neighbors = graph.knn_query(points, k + 1)[0].astype(np.int64)
    except RuntimeError:  # the graph is not connected enough to return k + 1, as with duplicates
        return _exact(features, k, seed)
    # a sample itself is removed by value: among duplicates it may be anywhere, or missing
    itself = neighbors == np.arange(n)[:, None]
    itself[~itself.any(1), -1] = True
    return torch.from_numpy(neighbors[~itself].reshape(n, k))


def _points(features: Tensor) -> Tensor:
    """Rows [|x|^2, x, 0...]: their products with `_queries` [1, -2y, 0...] order them by distance.

    Centered, since |x|^2 - 2xy loses digits far from the origin; zeros up to a multiple of 16
    columns, since aligned rows multiply faster.
    """
    n, d = features.shape
    points = features.new_zeros(n, -(-(d + 1) // 16) * 16)
    points[:, 1 : d + 1] = features - features.mean(0)
    points[:, 0] = points[:, 1:].square().sum(1)
    return points


def _queries(points: Tensor) -> Tensor:
    queries = points * -2
    queries[:, 0] = 1
    return queries


def _search(points: Tensor, own: Tensor, parts: list[Tensor], number: int) -> Tensor:
    """Positions of the `number` nearest to points (Q, W) in the concatenated parts.

    own: (Q,) positions of the points themselves, which are excluded. Returns (Q, number) int64, in
    no order.
    """
    blank = points.new_zeros(-sum(map(len, parts)) % BLOCK_COLUMNS, points.shape[1])
    blank[:, 0] = torch.inf  # fills the last block, infinitely far from everything
    others = torch.cat([*parts, blank])
    rows = min(max(CHUNK_ENTRIES[points.device.type] // len(others), 64), len(points))
    scores = points.new_empty(rows, len(others))
    positions = []
    for some, itself in zip(points.split(rows), own.split(rows), strict=True):
        # never itself, duplicates or not
        torch.mm(_queries(some), others.T, out=scores[: len(some)])
        chunk = scores[: len(some)].scatter_(1, itself[:, None], torch.inf)
        positions.append(_least(chunk, number))
    return torch.cat(positions)


def _least(scores: Tensor, number: int) -> Tensor:
    """Columns (Q, number) of the lowest scores of each row, in no order.

    They are in the `number` blocks with the lowest minima, so that the slow search covers few
    columns: 3 x as fast as topk over 50,000 columns.
    """
    n_blocks = scores.shape[1] // BLOCK_COLUMNS
    if n_blocks <= 2 * number:
        return scores.topk(number, largest=False, sorted=False).indices
    blocked = scores.unflatten(1, (n_blocks, BLOCK_COLUMNS))
    blocks = blocked.amin(2).topk(number, largest=False, sorted=False).indices
    within = blocked.gather(1, blocks[:, :, None].expand(-1, -1, BLOCK_COLUMNS)).flatten(1)
    positions = within.topk(number, largest=False, sorted=False).indices
    return blocks.gather(1, positions // BLOCK_COLUMNS) * BLOCK_COLUMNS + positions % BLOCK_COLUMNS


def _centers(points: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Centers (number, W) of a few rounds of k-means on some of the points."""
    some = points[torch.randperm(len(points), generator=generator)[: 64 * number]]
    centers = some[:number].clone()
    for _ in range(4):
        assigned = _assign(some, centers)
        sums = torch.zeros_like(centers).index_add_(0, assigned, some)
        sizes = assigned.bincount(minlength=number)[:, None]
        centers = torch.where(sizes > 0, sums / sizes, centers)
        centers[:, 0] = centers[:, 1:].square().sum(1)
    return centers


def _assign(points: Tensor, centers: Tensor) -> Tensor:
    """The nearest center (N,) of each point."""
    rows = max(CHUNK_ENTRIES["cpu"] // 8 // len(centers), 1)
    return torch.cat([(_queries(some) @ centers.T).min(1).indices for some in points.split(rows)])


def _rank(
    features: Tensor, candidates: Tensor, k: int, metric: str = "l2"
) -> tuple[Tensor, Tensor]:
    """The k nearest of each sample's candidates (N, at least k), by exact distances."""
    half = features.dtype != torch.float32  # otherwise they are comparable already
    candidates = candidates.sort(1).values  # equal distances: the lower index first
    rows = max(
        CHUNK_ENTRIES[features.device.type] // 4 // (candidates.shape[1] * features.shape[1]), 1
    )
    indices, distances = [], []
    for some, near in zip(features.split(rows), candidates.split(rows), strict=True):
        others = features[near]
        if half:
            some, others = comparable(some, metric), comparable(others.flatten(0, 1), metric)
            others = others.view(*near.shape, -1)
        lengths = torch.linalg.vector_norm(some[:, None] - others, dim=2)
        lengths, order = lengths.sort(dim=1, stable=True)
        indices.append(near.gather(1, order[:, :k]))
        distances.append(lengths[:, :k])
    return torch.cat(indices), torch.cat(distances)
