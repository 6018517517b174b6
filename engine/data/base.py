"""The form in which every data set is passed to the engine."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.data.parts import Arrays, Part, check_parts

# Images processed together: a large set needs no second copy, and a busy machine no long waits for
# threads (with 512, CIFAR-10 took 5 s instead of 0.4 s).
CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Data:
    """A labeled image set with its test part. Nothing in it changes after loading.

    Images are (N, C, H, W) uint8 with C 1 or 3, labels (N,) int64 in 0..n_classes-1 as loaded,
    right or wrong. A class may have no training sample; every class in the test and validation
    parts has one.
    """

    name: str  # as passed to load(), e.g. "digits" or "npz:/x/y.npz"
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    test_images: Tensor  # may have length 0
    test_labels: Tensor
    val_images: Tensor | None = None
    val_labels: Tensor | None = None
    true_labels: Tensor | None = None  # (N,) int64, None where the truth is not known
    ids: tuple[str, ...] | None = None  # one per training sample; None: the row number
    val_ids: tuple[str, ...] | None = None  # of the validation and test samples
    test_ids: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()  # each repair made while loading, in one sentence
    left_out: tuple[tuple[str, str], ...] = ()  # name and reason of each file that is not read

    @property
    def n(self) -> int:
        """Number of training samples."""
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def take(self, indices: Tensor | np.ndarray | Sequence[int]) -> Tensor:
        """Training images at indices (B,), as (B, C, H, W) uint8 on the images' device."""
        return self.images.index_select(0, torch.as_tensor(indices, device=self.images.device))

    def to(self, device: torch.device | str) -> "Data":
        """The same data with every tensor on device; tensors already on it are not copied."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for key, value in values.items():
            if isinstance(value, Tensor):
                values[key] = value.to(device)
        return replace(self, **values)

    def subset(self, rows: np.ndarray) -> "Data":
        """The same data with only these training rows (n,) int64; other parts stay complete.

        Without ids of their own, samples get their rows in the full set as ids.
        """
        index = torch.from_numpy(rows).to(self.images.device)
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            true_labels=None if self.true_labels is None else self.true_labels[index],
            ids=tuple(str(row) if self.ids is None else self.ids[row] for row in rows.tolist()),
        )

    def channel_stats(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (C,) float32 of the training pixels, in units of 0..1.

        The deviation is at least one gray level (1/255), so that dividing by it is safe.
        """
        counts = torch.zeros(self.shape[0], 256, dtype=torch.float64)
        for chunk in self.images.split(CHUNK):
            # counts of gray levels are exact, so the same on every device and number of threads
            channels = chunk.transpose(0, 1).flatten(1)
            counts += torch.stack([channel.bincount(minlength=256) for channel in channels]).cpu()
        level = torch.arange(256, dtype=torch.float64) / 255
        share = counts / counts.sum(1, keepdim=True)
        mean = share @ level
        std = (share @ level.square() - mean.square()).clamp(min=0).sqrt()
        return mean.float(), std.clamp(min=1 / 255).float()

    def fingerprint(self) -> str:
        """16 hex digits that change if an image or a label of the training or test part changes."""
        digest = hashlib.sha1(usedforsecurity=False)
        for tensor in (self.images, self.labels, self.test_images, self.test_labels):
            digest.update(str(tuple(tensor.shape)).encode())
            for chunk in tensor.split(CHUNK):
                digest.update(chunk.contiguous().cpu().numpy())
        return digest.hexdigest()[:16]


def assemble(
    name: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor] | None,
    classes: Sequence[str],
    *,
    val: tuple[Tensor, Tensor] | None = None,
    true_labels: Tensor | None = None,
    **others: Any,
) -> Data:
    """A Data from checked images and labels of each part; see `parts.check_parts`.

    train, test, val: images (N, C, H, W) uint8 and labels (N,) int64. others: ids and notes.
    Raises DataError where they do not fit.
    """
    return as_data(
        check_parts(
            name,
            _as_arrays(train),
            test and _as_arrays(test),
            classes,
            val=val and _as_arrays(val),
            true_labels=None if true_labels is None else true_labels.numpy(),
            **others,
        )
    )


def as_data(arrays: Arrays) -> Data:
    """The same set as tensors that share the arrays' memory."""
    values: dict[str, Any] = {}
    for field in fields(arrays):
        value = getattr(arrays, field.name)
        values[field.name] = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    return Data(**values)


def _as_arrays(part: tuple[Tensor, Tensor]) -> Part:
    images, labels = part
    return images.numpy(), labels.numpy()
