"""Where HNSW overtakes exact search: seconds and recall by size, dimension and backend.

    python tests/benchmarks/bench_neighbors.py [--out assets/results/neighbors.json]

Features are made the way a trained network's look: a few dozen directions carry most of the
variance, samples gather around class centers, and all entries are positive (after a ReLU).
"""

import numpy as np
import torch
from common import finish, interleaved, options

from engine.device import choose_device, machine
from engine.neighbors import nearest

SIZES, DIMENSIONS, K = (2_000, 5_000, 10_000, 20_000, 50_000), (128, 512), 5


def features(n: int, d: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 1.5, (10, 32))
    latent = centers[rng.integers(10, size=n)] + rng.normal(size=(n, 32))
    spread = latent @ rng.normal(size=(32, d)) + 0.3 * rng.normal(size=(n, d))
    return torch.from_numpy(np.maximum(spread, 0)).float()


def main() -> None:
    arguments = options(__doc__).parse_args()
    device = choose_device(arguments.device)
    measured_on = machine(device)
    rows = []
    for d in DIMENSIONS:
        for n in SIZES:
            points = features(n, d).to(device)
            found = {}
            cases = {
                backend: lambda b=backend, p=points, f=found: f.update(
                    {b: nearest(p, K, backend=b)}
                )
                for backend in ("exact", "hnsw")
            }
            seconds = interleaved(cases, 3 if n <= 10_000 else 1, device)
            exact, approximate = (found[b][0].cpu() for b in ("exact", "hnsw"))
            hits = (exact[:, :, None] == approximate[:, None, :]).any(2).float().mean()
            rows.append({"n": n, "d": d, "recall": float(hits), "seconds": seconds})
            print(n, d, rows[-1], flush=True)
    finish("neighbors", measured_on, {"k": K}, rows, arguments.out)


if __name__ == "__main__":
    main()
