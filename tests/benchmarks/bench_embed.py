"""How steady, how faithful and how fast maps are, by the way they are laid out.

    python tests/benchmarks/bench_embed.py [--images 5000] [--out assets/results/embed.json]

Two digits runs, MixNN and cross-entropy, and with --images a MixNN run of the fast network on so
many CIFAR-10 images; each epoch is laid out after the one before. "moved": how far a point goes
between two epochs, median over points, in standard deviations of the map; median and largest of
the epochs. "trustworthiness": scikit-learn's, 15 neighbors, 1 = no false neighbor. "seconds": of
the first map and, median, of those that follow, once all is compiled; elapsed and of processors.
"""

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from common import finish, interleaved, options
from sklearn.manifold import trustworthiness

from engine.config import configure
from engine.data import load_data
from engine.embedding import projection
from engine.hardware import hardware_info
from engine.training.train import train

MEASURED_EVERY = 3  # epochs
Layout = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def with_steps(n_steps: int, learning_rate: float) -> Layout:
    """UMAP from the previous map with so many steps."""

    def lay_out(features: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
        projection.STEADY, kept = (n_steps, learning_rate), projection.STEADY
        try:
            return projection.umap(features, 2, previous)
        finally:
            projection.STEADY = kept

    return lay_out


def fresh(features: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
    return projection.umap(features)


def fresh_aligned(features: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
    layout = projection.umap(features)
    return layout if previous is None else projection.align(layout, previous)


WAYS: dict[str, Layout] = {
    "pca": lambda features, previous: projection.pca(features, 2, previous),
    "umap fresh": fresh,
    "umap fresh, aligned": fresh_aligned,
    "umap from previous, 100 steps, rate 0.25": with_steps(100, 0.25),
    "umap from previous, 60 steps, rate 0.25 (chosen)": with_steps(*projection.STEADY),
    "umap from previous, 30 steps, rate 0.1": with_steps(30, 0.1),
}


def measured(features: np.ndarray, lay_out: Layout) -> dict:
    """features (R, P, D) -> how the R maps move, what they keep, what they take."""
    maps: list[np.ndarray] = []
    clocks = {"elapsed": time.perf_counter, "processors": time.process_time}
    seconds = []
    for epoch in features:
        start = {name: clock() for name, clock in clocks.items()}
        maps.append(lay_out(epoch, maps[-1] if maps else None))
        seconds.append({name: clock() - start[name] for name, clock in clocks.items()})
    moved = [
        float(np.median(np.linalg.norm(after - before, axis=1)) / after.std())
        for before, after in pairwise(maps)
    ]
    kept = [
        trustworthiness(np.float32(features[i]), maps[i], n_neighbors=15)
        for i in range(0, len(maps), MEASURED_EVERY)
    ]
    return {
        "moved": {"median": float(np.median(moved)), "largest": max(moved)},
        "trustworthiness": {"mean": float(np.mean(kept)), "least": float(min(kept))},
        "seconds": {
            name: {
                "first": seconds[0][name],
                "following": float(np.median([each[name] for each in seconds[1:]])),
            }
            for name in clocks
        },
    }


def panel(**settings) -> np.ndarray:
    """The features of a run's panel, epoch by epoch, as a run folder keeps them: (R, P, D)."""
    config = configure(**settings)
    epochs = train(config, load_data(config))
    return np.stack([snapshot.panel_features.astype(np.float16) for snapshot in epochs])


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--images", type=int, default=0, help="of CIFAR-10 (default: none)")
    arguments = parser.parse_args()
    device = torch.device("cpu")
    measured_on = hardware_info(device)
    large = np.random.default_rng(0).normal(size=(50_000, 512)).astype(np.float32)
    pca = interleaved({"seconds": lambda: projection.pca(large)}, 5, device)
    print("pca of 50,000 x 512", pca, flush=True)
    runs = {
        f"digits, {method}": dict(dataset="digits", method=method, epochs=20)
        for method in ("mixnn", "ce")
    }
    if arguments.images:
        runs["cifar10, mixnn"] = dict(
            dataset="cifar10",
            limit=arguments.images,
            preset="plain",
            network="resnet9-w16",
            k=5,
            epochs=8,
            warmup=2,
            correction_start=4,
            threads=1,
        )
    rows = []
    for run, settings in runs.items():
        features = panel(device="cpu", **settings)
        projection.umap(features[0])  # compiles, for many points another way than for few
        for way, lay_out in WAYS.items():
            named = {"run": run, "points": features.shape[1], "way": way}
            rows.append(named | measured(features, lay_out))
            print(rows[-1], flush=True)
    settings = {"runs": runs, "threads": torch.get_num_threads()}
    finish("embed", measured_on, settings, {"pca_50000_x_512": pca, "maps": rows}, arguments.out)


if __name__ == "__main__":
    main()
