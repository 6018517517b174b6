"""Predictions of a checkpoint's network for any images, without the training set."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from engine import models
from engine.config import registry
from engine.data import load_data
from engine.errors import StoreError
from engine.hardware import choose_threads, threads
from engine.method.augmentation import normalize
from engine.method.neighbors import comparable
from engine.models.inference import forward
from engine.runs.folder import RunFolder

BATCH = 512


@dataclass(frozen=True, eq=False)
class Predictor:
    """The network that a run had after an epoch, in evaluation mode on the CPU."""

    epoch: int
    model: nn.Module
    mean: Tensor  # (C,) float32 of the training images, in units of 0..1
    std: Tensor  # (C,) float32
    shape: tuple[int, int, int]  # (C, H, W) of an image
    precision: str  # "float32" or "bf16", as trained
    threads: int
    mirrored: bool = False  # average over an image and its horizontal flip, as in training
    metric: str = "l2"  # the run's neighbor_metric

    def predict_proba(self, images: Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities and features of images (B, C, H, W), uint8 or float in [0, 255].

        Of a run on rows of D numbers: of rows (B, D, 1, 1), any finite numbers. Returns
        probabilities (B, n_classes) float32, rows sum to 1, and features (B, D) float32 as they
        are compared in the search for neighbors: of rows, themselves. Raises ValueError for images
        of another shape, or beyond [0, 255].
        """
        images = torch.as_tensor(images)
        if images.ndim != 4 or tuple(images.shape[1:]) != self.shape or not len(images):
            raise ValueError(
                f"images of shape {tuple(images.shape)}: allowed is (B, {str(self.shape)[1:]}"
            )
        low, high = images.min().item(), images.max().item()
        if models.is_rows(self.shape):
            if not np.isfinite([low, high]).all():
                raise ValueError(f"numbers from {low:g} to {high:g}: allowed are finite ones")
        elif not 0 <= low <= high <= 255:  # false for nan, too
            raise ValueError(f"pixels from {low:g} to {high:g}: allowed is 0 to 255")
        with torch.no_grad(), threads(self.threads):
            outputs = [self._predict(chunk) for chunk in images.split(BATCH)]
        probabilities, features = (torch.cat(part).numpy() for part in zip(*outputs, strict=True))
        return probabilities, features

    def _predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        inputs = normalize(images, self.mean, self.std)
        logits, features = forward(self.model, inputs, self.precision, mirrored=self.mirrored)
        features = images.flatten(1) if models.is_rows(self.shape) else features
        return logits.softmax(1), comparable(features, self.metric)


def load_predictor(run: RunFolder, epoch: int) -> Predictor:
    """The network of a run after an epoch.

    Raises StoreError, which names the stored epochs if this one is not stored, also for a file of
    another network.
    """
    packed, info = run.load_checkpoint(epoch), run.info
    shape = tuple(info["data"]["shape"])
    try:
        factory = registry.function("networks", info["network"])
        network = models.build(factory, shape, len(info["data"]["classes"]), seed=0)
        network.load_state_dict(packed.get("average") or packed["model"])
        network.to(memory_format=torch.channels_last)
        network = models.for_evaluation(network, torch.device("cpu"), packed["precision"])
    except (RuntimeError, KeyError, TypeError, AttributeError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise StoreError(
            f"{run.folder} keeps no network of its own for epoch {epoch}: {reason}"
        ) from None
    mean, std = channel_stats(run)
    n_threads = choose_threads(run.config.threads, info["network"])
    mirrored = run.config.flip_average == "all"
    return Predictor(
        epoch,
        network,
        mean,
        std,
        shape,
        packed["precision"],
        n_threads,
        mirrored,
        run.config.neighbor_metric,
    )


def predict_proba(
    run: RunFolder, epoch: int, images: Tensor | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`Predictor.predict_proba` of the network after an epoch, for a single call."""
    return load_predictor(run, epoch).predict_proba(images)


def channel_stats(run: RunFolder) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of the images that a run was trained on.

    config.json has them; folders of earlier versions need the training set.
    Raises StoreError or DataError if that is missing or has changed.
    """
    data_info = run.info["data"]
    if "mean" in data_info:
        return torch.tensor(data_info["mean"]), torch.tensor(data_info["std"])
    data = load_data(run.config)
    if data.fingerprint() != data_info["fingerprint"]:
        raise StoreError(f"the images of {run.folder.name} have changed since it was trained")
    return data.channel_stats()
