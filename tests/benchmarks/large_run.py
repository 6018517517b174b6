"""A whole run folder of many samples, made in a minute without training.

Everything that the engine computes from a network's outputs is computed by the engine; the outputs
alone are invented: they learn right labels first and wrong ones later, as a real network's do.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from engine import metrics
from engine.config import configure, corrects
from engine.data import load_data
from engine.embedding.maps import map_file
from engine.files import read_json, write_json
from engine.method.mixing import mixing_weights
from engine.method.soft_labels import ema_update
from engine.runs.writer import RunWriter
from engine.training.evaluation import Evaluation, estimate_clean_probability
from engine.training.snapshot import Snapshot
from engine.training.state import State
from engine.training.train import epoch_plan, prepare_state

K, EPOCHS = 5, 30
ODD = 0.05  # share of images that look like another class at all epochs
FEATURES = 128  # of the small and the fast network
STAGES = {
    "neighbors": 9.0,
    "training": 60.0,
    "evaluation": 11.0,
    "mixture": 0.3,
    "test": 2.0,
}


def make(folder: Path, *, n: int) -> None:
    """A finished MixNN run on n drawn shapes, with the 2-D maps of all its epochs."""
    config = configure(
        dataset=f"shapes:{n}",
        network="resnet9-w16",
        k=K,
        epochs=EPOCHS,
        warmup=5,
        correction_start=10,
        device="cpu",
    )
    state = prepare_state(config, load_data(config))
    writer = RunWriter.create(folder, state)
    rng = np.random.default_rng(0)
    same = _same_class(state.noisy_labels.true, rng)
    for epoch in range(EPOCHS):
        snapshot = _snapshot(state, epoch, same, rng)
        writer.write(snapshot, state.state_dict())
        _write_map(folder, epoch, snapshot.panel_features)
    writer.write_status("done")
    writer.close()


def copy(folder: Path, other: Path, **settings: Any) -> None:
    """A second run of the same arrays whose settings say something else."""
    shutil.copytree(folder, other, copy_function=os.link)
    info = read_json(folder / "config.json")
    write_json(other / "config.json", info | {"config": info["config"] | settings})


def _snapshot(state: State, epoch: int, same: Tensor, rng: np.random.Generator) -> Snapshot:
    """An epoch of a network that says what `_logits` says."""
    config, problem, n = state.config, state.noisy_labels, state.data.n
    phase, mixing, _ = epoch_plan(config, epoch)
    neighbors = same if mixing == "neighbors" else torch.empty(n, 0, dtype=torch.int64)
    weights = torch.ones(n, 1)
    if mixing == "neighbors":
        weights = mixing_weights(state.clean, neighbors)
    distances = np.sort(rng.gamma(4.0, 0.2, tuple(neighbors.shape)), 1).astype(np.float32)
    logits = _logits(problem.true, problem.given, (epoch + 1) / config.epochs, rng)
    probabilities = logits.softmax(1)
    if corrects(config, epoch):
        state.soft = ema_update(state.soft, probabilities, config.alpha)
    confidence, prediction = probabilities.max(1)
    loss = cross_entropy(logits, state.soft.argmax(1), reduction="none")
    evaluation = Evaluation(logits, prediction.int(), confidence, loss, None, None, None)
    scaled_loss, fit = estimate_clean_probability(state, evaluation)
    state.epoch = epoch
    soft, clean = state.soft.numpy().copy(), fit.clean.numpy()
    measured = metrics.label_metrics(problem.given, problem.true, prediction.numpy(), soft, clean)
    measured |= {
        "train_loss": float(loss.mean()),
        "learning_rate": config.learning_rate,
        "test_accuracy": measured["train_accuracy"],
        "test_calibration_error": 0.05,
    }
    return Snapshot(
        epoch=epoch,
        settings={
            name: getattr(config, name) for name in ("k", "alpha", "correction", "correction_start")
        },
        phase=phase,
        metrics=measured,
        mixture=fit.parameters(),
        seconds=STAGES,
        loss=loss.numpy(),
        scaled_loss=scaled_loss.numpy(),
        clean=clean,
        prediction=prediction.int().numpy(),
        confidence=confidence.numpy(),
        soft=soft,
        neighbors=neighbors.int().numpy(),
        distances=distances,
        weights=weights.numpy(),
        panel_features=_features(problem.true[problem.panel], (epoch + 1) / config.epochs),
        votes=None,
    )


def _logits(true: np.ndarray, given: np.ndarray, done: float, rng: np.random.Generator) -> Tensor:
    """(N, C) after a share of the epochs: true labels early, memorized wrong labels later."""
    logits = rng.normal(0, 1.2, (len(true), true.max() + 1)).astype(np.float32)
    rows, always = np.arange(len(true)), np.random.default_rng(3)
    odd = always.random(len(true)) < ODD
    logits[rows, np.where(odd, always.permutation(true), true)] += 2.0 + 3.0 * done
    logits[rows, given] += 2.0 * done
    return torch.from_numpy(logits)


def _features(classes: np.ndarray, done: float) -> np.ndarray:
    """(P, D) float32: islands that drift apart; each point keeps its place in its own."""
    rng = np.random.default_rng(1)
    centers = rng.normal(0, 1, (classes.max() + 1, FEATURES))
    scatter = rng.normal(0, 1, (len(classes), FEATURES))
    return np.maximum(3.0 * done * centers[classes] + scatter, 0).astype(np.float32)


def _same_class(classes: np.ndarray, rng: np.random.Generator) -> Tensor:
    """(N, K) int64: random other samples of each one's class, but one in ten of any class."""
    neighbors = rng.integers(len(classes), size=(len(classes), K))
    for c in np.unique(classes):
        members = np.flatnonzero(classes == c)
        step = rng.integers(1, len(members), size=(len(members), K))
        found = members[(np.arange(len(members))[:, None] + step) % len(members)]
        keep = rng.random(found.shape) < 0.9
        neighbors[members] = np.where(keep, found, neighbors[members])
    return torch.from_numpy(neighbors)


def _write_map(folder: Path, epoch: int, features: np.ndarray) -> None:
    """A map as the process for maps would write it, so that none runs during the measurement."""
    path = map_file(folder, 2, epoch)
    path.parent.mkdir(parents=True, exist_ok=True)
    turned = features @ np.random.default_rng(2).normal(0, 1, (FEATURES, 2))
    np.save(path, turned.astype(np.float32))
