"""Out-of-fold probabilities: predictions of networks for images that they were not trained on."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from engine import hardware, models
from engine.config import registry
from engine.method import optimization
from engine.method.augmentation import augment, normalize
from engine.models.inference import forward

if TYPE_CHECKING:
    from engine.data import Data

STREAM = 3  # keeps these draws apart from a run's noise and shuffling
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4  # as in the presets of engine.config
EVALUATION_BATCH = 512


def cross_val_predict_proba(
    data: "Data",
    labels: np.ndarray,
    *,
    n_folds: int = 3,
    epochs: int = 10,
    seed: int = 0,
    network: str = "auto",
    batch_size: int = 64,
    learning_rate: float = 0.05,
    augmentation: str = "auto",
    threads: int = 0,
    on: str | torch.device = "cpu",
    on_progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Class probabilities of every training image, from a network not trained on it.

    The images are split into stratified folds; for each, a network is trained on all others by
    plain cross-entropy under a one-cycle learning rate, in float32.

    labels: (N,) integers in 0..C-1, right or wrong; data's own are not used. n_folds: 2 to N.
    epochs, batch_size, learning_rate (the highest): of each training. network: as the setting
    of that name. augmentation: as the setting augment; "auto" is crop-flip for color images,
    shift for gray, none for rows. threads: as the setting. on: the device. on_progress: called
    after every batch with the batches done and their number in all; it may raise to end the
    work. Returns (N, C) float32; rows sum to 1. The same arguments give the same result with
    the same number of CPU threads. Raises ValueError.
    """
    data, labels = data.to(on), np.asarray(labels, dtype=np.int64)
    if labels.shape != (data.n,):
        raise ValueError(f"labels of shape {labels.shape}: allowed is {(data.n,)}")
    if labels.min() < 0 or labels.max() >= data.n_classes:
        raise ValueError(
            f"labels {labels.min()}..{labels.max()}: allowed is 0..{data.n_classes - 1}"
        )
    network = models.choose(network, data.shape)
    factory = registry.function("networks", network)
    if augmentation == "auto":
        color = "crop-flip" if data.shape[0] == 3 else "shift"
        augmentation = "none" if data.is_rows else color
    learner = _Learner(data, torch.from_numpy(labels), batch_size, augmentation)
    folds = stratified_folds(labels, n_folds, seed)
    parts = [torch.from_numpy(np.flatnonzero(folds != fold)) for fold in range(n_folds)]
    total, done = epochs * sum(learner.n_batches(part) for part in parts), 0
    probabilities = np.empty((data.n, data.n_classes), dtype=np.float32)
    with hardware.threads(hardware.choose_threads(threads, network)):
        for fold, part in enumerate(parts):
            net = models.build(factory, data.shape, data.n_classes, seed=seed + fold)
            for _ in learner.fit(net, part, epochs, learning_rate, seed=(seed, STREAM, fold)):
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
            held_out = np.flatnonzero(folds == fold)
            probabilities[held_out] = learner.predict(net, torch.from_numpy(held_out))
    return probabilities


def stratified_folds(labels: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """The fold (N,) int64 in 0..n_folds-1 of each sample.

    Folds differ by at most one sample, in all and within each class of labels (N,).
    Raises ValueError.

    >>> np.bincount(stratified_folds(np.array([0, 0, 0, 0, 1, 1]), 2, seed=0))
    array([3, 3])
    """
    if not 2 <= n_folds <= len(labels):
        raise ValueError(f"n_folds = {n_folds}: allowed is 2 to {len(labels)}")
    shuffled = np.random.default_rng((seed, STREAM)).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[by_class] = np.arange(len(labels)) % n_folds  # by turns, class after class
    return folds


class _Learner:
    """Images and labels, and how a network is trained on some of them."""

    def __init__(self, data: "Data", labels: Tensor, batch_size: int, augmentation: str):
        self.data, self.labels, self.device = data, labels, data.images.device
        self.batch_size, self.augmentation = batch_size, augmentation
        self.padding = max(1, min(data.shape[1:]) // 8)  # 4 pixels of 32
        self.mean, self.std = (v.to(self.device) for v in data.channel_stats())

    def n_batches(self, rows: Tensor) -> int:
        return -(-len(rows) // self.batch_size)

    def fit(
        self, net: torch.nn.Module, rows: Tensor, epochs: int, high: float, seed: tuple[int, ...]
    ) -> Iterator[None]:
        """Train net in place on rows; yields after every batch."""
        rng = np.random.default_rng(seed)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**63)))
        net.to(self.device).to(memory_format=torch.channels_last).train()
        optimizer = optimization.build(
            "sgd", net.parameters(), momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        n_batches = self.n_batches(rows)
        for epoch in range(epochs):
            order = rows[torch.from_numpy(rng.permutation(len(rows)))]
            for number, batch in enumerate(order.tensor_split(n_batches)):
                rate = optimization.learning_rate(
                    "one-cycle",
                    epoch + number / n_batches,
                    epochs=epochs,
                    high=high,
                    low=high / 100,
                    period=1,
                )
                for group in optimizer.param_groups:
                    group["lr"] = rate
                images = augment(self.data.take(batch), self.augmentation, self.padding, generator)
                loss = torch.nn.functional.cross_entropy(
                    self._logits(net, images), self.labels[batch].to(self.device)
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                yield

    @torch.no_grad()
    def predict(self, net: torch.nn.Module, rows: Tensor) -> np.ndarray:
        """Probabilities (n, C) float32 of the images of rows (n,), in evaluation mode."""
        net.eval()
        chunks = [self._logits(net, self.data.take(c)) for c in rows.split(EVALUATION_BATCH)]
        return torch.cat(chunks).softmax(1).cpu().numpy()

    def _logits(self, net: torch.nn.Module, images: Tensor) -> Tensor:
        return forward(net, normalize(images, self.mean, self.std))[0]
