"""Checks of a data set before training, and settings suggested for it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.config import RunConfig, configure
from engine.data.layout import says_loss
from engine.data.parts import some

if TYPE_CHECKING:
    import torch

    from engine.data import Data

Findings = Iterator[tuple[str, str]]  # (level, sentence)

MIN_IMBALANCE = 10  # largest to smallest class, from which on a warning is given
MIN_CLASS_SIZE = 10  # images, below which a class can hardly be learned
MIN_IMAGES = 500  # below which suggestions are rough
MAX_SMALL_SIDE = 28  # pixels, up to which the small network is enough
MAX_PANEL_SIZE = 20_000  # images whose features are kept, to find neighbors of any of them later
MAX_SHOWN_CONFLICTS = 12
FULL_BATCH_PIXELS = 64 * 64  # per image, up to which batches have their full size
MIN_BATCH_SIZE = 8
N_TIMED_IMAGES = 256  # trained on to time an epoch


# identical images whose labels differ: their rows, and the labels among them
Conflict = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class DataChecks:
    """Counts of one data set. `findings` are pairs (level, sentence), level "warn" or "note"."""

    n_train: int
    n_val: int
    n_test: int
    shape: tuple[int, int, int]  # (C, H, W)
    classes: tuple[str, ...]
    counts: np.ndarray  # (n_classes,) int64, training images of each class
    conflicts: tuple[Conflict, ...]
    findings: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...] = ()  # name and reason of each file that was not read


def check_data(data: Data) -> DataChecks:
    """Counts and findings of a data set; reads every training image once."""
    labels = data.labels.numpy()
    counts = np.bincount(labels, minlength=data.n_classes)
    duplicates = [rows for rows in identical_images(data.images) if len(rows) > 1]
    labeled = [(rows, tuple(sorted(set(labels[list(rows)].tolist())))) for rows in duplicates]
    conflicts = tuple((rows, classes) for rows, classes in labeled if len(classes) > 1)
    findings = [
        *_duplicate_findings(duplicates, conflicts),
        *_blank_findings(data),
        *_size_findings(data, counts),
        *_true_label_findings(data),
        *_test_part_findings(data),
        *(
            ("warn" if says_loss(note) else "note", note)
            for note in data.notes
            if not note.startswith("No test part")
        ),
    ]
    return DataChecks(
        data.n,
        0 if data.val_labels is None else len(data.val_labels),
        len(data.test_labels),
        data.shape,
        data.classes,
        counts,
        conflicts,
        tuple(sorted(findings, key=lambda finding: finding[0] != "warn")),
        data.left_out,
    )


def identical_images(images: torch.Tensor) -> list[tuple[int, ...]]:
    """Rows of images (N, C, H, W) uint8, grouped by identical pixels; blank images stay alone."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    blank = is_blank(images)
    for row, digest in enumerate(_digests(images)):
        groups[b"%d" % row if blank[row] else digest].append(row)
    return [tuple(rows) for rows in groups.values()]


def is_blank(images: torch.Tensor) -> np.ndarray:
    """(N,) bool: images of a single color, which show nothing."""
    import torch  # late: reading a result of the checks does not need it

    from engine.data.base import CHUNK

    flat = [chunk.flatten(2) for chunk in images.split(CHUNK)]
    return torch.cat([(chunk.amax(2) == chunk.amin(2)).all(1) for chunk in flat]).numpy()


def suggested_settings(data: Data, *, mirror: bool, thorough: bool = True) -> RunConfig:
    """Settings for a data set with its labels as given: no noise is added, the rest goes by size.

    mirror: whether a mirrored image still shows its class. thorough: all epochs, else half.
    """
    small = max(data.shape[1:]) <= MAX_SMALL_SIDE
    # the numbers of the engine's presets for images of this size, as far as the size decides
    base = configure(dataset="digits" if small else data.name, preset="auto")
    settings = {
        name: getattr(base, name)
        for name in ("network", "k", "alpha", "learning_rate", "weight_decay", "batch_size")
    }
    # a batch of large images takes as much memory as one of 64 x 64 pixels, and smaller steps
    batch_scale = min(1.0, FULL_BATCH_PIXELS / (data.shape[1] * data.shape[2]))
    settings["batch_size"] = max(MIN_BATCH_SIZE, round(base.batch_size * batch_scale))
    settings["learning_rate"] = base.learning_rate * settings["batch_size"] / base.batch_size
    without_mirror = "none" if small else "shift"
    scale = 1.0 if thorough else 0.5
    return configure(
        dataset=data.name,
        noise="none",
        rate=0.0,
        **settings,
        augment="crop-flip" if mirror else without_mirror,
        padding=2 if small else 4,
        epochs=round(base.epochs * scale),
        warmup=max(1, round(base.warmup * scale)),
        correction_start=max(2, round(base.correction_start * scale)),
        panel_size=min(max(data.n, 2), MAX_PANEL_SIZE),
        state_interval=1 if small else 5,
    )


def estimated_seconds(data: Data, config: RunConfig) -> float:
    """About how long a run takes on this machine, in seconds: two epochs of few images, scaled."""
    from engine.training.train import train

    n_timed = min(N_TIMED_IMAGES, max(4 * config.batch_size, data.n_classes))
    rows = np.linspace(0, data.n - 1, min(data.n, n_timed)).astype(int)
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
    per_epoch = sum(last.seconds.values()) * data.n / few.n
    return config.epochs * (per_epoch + last.seconds["evaluation"] * n_others / few.n)


def _digests(images: torch.Tensor) -> list[bytes]:
    from engine.data.base import CHUNK

    return [
        hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        for chunk in images.split(CHUNK)
        for image in chunk.numpy()
    ]


def _duplicate_findings(
    duplicates: list[tuple[int, ...]], conflicts: Sequence[Conflict]
) -> Findings:
    if conflicts:
        verb = "occurs" if len(conflicts) == 1 else "occur"
        text = f"{_count(len(conflicts), 'image')} {verb} more than once with different labels: "
        yield "warn", text + "at least one label of each is wrong."
    n_copies = sum(len(rows) - 1 for rows in duplicates)
    if n_copies:
        verb = "repeats" if n_copies == 1 else "repeat"
        yield "note", f"{_count(n_copies, 'image')} exactly {verb} another one, pixel by pixel."


def _blank_findings(data: Data) -> Findings:
    n_blank = int(is_blank(data.images).sum())
    if n_blank:
        verb = "shows" if n_blank == 1 else "show"
        yield "warn", f"{_count(n_blank, 'image')} {verb} a single color and nothing else."


def _size_findings(data: Data, counts: np.ndarray) -> Findings:
    if data.n < MIN_IMAGES:
        text = f"Only {data.n:,} images: the suggestions will be rough. "
        yield "warn", text + f"They become useful from about {MIN_IMAGES} images on."
    present = counts[counts > 0]
    if present.max() >= MIN_IMBALANCE * present.min():
        most = int(counts.argmax())
        least = int(np.where(counts > 0, counts, present.max()).argmin())
        text = f"{data.classes[most]} has {counts[most] / counts[least]:.0f} times as many images "
        text += f"as {data.classes[least]}: "
        yield "warn", text + "labels of rare classes are harder to check."
    tiny = [data.classes[c] for c in np.flatnonzero((counts > 0) & (counts < MIN_CLASS_SIZE))]
    if tiny:
        text = f"Fewer than {MIN_CLASS_SIZE} images in {some(tiny)}: "
        yield "warn", text + "too few to learn from, so check all of them by hand."


def _true_label_findings(data: Data) -> Findings:
    if data.true_labels is not None:
        wrong = (data.labels != data.true_labels).numpy().mean()
        text = f"The true labels are included: {100 * wrong:.1f} % of the given labels differ "
        yield "note", text + "from them."


def _test_part_findings(data: Data) -> Findings:
    if not len(data.test_labels):
        text = "No test part: how well the network classifies new images stays unknown. "
        yield "note", text + "Your labels can be checked all the same."
        return
    training = set(_digests(data.images))
    n_leaked = sum(digest in training for digest in _digests(data.test_images))
    if n_leaked:
        text = f"{_count(n_leaked, 'test image')} also among the training images: "
        yield "warn", text + "test accuracy will be too high."


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def key_figures(checks: DataChecks) -> dict[str, str]:
    """Label -> value of the counts, to show in a row."""
    channels, height, width = checks.shape
    color = "gray" if channels == 1 else "color"
    return {
        "Training images": f"{checks.n_train:,}",
        "Test images": f"{checks.n_test:,}" if checks.n_test else "none",
        "Classes": f"{(checks.counts > 0).sum():,}",
        "Pixels": f"{width} \N{MULTIPLICATION SIGN} {height} {color}",
    }
