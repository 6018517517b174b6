"""Settings suggested for a data set, and how long a run takes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.config import RunConfig, configure

if TYPE_CHECKING:
    from engine.data import Data

MAX_SMALL_SIDE = 28  # pixels, up to which the small network is enough
MAX_PANEL_SIZE = 20_000  # images whose features are kept, to find neighbors of any of them later
FULL_BATCH_PIXELS = 64 * 64  # per image, up to which batches have their full size
MIN_BATCH_SIZE = 8
N_TIMED_IMAGES = 256  # trained on to time an epoch


def suggested_settings(data: Data, *, mirror: bool, thorough: bool = True) -> RunConfig:
    """Settings for a data set with its labels as given: no noise is added, the rest goes by size.

    mirror: whether a mirrored image still shows its class. thorough: all epochs, else half.
    """
    scale = 1.0 if thorough else 0.5
    if data.is_rows:
        own = configure(dataset=data.name, noise="none", rate=0.0)
        return own.changed(**_shorter(own, scale), panel_size=min(data.n, MAX_PANEL_SIZE))
    small = max(data.shape[1:]) <= MAX_SMALL_SIDE
    # the numbers of the engine's presets for images of this size, as far as the size decides
    base = configure(dataset="digits" if small else data.name, preset="auto")
    settings = {
        name: getattr(base, name)
        for name in (
            "network",
            "k",
            "alpha",
            "learning_rate",
            "weight_decay",
            "batch_size",
            "vote_from",
        )
    }
    # a batch of large images takes as much memory as one of 64 x 64 pixels, and smaller steps
    batch_scale = min(1.0, FULL_BATCH_PIXELS / (data.shape[1] * data.shape[2]))
    settings["batch_size"] = max(MIN_BATCH_SIZE, round(base.batch_size * batch_scale))
    settings["learning_rate"] = base.learning_rate * settings["batch_size"] / base.batch_size
    without_mirror = "none" if small else "shift"
    return configure(
        dataset=data.name,
        noise="none",
        rate=0.0,
        **settings,
        augment="crop-flip" if mirror else without_mirror,
        padding=2 if small else 4,
        **_shorter(base, scale),
        panel_size=min(max(data.n, 2), MAX_PANEL_SIZE),
        state_interval=1 if small else 5,
    )


def _shorter(base: RunConfig, scale: float) -> dict[str, Any]:
    """Settings of the length of a run, scaled."""
    return {
        "epochs": round(base.epochs * scale),
        "warmup": max(1, round(base.warmup * scale)),
        "correction_start": max(2, round(base.correction_start * scale)),
    }


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
