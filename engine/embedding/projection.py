"""Features -> a map of points in 2 or 3 dimensions, stable from epoch to epoch.

The only module that uses UMAP. It knows no runs and no files: see engine/embedding/maps.py.
"""

import threading

import numpy as np

N_NEIGHBORS = 15  # UMAP's own default
# umap.umap_.find_ab_params(spread=1, min_dist=0.8): islands wide enough to see and pick single
# points. UMAP's default of 0.1 keeps neighborhoods a little better, but piles points on few pixels.
CURVE = (0.232, 1.681)
# Steps and learning rate of a first map. UMAP's own 500 steps keep neighborhoods no better
# (trustworthiness of 5,000 images 0.924 with either) and take 2.4 times as long.
FRESH = (200, 1.0)
# From a previous map, few and small steps. In runs of cross-entropy and MixNN on digits, and of
# MixNN on images in its first 8 epochs, points then move 0.18, 0.07 and 0.29 standard deviations of
# the map an epoch (fresh maps, even aligned: 0.93, 0.52 and 0.39); neighborhoods are nearly as well
# kept: trustworthiness 0.967, 0.988 and 0.910 (fresh 0.969, 0.989 and 0.915).
# tests/benchmarks/bench_embed.py, assets/results/embed.json
STEADY = (60, 0.25)
# A point whose neighbors, at the median, are farther away than this starts among them: small steps
# would not move it there. In standard deviations of the map.
FAR = 0.5
WIDTH = 10.0  # a first map spans -WIDTH..WIDTH, as in UMAP
EXACT_UP_TO = 20_000  # points; beyond, searching all pairs takes longer than the rest
BLOCK = 2**24  # distances held at once: 64 MB of float32
LARGEST = float(np.finfo(np.float16).max)  # overflow of float16 features

# Two calls at once from two threads can abort the whole process (numba's workqueue layer).
_one_at_a_time = threading.Lock()


def pca(features: np.ndarray, dims: int = 2, previous: np.ndarray | None = None) -> np.ndarray:
    """The directions of largest variance: features (P, D) float -> (P, dims) float32.

    previous (P, dims): a layout to align the new one with, see `align`. Infinite entries count as
    the largest float16, nan as 0.
    """
    from scipy.linalg import eigh  # late: a machine that only trains needs no map

    points = _centered(features)
    last = points.shape[1] - 1
    largest = [max(last - dims + 1, 0), last]  # NumPy's eigh computes all: thrice the time
    axes = eigh(points.T @ points, subset_by_index=largest)[1][:, ::-1]
    layout = np.zeros((len(points), dims), np.float32)
    layout[:, : axes.shape[1]] = points @ axes
    return layout if previous is None else align(layout, previous)


def umap(features: np.ndarray, dims: int = 2, previous: np.ndarray | None = None) -> np.ndarray:
    """UMAP: features (P, D) float -> (P, dims) float32; the same input gives the same map.

    previous (P, dims): the map of the previous epoch. Optimization then starts there and takes few
    small steps, so that points whose features change little move little. Otherwise it starts from
    PCA.
    """
    points = _centered(features)
    with _one_at_a_time:
        neighbors, distances = _nearest(points, min(N_NEIGHBORS, len(points)))
        graph = _graph(points, neighbors, distances)
        if previous is not None:
            start = _with_jumps(previous, neighbors)
            return align(_optimized(graph, start, *STEADY), previous)
        start = pca(features, dims)
        start = start * (WIDTH / max(np.abs(start).max(), 1e-12))
        return _optimized(graph, _apart(start), *FRESH)


def align(layout: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """layout (P, d) rotated, reflected and shifted, not scaled, to be closest to previous (P, d).

    The orthogonal Procrustes solution (Schoenemann, 1966).
    """
    center, goal = layout.mean(0), previous.mean(0)
    u, _, vt = np.linalg.svd((layout - center).T @ (previous - goal))
    return ((layout - center) @ (u @ vt) + goal).astype(np.float32)


def _centered(features: np.ndarray) -> np.ndarray:
    points = np.nan_to_num(
        np.asarray(features, dtype=np.float32), nan=0.0, posinf=LARGEST, neginf=-LARGEST
    )
    return points - points.mean(0, dtype=np.float64).astype(np.float32)


def _with_jumps(previous: np.ndarray, neighbors: np.ndarray) -> np.ndarray:
    """previous (P, dims), with points far from their new neighbors (P, k) moved among them."""
    goal = np.median(previous[neighbors[:, 1:]], axis=1)
    far = np.linalg.norm(goal - previous, axis=1) > FAR * previous.std()
    return np.where(far[:, None], _apart(goal), previous)


def _apart(layout: np.ndarray) -> np.ndarray:
    """A little noise separates equal points, which would stay together."""
    return layout + np.random.default_rng(0).normal(0, 1e-3, layout.shape)


def _graph(points: np.ndarray, neighbors: np.ndarray, distances: np.ndarray):
    """UMAP's weighted graph of neighbors, a sparse (P, P) matrix."""
    from umap.umap_ import fuzzy_simplicial_set  # late: compiles for seconds

    return fuzzy_simplicial_set(
        points,
        neighbors.shape[1],
        np.random.RandomState(0),
        "euclidean",
        knn_indices=neighbors,
        knn_dists=distances,
    )[0].tocoo()


def _optimized(graph, start: np.ndarray, n_steps: int, learning_rate: float) -> np.ndarray:
    """UMAP's gradient descent from start (P, dims).

    The class umap.UMAP would first scale each axis of the start to 0..10, which moves all points.
    """
    from umap.layouts import optimize_layout_euclidean
    from umap.umap_ import make_epochs_per_sample

    strong = graph.data >= graph.data.max() / n_steps  # weaker edges would never be sampled
    layout = np.array(start, dtype=np.float32, order="C")
    state = np.random.RandomState(0).randint(-(2**31) + 1, 2**31 - 1, 3).astype(np.int64)
    return optimize_layout_euclidean(
        layout,
        layout,
        graph.row[strong],
        graph.col[strong],
        n_steps,
        len(layout),
        make_epochs_per_sample(graph.data[strong], n_steps),
        *CURVE,
        state,
        initial_alpha=learning_rate,
        move_other=True,
    )


def _nearest(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest points of each, itself first as UMAP wants it: indices, distances (P, k)."""
    n = len(points)
    if n > EXACT_UP_TO:
        from umap.umap_ import nearest_neighbors

        return nearest_neighbors(points, k, "euclidean", {}, False, np.random.RandomState(0))[:2]
    squares = (points**2).sum(1)
    indices = np.empty((n, k), np.int32)
    for start in range(0, n, max(BLOCK // n, 1)):
        rows = np.arange(start, min(start + max(BLOCK // n, 1), n))
        far = squares - 2 * points[rows] @ points.T
        far[np.arange(len(rows)), rows] = -np.inf
        closest = np.sort(np.argpartition(far, k - 1, axis=1)[:, :k], axis=1)
        order = np.take_along_axis(far, closest, axis=1).argsort(axis=1, kind="stable")
        indices[rows] = np.take_along_axis(closest, order, axis=1)
    distances = [((points - points[column]) ** 2).sum(1) for column in indices.T]
    return indices, np.sqrt(np.stack(distances, axis=1))
