"""What speaks for or against a label: the samples nearest to it."""

import numpy as np

from engine.runs.folder import RunFolder


def evidence(run: RunFolder, row: int, sample: int, most: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The nearest samples (n,) int64 and their distances (n,) in the network's eyes.

    Searched among the samples whose features are kept, where this one is among them; else those it
    was last mixed with. Both are empty where neither is known.
    """
    panel = run.labels["panel"]
    at = int(np.searchsorted(panel, sample))
    if at < len(panel) and panel[at] == sample:
        features = np.array(run.array("panel_features")[row], dtype=np.float32)
        distances = np.linalg.norm(features - features[at], axis=1)
        distances[at] = np.inf  # never the image itself
        near = np.argsort(distances, kind="stable")[: min(most, len(panel) - 1)]
        return panel[near], distances[near]
    mixed = [r for r, record in enumerate(run.epochs[: row + 1]) if record["n_neighbors"]]
    if not mixed:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    neighbors, distances, _ = run.mixing_of(mixed[-1])
    return neighbors[sample, :most], distances[sample, :most]
