"""What a run has to cope with: its labels, spoiled once and then fixed."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import noise, spoil
from engine.config import LABEL_SETTINGS, SMALLEST_SIDE, RunConfig
from engine.data import Data, human
from engine.data.registry import data_folder, stratified
from engine.errors import ConfigError, DataError, NoiseError
from engine.folds import out_of_fold
from engine.noise import Noise

# Half of the images teach a network what to say of the others: 99 % of digits are right so.
MARGIN_FOLDS = dict(n_folds=2, epochs=10, seed=0)
MOST_MARGINS = 4  # data sets whose margins are kept in memory, 20 MB for CIFAR-100

Tick = Callable[[int, int], None]  # batches done, batches in all


@dataclass(frozen=True, eq=False)
class Problem:
    """The labels of a run, fixed while it lasts; a function of config and data alone."""

    given: np.ndarray  # (N,) int64, the labels trained on at first
    true: np.ndarray | None  # (N,) int64, None where the truth is not known
    matrix: np.ndarray  # (C, C) float64, the transition matrix asked for or expected
    rate_requested: float
    rate_actual: float | None  # share of given labels that are wrong
    panel: np.ndarray  # (P,) int64, samples whose features are kept, a stratified choice


def pose(
    config: RunConfig, data: Data, kept: Mapping[str, Any] | None = None, tick: Tick | None = None
) -> Problem:
    """Spoil the labels as config says. Raises NoiseError or ConfigError.

    kept: the labels of another run, as `given`, `matrix` and `rate_requested` beside its `config`
    as JSON; where the knobs that fix the labels are the same, they are taken over. tick: called
    while the networks behind the noise `margin` learn, with batches done and batches in all; it may
    raise to end that.
    """
    if min(data.shape[1:]) < SMALLEST_SIDE:
        raise ConfigError(
            f"images of {data.shape[1]} x {data.shape[2]} pixels: allowed are sides of "
            f"{SMALLEST_SIDE} or more (setting image_size for a folder)"
        )
    labels = data.labels.cpu().numpy()
    truth = data.true_labels.cpu().numpy() if data.true_labels is not None else None
    if truth is None and config.noise != "none":
        truth = labels  # with noise added, what came is taken for the truth
    given, matrix, requested = _taken_over(config, kept) or _made(config, data, labels, tick)
    return Problem(
        given=given,
        true=truth,
        matrix=matrix,
        rate_requested=requested,
        rate_actual=None if truth is None else float((given != truth).mean()),
        panel=stratified(labels, min(max(config.panel_size, data.n_classes), data.n), seed=0),
    )


def margins_known(data: Data) -> bool:
    """Whether `pose` would find the networks behind the noise `margin` already trained."""
    return data.fingerprint() in _margins


def noise_seed(config: RunConfig) -> int:
    """The seed that spoils the labels."""
    return config.seed if config.noise_seed is None else config.noise_seed


def _taken_over(
    config: RunConfig, kept: Mapping[str, Any] | None
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Given labels, matrix and requested rate of another run; None where they do not fit."""
    if kept is None or "matrix" not in kept:  # packed before there was noise worth keeping
        return None
    before = RunConfig.model_validate_json(kept["config"])
    same = all(getattr(before, name) == getattr(config, name) for name in LABEL_SETTINGS)
    if not same or noise_seed(before) != noise_seed(config):
        return None
    return np.asarray(kept["given"]), np.asarray(kept["matrix"]), kept["rate_requested"]


def _made(
    config: RunConfig, data: Data, labels: np.ndarray, tick: Tick | None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Given labels, matrix and requested rate. Raises NoiseError."""
    noisy = _spoiled(config, data, labels, tick)
    requested = 0.0 if config.noise == "none" else noisy.rate_requested
    return noisy.labels, noisy.matrix, requested


def _spoiled(config: RunConfig, data: Data, labels: np.ndarray, tick: Tick | None) -> Noise:
    n_classes, seed = data.n_classes, noise_seed(config)
    if config.noise == "instance":
        mean, std = (values.numpy() for values in data.channel_stats())
        return spoil.corrupt_by_image(
            labels, data.images.cpu().numpy(), config.rate,
            mean=mean, std=std, n_classes=n_classes, seed=seed,
        )  # fmt: skip
    if config.noise == "margin":
        eta = _eta(data, labels, tick)
        return spoil.corrupt_by_margin(
            labels, eta, config.rate, margin_type=config.margin_type, seed=seed
        )
    if config.noise == "human":
        return _of_people(config, data, labels)
    return noise.corrupt(
        labels, config.noise, config.rate, n_classes=n_classes, seed=seed,
        dataset=config.dataset, matrix=config.noise_matrix,
    )  # fmt: skip


def _of_people(config: RunConfig, data: Data, labels: np.ndarray) -> Noise:
    try:
        clean, given = human.load(config.dataset, config.human_labels, data_folder())
    except DataError as error:
        raise NoiseError(str(error)) from None
    rows = None if data.ids is None else np.array(data.ids, dtype=np.int64)
    return spoil.labels_of_people(labels, clean, given, n_classes=data.n_classes, rows=rows)


_margins: dict[str, np.ndarray] = {}  # fingerprint of a data set -> what networks say of it
_learning = threading.Lock()  # two runs that start together learn it once


def _eta(data: Data, labels: np.ndarray, tick: Tick | None) -> np.ndarray:
    """What networks say of images that they have not seen, (N, C) float32.

    A function of the data set alone, whatever the settings of the run.
    """
    fingerprint = data.fingerprint()
    with _learning:
        if fingerprint not in _margins:
            eta = out_of_fold(data, labels, **MARGIN_FOLDS, tick=tick)
            while len(_margins) >= MOST_MARGINS:
                del _margins[next(iter(_margins))]
            _margins[fingerprint] = eta
        return _margins[fingerprint]
