"""How fast and how well each backend finds neighbors: seconds and recall by size and dimension.

    python tests/benchmarks/bench_neighbors.py [--sizes 5000 50000] [--dimensions 128]
        [--k 1 5] [--features FILE.npy ...] [--out assets/results/neighbors.json]

Recall is against distances in float64 on a sample of rows. Features are made the way a trained
network's look: a few dozen directions carry most of the variance, samples gather around class
centers, and all entries are positive (after a ReLU); or they come from files, (N, D) each.
Above 100,000 samples, which are measured in the first dimension only, exact search is timed on some
rows and scaled ("scaled": true), and each other backend is timed once without a round to warm up.
"""

import resource
import time
from pathlib import Path

import numpy as np
import torch
from common import finish, interleaved, options

from engine import neighbors
from engine.device import choose_device, machine
from engine.neighbors import nearest

SIZES, DIMENSIONS, K = (2_000, 5_000, 10_000, 20_000, 50_000), (128, 512), (5,)
BACKENDS = "exact", "ivf", "hnsw"
SAMPLE, LARGE = 500, 100_000


def made(n: int, d: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 1.5, (10, 32))
    latent = centers[rng.integers(10, size=n)] + rng.normal(size=(n, 32))
    spread = latent @ rng.normal(size=(32, d)) + 0.3 * rng.normal(size=(n, d))
    return torch.from_numpy(np.maximum(spread, 0)).float()


def truth(points: torch.Tensor, rows: torch.Tensor, k: int) -> torch.Tensor:
    """The k nearest (SAMPLE, k) of these rows in float64, by differences."""
    found = []
    for row in rows:
        distances = (points - points[row]).double().square().sum(1)
        distances[row] = torch.inf
        found.append(distances.topk(k, largest=False).indices)
    return torch.stack(found)


def measure(points: torch.Tensor, k: int, rows: torch.Tensor, true: torch.Tensor) -> dict:
    """Seconds and recall of every backend."""
    n, device = len(points), points.device
    found, seconds = {}, {}
    cases = {b: lambda b=b: found.update({b: nearest(points, k, backend=b)[0]}) for b in BACKENDS}
    if n > LARGE:
        seconds["exact"] = scaled(points, k)
        del cases["exact"]
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            spent = time.perf_counter() - start
            seconds[name] = {"n": 1, "median": spent, "least": spent, "largest": spent}
    else:
        seconds = interleaved(cases, 5 if n <= 20_000 else 1, device)
    hits = {b: (f[rows][:, :, None] == true[:, None, :k]).any(2) for b, f in found.items()}
    return {"recall": {b: h.float().mean().item() for b, h in hits.items()}, "seconds": seconds}


def scaled(points: torch.Tensor, k: int) -> dict:
    """Seconds of exact search, from those of some rows."""
    lifted, rows = neighbors._points(points), torch.arange(1024, device=points.device)
    start = time.perf_counter()
    neighbors._search(lifted[rows], rows, [lifted], k + neighbors.SPARE).cpu()
    return {"median": (time.perf_counter() - start) * len(points) / len(rows), "scaled": True}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--dimensions", type=int, nargs="+", default=DIMENSIONS)
    parser.add_argument("--k", type=int, nargs="+", default=K)
    parser.add_argument("--features", type=Path, nargs="*", default=())
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    measured_on = machine(device)
    sets = {
        ("made", n, d): None
        for d in arguments.dimensions
        for n in arguments.sizes
        if n <= LARGE or d == arguments.dimensions[0]
    }
    sets |= {(path.stem, *np.load(path, mmap_mode="r").shape): path for path in arguments.features}
    results = []
    for (name, n, d), path in sets.items():
        points = made(n, d) if path is None else torch.from_numpy(np.load(path))
        points = points.to(device)
        rows = torch.randperm(n, generator=torch.Generator().manual_seed(5))[:SAMPLE].to(device)
        true = truth(points, rows, max(arguments.k))
        for k in arguments.k:
            row = {"features": name, "n": n, "d": d, "k": k, **measure(points, k, rows, true)}
            row["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
            results.append(row)
            print(row, flush=True)
    finish("neighbors", measured_on, {"sampled_rows": SAMPLE}, results, arguments.out)


if __name__ == "__main__":
    main()
