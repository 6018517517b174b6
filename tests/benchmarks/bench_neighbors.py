"""How fast and how well each backend finds neighbors: seconds and recall by size and dimension.

    python tests/benchmarks/bench_neighbors.py [--sizes 5000 50000] [--dimensions 128]
        [--k 1 5] [--features FILE.npy ...] [--out assets/results/neighbors.json]

Features are made the way a trained network's look: a few dozen directions carry most of the
variance, samples gather around class centers, and all entries are positive (after a ReLU); or they
come from files, (N, D) each. Recall is against distances in float64 on 500 rows.
Above 100,000 samples, measured in the first dimension only, recall is that of 100 rows, each
backend is timed once without a round to warm up, and exact search on 1,024 rows, "scaled" to all.
"""

import resource
import time
from pathlib import Path

import numpy as np
import torch
from common import finish, interleaved, options

from engine.hardware import choose_device, hardware_info
from engine.method import neighbors
from engine.method.neighbors import nearest

SIZES, DIMENSIONS, K = (2_000, 5_000, 10_000, 20_000, 50_000), (128, 512), (5,)
BACKENDS = "exact", "ivf", "hnsw"
SAMPLE, LARGE = 500, 100_000


def made(n: int, d: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centers = 1.5 * torch.randn(10, 32, generator=generator)
    latent = centers[torch.randint(10, (n,), generator=generator)]
    latent = latent + torch.randn(n, 32, generator=generator)
    spread = latent @ torch.randn(32, d, generator=generator)
    return spread.add_(torch.randn(n, d, generator=generator), alpha=0.3).relu_()


def truth(points: torch.Tensor, rows: torch.Tensor, k: int) -> torch.Tensor:
    """The k nearest (M, k) of these rows (M,) in float64, by differences."""
    found = []
    for row in rows:
        distances = (points - points[row]).double().square().sum(1)
        distances[row] = torch.inf
        found.append(distances.topk(k, largest=False).indices)
    return torch.stack(found)


def measure(points: torch.Tensor, k: int, rows: torch.Tensor, true: torch.Tensor) -> dict:
    """Seconds and recall of every backend; of many samples the process' peak memory as well."""
    found = {}
    cases = {b: lambda b=b: found.update({b: nearest(points, k, backend=b)[0]}) for b in BACKENDS}
    if len(points) <= LARGE:
        seconds = interleaved(cases, 5 if len(points) <= 20_000 else 1, points.device)
        result = {"seconds": seconds}
    else:
        del cases["exact"]
        seconds, peak_gb = {"exact": scaled(points, k)}, {}
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            seconds[name] = {"n": 1, "median": time.perf_counter() - start}
            peak_gb[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        result = {"seconds": seconds, "peak_gb": peak_gb}
    hits = {b: (f[rows][:, :, None] == true[:, None, :k]).any(2) for b, f in found.items()}
    return result | {"recall": {b: h.float().mean().item() for b, h in hits.items()}}


def scaled(points: torch.Tensor, k: int) -> dict:
    """Seconds of exact search, from those of some rows."""
    lifted, rows = neighbors._points(points), torch.arange(1024, device=points.device)
    start = time.perf_counter()
    neighbors._search(lifted[rows], rows, [lifted], k + neighbors.SPARE_CANDIDATES).cpu()
    return {"median": (time.perf_counter() - start) * len(points) / len(rows), "scaled": True}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--dimensions", type=int, nargs="+", default=DIMENSIONS)
    parser.add_argument("--k", type=int, nargs="+", default=K)
    parser.add_argument("--features", type=Path, nargs="*", default=())
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    measured_on = hardware_info(device)
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
        rows = rows if n <= LARGE else rows[: SAMPLE // 5]
        true = truth(points, rows, max(arguments.k))
        for k in arguments.k:
            row = {"features": name, "n": n, "d": d, "k": k, **measure(points, k, rows, true)}
            results.append(row)
            print(row, flush=True)
    finish("neighbors", measured_on, {"sampled_rows": SAMPLE}, results, arguments.out)


if __name__ == "__main__":
    main()
