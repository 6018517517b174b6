"""How steady and how faithful maps are from epoch to epoch, by the way they are laid out.

    python tests/benchmarks/bench_embed.py [--out assets/results/embed.json]

Two digits runs, MixNN and cross-entropy, each epoch laid out after the one before. "moved": how far
a point goes between two epochs, median over points, in standard deviations of the map; median and
largest of the epochs. "trustworthiness": scikit-learn's, 15 neighbors, 1 = no false neighbor.
"""

import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from common import finish, options
from sklearn.manifold import trustworthiness

from engine import embed
from engine.config import configure
from engine.device import machine
from engine.runner import Runner
from engine.store import Run

EPOCHS, MEASURED_EVERY = 20, 3
Layout = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def with_steps(n_steps: int, learning_rate: float) -> Layout:
    """UMAP from the previous map with so many steps."""

    def lay_out(features: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
        embed.STEADY, kept = (n_steps, learning_rate), embed.STEADY
        try:
            return embed.umap(features, 2, previous)
        finally:
            embed.STEADY = kept

    return lay_out


def fresh(features: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
    return embed.umap(features)


def fresh_aligned(features: np.ndarray, previous: np.ndarray | None) -> np.ndarray:
    layout = embed.umap(features)
    return layout if previous is None else embed.align(layout, previous)


WAYS: dict[str, Layout] = {
    "pca": lambda features, previous: embed.pca(features, 2, previous),
    "umap fresh": fresh,
    "umap fresh, aligned": fresh_aligned,
    "umap from previous, 100 steps, rate 1": with_steps(100, 1.0),
    "umap from previous, 200 steps, rate 0.25": with_steps(200, 0.25),
    "umap from previous, 100 steps, rate 0.25 (chosen)": with_steps(*embed.STEADY),
    "umap from previous, 50 steps, rate 0.25": with_steps(50, 0.25),
    "umap from previous, 30 steps, rate 0.1": with_steps(30, 0.1),
}


def measured(features: np.ndarray, lay_out: Layout) -> dict:
    """features (R, P, D) -> how the R maps move, what they keep, what they take."""
    maps: list[np.ndarray] = []
    start = time.process_time()
    for epoch in features:
        maps.append(lay_out(epoch, maps[-1] if maps else None))
    seconds = time.process_time() - start
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
        "cpu_seconds_per_epoch": seconds / len(maps),
    }


def main() -> None:
    arguments = options(__doc__).parse_args()
    measured_on = machine(torch.device("cpu"))
    embed.umap(np.random.default_rng(0).normal(size=(64, 8)))  # compiles
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for method in ("mixnn", "ce"):
            config = configure(dataset="digits", method=method, epochs=EPOCHS, device="cpu")
            Runner.new(config, Path(folder) / method).run()
            features = np.array(Run(Path(folder) / method).array("panel_features"))
            for way, lay_out in WAYS.items():
                rows.append({"run": method, "way": way} | measured(features, lay_out))
                print(rows[-1], flush=True)
    settings = {"dataset": "digits", "epochs": EPOCHS, "points": features.shape[1]}
    finish("embed", measured_on, settings, rows, arguments.out)


if __name__ == "__main__":
    main()
