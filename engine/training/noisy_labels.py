"""The labels of a run: made noisy once and then fixed."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import hardware, models
from engine.config import LABEL_SETTINGS, OLDER_VALUES, SMALLEST_SIDE, RunConfig, registry
from engine.data import human
from engine.data.registry import data_folder, stratified_sample
from engine.errors import ConfigError, DataError, NoiseError
from engine.noise.class_dependent import (
    NOISE_STREAM,
    Noise,
    class_dependent_noise,
    observed_matrix,
    validated_labels,
)
from engine.noise.instance_dependent import human_noise, instance_dependent_noise, margin_noise
from engine.training.cross_validation import cross_val_predict_proba

if TYPE_CHECKING:
    from engine.data import Data

# Each network learns from half of the images and predicts the other half: 99 % right on digits.
MARGIN_N_FOLDS, MARGIN_EPOCHS = 2, 10
# As on the two-core machine that the stored results come from. With 1 or 3 threads a probability
# differs by up to 3e-4 (120 images, network fast), enough to change a label near its threshold.
MARGIN_THREADS = 2
LOCK_POLL = 0.1  # seconds between two checks for stop and pause while another run trains them
MAX_STORED_MARGINS = 4  # data sets whose margins are kept in memory, 20 MB for CIFAR-100

OnProgress = Callable[[int, int], None]  # batches done, batches in all


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """The labels of a run, fixed while it lasts; a function of config and data alone."""

    given: np.ndarray  # (N,) int64, the labels that training starts from
    true: np.ndarray | None  # (N,) int64, None where the truth is not known
    matrix: np.ndarray  # (C, C) float64, the requested or the expected transition matrix
    rate_requested: float
    rate_actual: float | None  # share of given labels that are wrong
    panel: np.ndarray  # (P,) int64, a stratified sample of rows whose features are stored

    @property
    def matrix_actual(self) -> np.ndarray | None:
        """(C, C) float64, the share of each given label within each true class, where known."""
        if self.true is None:
            return None
        return observed_matrix(self.true, self.given, len(self.matrix))


def make_noisy_labels(
    config: RunConfig,
    data: "Data",
    kept: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> NoisyLabels:
    """Labels with the noise that config names. Raises NoiseError or ConfigError.

    kept: the labels of another run, as `given`, `matrix` and `rate_requested` next to its `config`
    as JSON; they are reused where the settings that determine labels are the same. on_progress:
    called while the networks behind the noise `margin` are trained, with batches done and batches
    in all; it may raise to end that.
    """
    if not data.is_rows and min(data.shape[1:]) < SMALLEST_SIDE:
        raise ConfigError(
            f"images of {data.shape[1]} x {data.shape[2]} pixels: allowed are sides of "
            f"{SMALLEST_SIDE} or more (set image_size for images of a folder or npz)"
        )
    labels = data.labels.cpu().numpy()
    truth = data.true_labels.cpu().numpy() if data.true_labels is not None else None
    if truth is None and config.noise != "none":
        truth = labels  # with noise added, the labels of the data set count as the truth
    given, matrix, requested = _reused(config, kept) or _generated(
        config, data, labels, on_progress
    )
    return NoisyLabels(
        given=given,
        true=truth,
        matrix=matrix,
        rate_requested=requested,
        rate_actual=None if truth is None else float((given != truth).mean()),
        panel=_panel(config, data, labels),
    )


def labels_as_given(
    config: RunConfig, data: "Data", given: np.ndarray, true: np.ndarray | None
) -> NoisyLabels:
    """Labels (N,) int64 without added noise, and the true ones (N,) where known."""
    actual = None if true is None else float((given != true).mean())
    return NoisyLabels(
        given=given,
        true=true,
        matrix=observed_matrix(given if true is None else true, given, data.n_classes),
        rate_requested=actual or 0.0,
        rate_actual=actual,
        panel=_panel(config, data, given),
    )


def _panel(config: RunConfig, data: "Data", labels: np.ndarray) -> np.ndarray:
    n = min(max(config.panel_size, data.n_classes), data.n)
    return stratified_sample(labels, n, seed=0)


def margins_known(data: "Data") -> bool:
    """Whether the networks that `make_noisy_labels` needs for margin noise are already trained."""
    return data.fingerprint() in _margins


def noise_seed(config: RunConfig) -> int:
    """The seed of the label noise."""
    return config.seed if config.noise_seed is None else config.noise_seed


def _reused(
    config: RunConfig, kept: Mapping[str, Any] | None
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Given labels, matrix and requested rate of another run; None where they do not fit."""
    if kept is None or "matrix" not in kept:  # stored before labels were kept
        return None
    before = RunConfig(**OLDER_VALUES | json.loads(kept["config"]))
    same = all(getattr(before, name) == getattr(config, name) for name in LABEL_SETTINGS)
    if not same or noise_seed(before) != noise_seed(config):
        return None
    return np.asarray(kept["given"]), np.asarray(kept["matrix"]), kept["rate_requested"]


def _generated(
    config: RunConfig, data: "Data", labels: np.ndarray, on_progress: OnProgress | None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Given labels, matrix and requested rate. Raises NoiseError."""
    noisy = _noise(config, data, labels, on_progress)
    requested = 0.0 if config.noise == "none" else noisy.rate_requested
    return noisy.labels, noisy.matrix, requested


def _noise(
    config: RunConfig, data: "Data", labels: np.ndarray, on_progress: OnProgress | None
) -> Noise:
    rng = np.random.default_rng((noise_seed(config), NOISE_STREAM))
    noisy = registry.function("noise", config.noise)(
        labels.copy() if registry.is_custom(config.noise) else labels,
        config.rate,
        rng,
        n_classes=data.n_classes,
        images=data.images.numpy() if data.images.device.type == "cpu" else data.images.cpu(),
        config=config,
        data=data,
        on_progress=on_progress,
    )
    if isinstance(noisy, Noise):
        return noisy
    name, given = registry.in_words(config.noise), np.asarray(noisy)
    if given.shape != labels.shape:
        raise NoiseError(f"noise = {name!r} returns shape {given.shape}: allowed is {labels.shape}")
    given, _ = validated_labels(given, data.n_classes)
    matrix = observed_matrix(labels, given, data.n_classes)
    return Noise(given, matrix, config.rate, float((given != labels).mean()))


# the built-in noise models as parts: labels, rate and generator, which all but the first ignore,
# since each draws from a stream of its own


def by_class(
    labels: np.ndarray, rate: float, rng: np.random.Generator, *, config: RunConfig, data: "Data"
) -> Noise:
    """Noise that depends on the class alone."""
    return class_dependent_noise(
        labels,
        config.noise,
        rate,
        n_classes=data.n_classes,
        seed=noise_seed(config),
        dataset=config.dataset,
        matrix=config.noise_matrix,
    )


def by_instance(
    labels: np.ndarray,
    rate: float,
    rng: np.random.Generator,
    *,
    images: np.ndarray,
    config: RunConfig,
    data: "Data",
) -> Noise:
    """Noise that depends on the pixels."""
    mean, std = (values.numpy() for values in data.channel_stats())
    return instance_dependent_noise(
        labels, images, rate, mean=mean, std=std, n_classes=data.n_classes, seed=noise_seed(config)
    )


def by_margin(
    labels: np.ndarray,
    rate: float,
    rng: np.random.Generator,
    *,
    config: RunConfig,
    data: "Data",
    on_progress: OnProgress | None,
) -> Noise:
    """Noise that depends on the margins of networks."""
    eta = _margin_probabilities(data, labels, on_progress)
    seed = noise_seed(config)
    return margin_noise(labels, eta, rate, margin_type=config.margin_type, seed=seed)


def by_humans(
    labels: np.ndarray, rate: float, rng: np.random.Generator, *, config: RunConfig, data: "Data"
) -> Noise:
    """Labels by human annotators. Raises NoiseError."""
    try:
        clean, given = human.load(config.dataset, config.human_labels, data_folder())
    except DataError as error:
        raise NoiseError(str(error)) from None
    rows = None if data.ids is None else np.array(data.ids, dtype=np.int64)
    return human_noise(labels, clean, given, n_classes=data.n_classes, rows=rows)


_margins: dict[str, np.ndarray] = {}  # fingerprint of a data set -> out-of-fold probabilities
_margins_lock = threading.Lock()  # guards the dict, for moments only
_training_locks: dict[str, threading.Lock] = {}  # fingerprint -> held while its networks train


def _margin_probabilities(
    data: "Data", labels: np.ndarray, on_progress: OnProgress | None
) -> np.ndarray:
    """Out-of-fold class probabilities, (N, C) float32, of networks trained once per data set.

    A function of the data set alone, whatever the settings of the run and the machine's cores.
    Runs that need the same ones meanwhile wait; if the training fails or is stopped, the next run
    in line starts it over. Raises what on_progress raises.
    """
    fingerprint = data.fingerprint()
    training = _training_locks.setdefault(fingerprint, threading.Lock())
    while not training.acquire(timeout=LOCK_POLL):
        if on_progress is not None:
            on_progress(0, 1)
    try:
        with _margins_lock:
            eta = _margins.get(fingerprint)
        if eta is None:
            eta = cross_val_predict_proba(
                data,
                labels,
                n_folds=MARGIN_N_FOLDS,
                epochs=MARGIN_EPOCHS,
                threads=_n_threads(data),
                on_progress=on_progress,
            )
            with _margins_lock:
                while len(_margins) >= MAX_STORED_MARGINS:
                    del _margins[next(iter(_margins))]
                _margins[fingerprint] = eta
        return eta
    finally:
        training.release()


def _n_threads(data: "Data") -> int:
    """CPU threads of the margin networks: the same on every machine, since sums depend on it."""
    return 1 if models.choose("auto", data.shape) in hardware.SMALL else MARGIN_THREADS
