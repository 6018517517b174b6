"""What can be said of a data set before anything runs, and the settings that suit it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.config import RunConfig, configure
from engine.data.parts import some
from engine.metrics import mean_true

if TYPE_CHECKING:
    import torch

    from engine.data import Data

IMBALANCE = 10  # largest to smallest class, from where on it is worth a word
TINY = 10  # images, below which a class can hardly be learned
FEW = 500  # images, below which suggestions are rough
SMALL_SIDE = 28  # pixels up to which the small network does
PANEL = 20_000  # images whose features are kept, to find neighbors of any of them later
PICTURED = 12  # contradictions that are shown
PIXELS = 64 * 64  # of an image up to which a batch has its full size
LEAST_BATCH = 8
TIMED = 256  # images that are trained on to time an epoch


@dataclass(frozen=True, eq=False)
class Checkup:
    """Counts of one data set. `findings` are (level, sentence), level "warn" or "note"."""

    n_train: int
    n_val: int
    n_test: int
    shape: tuple[int, int, int]  # (C, H, W)
    classes: tuple[str, ...]
    counts: np.ndarray  # (n_classes,) int64, training images of each class
    # identical images whose labels differ: their rows, and the labels among them
    contradictions: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    findings: tuple[tuple[str, str], ...]


def examine(data: Data) -> Checkup:
    """Look at every training image once."""
    labels = data.labels.numpy()
    counts = np.bincount(labels, minlength=data.n_classes)
    same = [rows for rows in alike(data.images) if len(rows) > 1]
    borne = [(rows, tuple(sorted(set(labels[list(rows)].tolist())))) for rows in same]
    different = tuple((rows, kinds) for rows, kinds in borne if len(kinds) > 1)
    findings = [
        *_about_copies(same, different),
        *_about_blank(data),
        *_about_size(data, counts),
        *_about_truth(data),
        *_about_test(data),
        *(("note", note) for note in data.notes if not note.startswith("No test part")),
    ]
    return Checkup(
        data.n,
        0 if data.val_labels is None else len(data.val_labels),
        len(data.test_labels),
        data.shape,
        data.classes,
        counts,
        different,
        tuple(sorted(findings, key=lambda finding: finding[0] != "warn")),
    )


def alike(images: torch.Tensor) -> list[tuple[int, ...]]:
    """Rows of images (N, C, H, W) uint8 with the very same pixels together; blank ones alone."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    blank = is_blank(images)
    for row, digest in enumerate(_digests(images)):
        groups[b"%d" % row if blank[row] else digest].append(row)
    return [tuple(rows) for rows in groups.values()]


def is_blank(images: torch.Tensor) -> np.ndarray:
    """(N,) bool: images of one color, which show nothing."""
    import torch  # late: reading a result of the checks needs none

    from engine.data.base import CHUNK

    flat = [chunk.flatten(2) for chunk in images.split(CHUNK)]
    return torch.cat([(chunk.amax(2) == chunk.amin(2)).all(1) for chunk in flat]).numpy()


def suited(data: Data, *, mirror: bool, thorough: bool = True) -> RunConfig:
    """Settings for a data set as it came: no noise is added, the rest goes by size.

    mirror: whether a mirrored image still shows its class. thorough: else half the epochs.
    """
    small = max(data.shape[1:]) <= SMALL_SIDE
    # the numbers of the engine's presets for images of this size, as far as the size decides
    base = configure(dataset="digits" if small else data.name, preset="auto")
    knobs = {
        name: getattr(base, name)
        for name in ("network", "k", "alpha", "learning_rate", "weight_decay", "batch_size")
    }
    # a batch of large images takes as much memory as one of 64 x 64 pixels, and smaller steps
    share_of_batch = min(1.0, PIXELS / (data.shape[1] * data.shape[2]))
    knobs["batch_size"] = max(LEAST_BATCH, round(base.batch_size * share_of_batch))
    knobs["learning_rate"] = base.learning_rate * knobs["batch_size"] / base.batch_size
    moved = "none" if small else "shift"
    scale = 1.0 if thorough else 0.5
    return configure(
        dataset=data.name,
        noise="none",
        rate=0.0,
        **knobs,
        augment="crop-flip" if mirror else moved,
        padding=2 if small else 4,
        epochs=round(base.epochs * scale),
        warmup=max(1, round(base.warmup * scale)),
        correction_start=max(2, round(base.correction_start * scale)),
        panel_size=min(max(data.n, 2), PANEL),
        state_interval=1 if small else 5,
    )


def seconds(data: Data, config: RunConfig) -> float:
    """About how long a run takes on this machine: two epochs of a few images, scaled up."""
    from engine.training.train import train

    timed = min(TIMED, max(4 * config.batch_size, data.n_classes))
    rows = np.linspace(0, data.n - 1, min(data.n, timed)).astype(int)
    few = replace(
        data.subset(np.unique(rows)),
        test_images=data.images[:0],
        test_labels=data.labels[:0],
        val_images=None,
        val_labels=None,
    )
    short = config.changed(
        epochs=2, warmup=1, correction_start=1, panel_size=2, k=min(config.k, few.n - 1)
    )
    *_, last = train(short, few)
    n_others = len(data.test_labels) + (0 if data.val_labels is None else len(data.val_labels))
    each = sum(last.seconds.values()) * data.n / few.n
    return config.epochs * (each + last.seconds["evaluation"] * n_others / few.n)


def _digests(images: torch.Tensor) -> list[bytes]:
    from engine.data.base import CHUNK

    return [
        hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        for chunk in images.split(CHUNK)
        for image in chunk.numpy()
    ]


def _about_copies(same: list[tuple[int, ...]], different: tuple):
    if different:
        text = f"{_many(len(different), 'picture')} came more than once with different labels: "
        yield "warn", text + "at least one label of each is wrong."
    n_copies = sum(len(rows) - 1 for rows in same)
    if n_copies:
        verb = "repeats" if n_copies == 1 else "repeat"
        yield "note", f"{_many(n_copies, 'image')} exactly {verb} another one, pixel by pixel."


def _about_blank(data: Data):
    n_blank = int(is_blank(data.images).sum())
    if n_blank:
        verb = "shows" if n_blank == 1 else "show"
        yield "warn", f"{_many(n_blank, 'image')} {verb} a single color and nothing else."


def _about_size(data: Data, counts: np.ndarray):
    if data.n < FEW:
        text = f"Only {data.n:,} images: the suggestions will be rough. "
        yield "warn", text + f"They become useful from about {FEW} images on."
    held = counts[counts > 0]
    if held.max() >= IMBALANCE * held.min():
        most, least = int(counts.argmax()), int(np.where(counts > 0, counts, held.max()).argmin())
        text = f"{data.classes[most]} has {counts[most] / counts[least]:.0f} times as many images "
        text += f"as {data.classes[least]}: "
        yield "warn", text + "labels of rare classes are harder to judge."
    tiny = [data.classes[c] for c in np.flatnonzero((counts > 0) & (counts < TINY))]
    if tiny:
        text = f"Fewer than {TINY} images in {some(tiny)}: "
        yield "warn", text + "too few to learn from, so look at all of them yourself."


def _about_truth(data: Data):
    if data.true_labels is not None:
        wrong = mean_true((data.labels != data.true_labels).numpy())
        text = f"The true labels came along: {100 * wrong:.1f} % of the given labels differ "
        yield "note", text + "from them."


def _about_test(data: Data):
    if not len(data.test_labels):
        text = "No test part: how well the network classifies new images stays unknown. "
        yield "note", text + "Your labels can be checked all the same."
        return
    seen = set(_digests(data.images))
    n_seen = sum(digest in seen for digest in _digests(data.test_images))
    if n_seen:
        text = f"{_many(n_seen, 'test image')} also among the training images: "
        yield "warn", text + "test accuracy will look better than it is."


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def summary(found: Checkup) -> dict[str, str]:
    """The counts, as labels and values to show in a row."""
    channels, height, width = found.shape
    color = "gray" if channels == 1 else "color"
    return {
        "Images to learn from": f"{found.n_train:,}",
        "To test": f"{found.n_test:,}" if found.n_test else "none",
        "Classes": f"{(found.counts > 0).sum():,}",
        "Pixels": f"{width} \N{MULTIPLICATION SIGN} {height} {color}",
    }
