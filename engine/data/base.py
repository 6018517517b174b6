"""The form in which every data set is passed to the engine."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from engine.data.parts import Arrays, Part, check_parts
from engine.data.values import as_images
from engine.errors import DataError

# Images processed together: a large set needs no second copy, and a busy machine no long waits for
# threads (with 512, CIFAR-10 took 5 s instead of 0.4 s).
CHUNK = 4096
SMALLEST_STD = 1e-6  # of a column, relative to its mean; below, it counts as constant
PICTURE_SHAPE = (3, 64, 64)  # of a heat map
# of values by the number of standard deviations from the mean: blue, white, orange (Okabe and Ito)
BELOW, ABOVE = np.array([0, 114, 178]), np.array([213, 94, 0])


class Pictures(Protocol):
    """What a page shows for samples that are rows of numbers."""

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one picture."""

    def pictures(self, indices: np.ndarray | Sequence[int]) -> np.ndarray:
        """Pictures (n, H, W, C) uint8 of the training samples at indices (n,)."""

    def subset(self, rows: np.ndarray) -> "Pictures":
        """Those of these training rows (n,) alone."""


@dataclass(frozen=True, eq=False)
class Data:
    """A labeled image set with its test part. Nothing in it changes after loading.

    Images are (N, C, H, W) uint8 with C 1 or 3, labels (N,) int64 in 0..n_classes-1 as loaded,
    right or wrong. A class may have no training sample; every class in the test and validation
    parts has one.

    Samples may also be rows of D numbers (features, tables): an image of D channels and one pixel,
    (N, D, 1, 1) float32 or float16. So everything that holds for a channel holds for a column.
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
    shown: Pictures | None = None  # the pictures of rows; None: they are drawn as heat maps

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

    @property
    def is_rows(self) -> bool:
        """Whether samples are rows of numbers, not images."""
        return self.images.is_floating_point()

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what `pictures` returns for one sample."""
        if not self.is_rows:
            return self.shape
        return self.shown.picture_shape if self.shown is not None else PICTURE_SHAPE

    def pictures(self, indices: Tensor | np.ndarray | Sequence[int]) -> np.ndarray:
        """What a page shows for training samples: (n, H, W, C) uint8, C 1 or 3.

        The images themselves; for rows the pictures that they came with, or heat maps.
        """
        if self.shown is not None:
            return self.shown.pictures(np.asarray(indices, dtype=np.int64))
        taken = self.take(indices).cpu()
        if self.is_rows:
            return heat_maps(taken.flatten(1).float().numpy(), *self._plain_stats)
        return taken.permute(0, 2, 3, 1).numpy()

    def take(self, indices: Tensor | np.ndarray | Sequence[int]) -> Tensor:
        """Training images at indices (B,), as (B, C, H, W) uint8 on the images' device."""
        return self.images.index_select(0, torch.as_tensor(indices, device=self.images.device))

    def converted(self, values: Any) -> Tensor:
        """Further images (B, C, H, W), or rows, from arrays in any layout of `from_arrays`.

        Raises DataError where they are not of this set's shape.
        """
        images = torch.from_numpy(as_images("these", values))
        if images.shape[1:] != self.images.shape[1:]:
            raise DataError(
                f"images of shape {tuple(images.shape[1:])}: allowed is {self.shape}, as trained on"
            )
        return images

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
            shown=None if self.shown is None else self.shown.subset(rows),
        )

    def channel_stats(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (C,) float32 of the training images divided by 255.

        So those of pixels are in units of 0..1. The deviation is at least one gray level (1/255);
        that of a constant column of rows is 1/255. Dividing by it is safe.
        """
        if self.is_rows:
            return self._column_stats()
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

    @functools.cached_property
    def _plain_stats(self) -> tuple[np.ndarray, np.ndarray]:
        mean, std = self.channel_stats()
        return mean.numpy(), std.numpy()

    def _column_stats(self) -> tuple[Tensor, Tensor]:
        """`channel_stats` of rows, in two passes: the first is exact for a constant column."""
        total = torch.zeros(self.shape[0], dtype=torch.float64)
        for chunk in self.images.split(CHUNK):
            total += chunk.flatten(1).double().sum(0).cpu()
        mean, squares = total / self.n, torch.zeros_like(total)
        for chunk in self.images.split(CHUNK):
            squares += (chunk.flatten(1).double() - mean.to(chunk.device)).square().sum(0).cpu()
        std = (squares / self.n).sqrt()
        std = torch.where(std > SMALLEST_STD * mean.abs().clamp(min=SMALLEST_STD), std, 1.0)
        return (mean / 255).float(), (std / 255).float()

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


def heat_maps(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Rows (n, D) as square pictures (n, H, W, 3) uint8, one cell for each number, row by row.

    Blue is two standard deviations or more below the mean of its column, white the mean, orange
    above. mean, std: (D,) of the columns, divided by 255 as `Data.channel_stats` has them.
    """
    _, height, width = PICTURE_SHAPE
    n, d = values.shape
    side = max(1, int(np.ceil(np.sqrt(d))))
    level = np.zeros((n, -(-d // side) * side))
    level[:, :d] = ((values / 255 - mean) / std / 2).clip(-1, 1)
    cells = level.reshape(n, -1, side)
    rows = np.arange(height) * cells.shape[1] // height
    columns = np.arange(width) * side // width
    level = cells[:, rows][:, :, columns, None]
    colors = 255 + np.where(level < 0, (255 - BELOW) * level, (ABOVE - 255) * level)
    return colors.round().astype(np.uint8)
