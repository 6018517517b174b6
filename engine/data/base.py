"""The one form in which every data set reaches the engine, and the checks all of them pass."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

# Images looked at together: a large set needs no second copy, a busy machine no endless waiting
# for threads (512 took 5 s on CIFAR-10 where this takes 0.4 s).
CHUNK = 4096


class DataError(ValueError):
    """Data that cannot be used; the message names the value or file and what is allowed."""


@dataclass(frozen=True, eq=False)
class Data:
    """A labeled image set with its test part. Nothing in it changes after loading.

    Images are (N, C, H, W) uint8 with C 1 or 3, labels (N,) int64 in 0..n_classes-1 as they came,
    right or wrong. A class may be without a training sample; every class in the test and
    validation parts has one.
    """

    name: str  # as asked for, e.g. "digits" or "npz:/x/y.npz"
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    test_images: Tensor  # may have length 0
    test_labels: Tensor
    val_images: Tensor | None = None
    val_labels: Tensor | None = None
    true_labels: Tensor | None = None  # (N,) int64, None where the truth is not known
    ids: tuple[str, ...] | None = None  # one per training sample; None: the row number
    notes: tuple[str, ...] = ()  # each repair made while loading, in one sentence

    @property
    def n(self) -> int:
        """Number of training samples."""
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return tuple(self.images.shape[1:])

    def take(self, indices: Tensor | np.ndarray | Sequence[int]) -> Tensor:
        """Training images at indices (B,), as (B, C, H, W) uint8 on the images' device."""
        return self.images.index_select(0, torch.as_tensor(indices, device=self.images.device))

    def to(self, device: torch.device | str) -> "Data":
        """The same data with every tensor on device; tensors already there are not copied."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors = {key: value for key, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **{key: value.to(device) for key, value in tensors.items()})

    def subset(self, rows: np.ndarray) -> "Data":
        """Only these training rows (n,) int64; the other parts stay whole.

        Row numbers would no longer say which sample is meant, so ids hold the rows of the full set
        where there were no ids before.
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
            # Counting gray levels is exact, so the same on every device and number of threads.
            channels = chunk.transpose(0, 1).flatten(1)
            counts += torch.stack([channel.bincount(minlength=256) for channel in channels]).cpu()
        level = torch.arange(256, dtype=torch.float64) / 255
        share = counts / counts.sum(1, keepdim=True)
        mean = share @ level
        std = (share @ level.square() - mean.square()).clamp(min=0).sqrt()
        return mean.float(), std.clamp(min=1 / 255).float()

    def fingerprint(self) -> str:
        """16 hex digits that change when an image or a label of the training or test part does."""
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
    ids: tuple[str, ...] | None = None,
    notes: Sequence[str] = (),
) -> Data:
    """Check images and labels of each part and make them a Data.

    train, test, val: images (N, C, H, W) uint8 and labels (N,) int64. Repairs, each with a note:
    no test part becomes one of length 0; a class without a training sample stays in the class list;
    images of such a class leave the test and validation parts, since they could only be missed.
    Raises DataError on an empty training part, on fewer than two classes, on lengths or image
    shapes that do not fit, and on labels outside 0..n_classes-1.
    """
    images, labels = train
    notes = list(notes)
    for part, values in (("train", labels), ("train_true", true_labels)):
        if values is not None:
            _check_part(name, part, images, values, images.shape[1:])
            _check_below(name, part, values, len(classes))
    if len(labels) == 0:
        raise DataError(f"{name}: the training part is empty, at least two images are needed")
    counts = torch.bincount(labels, minlength=len(classes))
    if (counts > 0).sum() < 2:
        only = classes[int(labels[0])]
        raise DataError(f"{name}: all training images are {only!r}, two classes are needed")
    empty = [kind for kind, count in zip(classes, counts.tolist(), strict=True) if not count]
    if empty:
        notes.append(f"No training image for {some(empty)}: kept as a class that stays unlearned.")
    if test is None:
        notes.append("No test part: test accuracy cannot be measured.")
        test = (images[:0], labels[:0])
    others = {"test": test, "val": val or (None, None)}
    for part, (other_images, other_labels) in others.items():
        if other_labels is not None:
            _check_part(name, part, other_images, other_labels, images.shape[1:])
            others[part] = _learnable(part, other_images, other_labels, counts, notes)
    return Data(
        name,
        images,
        labels,
        tuple(classes),
        *others["test"],
        *others["val"],
        true_labels=true_labels,
        ids=ids,
        notes=tuple(notes),
    )


def some(names: Sequence[object], most: int = 5) -> str:
    """The first few names, and how many more there are: "a, b and 7 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def _check_part(name: str, part: str, images: Tensor, labels: Tensor, shape: torch.Size) -> None:
    if len(images) != len(labels):
        raise DataError(f"{name}: {len(images)} {part} images but {len(labels)} {part} labels")
    if images.shape[1:] != shape:
        raise DataError(
            f"{name}: {part} images are {tuple(images.shape[1:])} (channels, height, width), "
            f"they must be {tuple(shape)} like the training images"
        )
    if len(labels) and labels.min() < 0:
        row = int(labels.argmin())
        raise DataError(f"{name}: {part} label {labels[row]} in row {row}; labels count from 0")


def _check_below(name: str, part: str, labels: Tensor, n_classes: int) -> None:
    if len(labels) and labels.max() >= n_classes:
        row = int(labels.argmax())
        raise DataError(
            f"{name}: {part} label {labels[row]} in row {row}; allowed are 0..{n_classes - 1}"
        )


def _learnable(
    part: str, images: Tensor, labels: Tensor, counts: Tensor, notes: list[str]
) -> tuple[Tensor, Tensor]:
    """The images whose class has a training sample; counts (C,) are the training samples."""
    keep = torch.isin(labels, counts.nonzero())
    if keep.all():
        return images, labels
    dropped = labels[~keep]
    notes.append(
        f"Dropped {len(dropped):,} of {len(labels):,} {part} images: no training image has their "
        f"label ({some(dropped.unique().tolist())})."
    )
    return images[keep], labels[keep]
