"""Records the results of any training loop as a run folder, which every page opens.

recorder = Recorder("runs/mine", images, labels, epochs=20)
for epoch in range(20):
    ...
    recorder.log(epoch, losses=losses, probabilities=probabilities, test_accuracy=accuracy)
"""

import contextlib
import hashlib
import re
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.config import LIVE, RunConfig, configure, registry
from engine.errors import ConfigError, DataError
from engine.runs.folder import NOT_RECORDED, RECORDED_SETTINGS
from engine.runs.writer import RunWriter

if TYPE_CHECKING:
    from engine.data import Data
    from engine.training.noisy_labels import NoisyLabels
    from engine.training.snapshot import Snapshot

ROUNDING = (
    1e-2  # by which rows of probabilities or weights may miss the sum 1, as in half precision
)


class Recorder:
    """The results of a training loop of your own, as a run folder.

    folder: a new one. images: as `engine.from_arrays` takes them; a data set of `engine.load`; or
    None, which shows no images. labels: (N,) integers from 0, right or wrong; those of the data set
    by default. true_labels: (N,), where they are known. classes: their names. epochs: how many will
    be logged; after the last one the recorder closes itself. name: of the method on the pages,
    "custom: name". source: a function, class or text that is stored with the run and shown.
    settings: of RunConfig, to be shown, such as seed or learning_rate; k is the largest K (20 where
    it is less). Raises ConfigError, DataError, and StoreError for a folder that exists.

    >>> recorder = Recorder("/tmp/runs/mine", images, labels, epochs=20)  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: Path | str,
        images: Any,
        labels: Any = None,
        *,
        true_labels: Any = None,
        classes: list[str] | None = None,
        epochs: int | None = None,
        name: str = "loop",
        source: Any = "",
        **settings: Any,
    ):
        if not re.fullmatch(registry.NAME, name):
            raise ConfigError(f"name = {name!r}: allowed are up to 60 letters, digits, _, . and -")
        from engine.training.noisy_labels import labels_as_given  # late: it takes a while

        text = source if isinstance(source, str) else registry.source_of("loops", name, source)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        data, given, true = _data(images, labels, true_labels, classes)
        known = NOT_RECORDED if images is None else _dataset(data, Path(folder).parent)
        shown: dict[str, Any] = RECORDED_SETTINGS | settings
        loss = f"custom:{name}@{digest}"
        config = configure(**shown | dict(dataset=known, loss=loss, epochs=epochs or 1))
        part = {"setting": "loss", "kind": "loops", "name": name, "hash": digest, "source": text}
        self.folder = Path(folder)
        self._planned, self._n_epochs = epochs, 0
        self._loop = _Loop(config, data, labels_as_given(config, data, given, true))
        self._writer: RunWriter | None = RunWriter.create(self.folder, self._loop, parts=[part])
        self._writer.write_status("running")
        self._before: Snapshot | None = None
        self._logged: set[str] = set()
        self._time = time.perf_counter()

    def log(
        self,
        epoch: int,
        *,
        losses: Any = None,
        probabilities: Any = None,
        features: Any = None,
        neighbors: Any = None,
        distances: Any = None,
        weights: Any = None,
        clean: Any = None,
        soft: Any = None,
        **metrics: float | None,
    ) -> None:
        """Store an epoch; it is on disk when this returns. Epochs count from 0, without gaps.

        Arrays and tensors are in the order of the data set, the same ones in every epoch:
        losses: (N,), cross-entropy of the labels as they are now, by default from probabilities:
        (N, C), rows sum to 1. features: (N, D), of any layer, for Map and for the
        votes of neighbors. neighbors: (N, K) sample numbers that each sample was mixed with, with
        distances (N, K), by default from the features, nan for random partners, and weights
        (N, K+1), own weight first, by default MixNN's. clean: (N,), P(clean), by default from the
        mixture of the losses. soft: (N, C), the labels after this epoch, where the loop corrects
        them. metrics: numbers by name; test_accuracy, val_accuracy and train_loss are shown, all
        are stored.

        Raises DataError for arrays that do not fit, ConfigError for another epoch or metric, and
        StoreError where the folder cannot be written.
        """
        from engine.training.derived import Measured, derive

        begin = time.perf_counter()
        if self._writer is None or epoch != self._n_epochs:
            allowed = "none, it is closed" if self._writer is None else str(self._n_epochs)
            raise ConfigError(f"epoch = {epoch}: allowed is {allowed}; epochs count from 0")
        n, c = self._loop.data.n, self._loop.data.n_classes
        arrays = {
            "losses": _checked("losses", losses, (n,)),
            "probabilities": _checked("probabilities", probabilities, (n, c), shares=True),
            "features": _checked("features", features, (n, None)),
            "neighbors": _checked("neighbors", neighbors, (n, None), ids=n),
            "distances": _checked("distances", distances, (n, None), finite=False),
            "weights": _checked("weights", weights, (n, None), shares=True),
            "clean": _checked("clean", clean, (n,), unit=True),
            "soft": _checked("soft", soft, (n, c), shares=True),
        }
        self._check_together(epoch, arrays)
        if arrays["losses"] is None:
            soft, given = arrays["soft"], self._loop.noisy_labels.given
            own = arrays["probabilities"][np.arange(n), given if soft is None else soft.argmax(1)]
            arrays["losses"] = -np.log(np.maximum(own, np.finfo(np.float32).tiny))
        if self._planned is None and epoch:
            self._loop.config = self._writer.set_epochs(epoch + 1)
        seconds = {"training": begin - self._time}
        snapshot = derive(
            epoch,
            Measured(**arrays),
            self._loop.noisy_labels,
            c,
            before=self._before,
            settings={name: getattr(self._loop.config, name) for name in LIVE},
            own_metrics={name: _number(name, value) for name, value in metrics.items()},
            seconds=seconds,
        )
        seconds["snapshot"] = time.perf_counter() - begin
        self._writer.write(snapshot, None)
        self._before, self._n_epochs = snapshot, epoch + 1
        self._time = time.perf_counter()
        if self._planned == self._n_epochs:
            self.close()

    def close(self, error: BaseException | None = None) -> None:
        """End the recording; error: what ended the loop. Closing again does nothing."""
        if self._writer is None:
            return
        if error is None:
            self._writer.write_status("done")
        else:
            self._writer.write_status("failed", f"{type(error).__name__}: {error}")
        self._writer.close()
        self._writer = None

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close(error)

    def __del__(self) -> None:
        writer = getattr(self, "_writer", None)
        if writer is not None:
            with contextlib.suppress(Exception):  # the interpreter ends
                writer.close()

    def _check_together(self, epoch: int, arrays: dict[str, Any]) -> None:
        """Raise DataError where arrays need others, or are not those of the first epoch."""
        given = {name for name, values in arrays.items() if values is not None}
        if not given & {"losses", "probabilities"}:
            raise DataError("losses = None: allowed is (N,), or probabilities (N, C) instead")
        if epoch and given != self._logged:
            differ = ", ".join(sorted(given ^ self._logged))
            raise DataError(f"{differ} in epoch {epoch}: allowed are the same arrays in all epochs")
        self._logged = given
        neighbors, k_max = arrays["neighbors"], self._writer.k_max if self._writer else 0
        if neighbors is None:
            if given & {"distances", "weights"}:
                raise DataError("distances and weights: allowed together with neighbors")
            return
        k = neighbors.shape[1]
        if not 1 <= k <= k_max:
            raise DataError(f"neighbors of {k} columns: allowed are 1 to {k_max} (argument k)")
        if not given & {"distances", "features"}:
            raise DataError("neighbors: allowed with their distances, or with features")
        for name, columns in (("distances", k), ("weights", k + 1)):
            if arrays[name] is not None and arrays[name].shape[1] != columns:
                raise DataError(
                    f"{name} of {arrays[name].shape[1]} columns: allowed are {columns}, for {k} "
                    "neighbors"
                )


@dataclass
class _Loop:
    """What `RunWriter.create` reads from a `State`, of a loop that is not the engine's."""

    config: RunConfig
    data: "Data"
    noisy_labels: "NoisyLabels"
    network: str = NOT_RECORDED
    precision: str = NOT_RECORDED
    compile: str = NOT_RECORDED
    threads: int = 0
    epoch: int = -1

    @property
    def device(self) -> Any:
        import torch

        return torch.device("cpu")

    @cached_property
    def mean(self) -> Any:
        return self.data.channel_stats()[0]

    @cached_property
    def std(self) -> Any:
        return self.data.channel_stats()[1]


def _data(
    images: Any, labels: Any, true_labels: Any, classes: list[str] | None
) -> tuple["Data", np.ndarray, np.ndarray | None]:
    """The data set, its given labels (N,), and the true ones where they are known."""
    from engine.data.arrays import from_arrays
    from engine.data.base import Data
    from engine.data.values import as_array

    if isinstance(images, Data):
        own = images.labels.cpu().numpy()
        given = own if labels is None else as_array(labels).astype(np.int64)
        if given.shape != own.shape or not 0 <= given.min() <= given.max() < images.n_classes:
            raise DataError(
                f"labels of shape {given.shape} from {given.min()} to {given.max()}: allowed are "
                f"{own.shape} from 0 to {images.n_classes - 1}"
            )
        true = images.true_labels if labels is None else images.labels
        known = true if true_labels is None else true_labels
        return images, given, None if known is None else as_array(known).astype(np.int64)
    if labels is None:
        raise DataError("labels = None: allowed are whole numbers (N,)")
    if images is None:
        images = np.zeros((len(labels), 1, 1), np.uint8)
    data = from_arrays(images, labels, classes=classes, true_labels=true_labels)
    return data, data.labels.numpy(), None if data.true_labels is None else data.true_labels.numpy()


def _dataset(data: "Data", root: Path) -> str:
    """The name that finds the images: of a complete built-in data set, else of a file in root."""
    from engine.data import DATASETS
    from engine.data.arrays import store

    entry = DATASETS.get(data.name)
    return data.name if entry is not None and entry.n_train == data.n else store(data, root)


def _checked(
    name: str,
    values: Any,
    shape: tuple[int | None, ...],
    *,
    shares: bool = False,
    unit: bool = False,
    finite: bool = True,
    ids: int = 0,
) -> Any:
    """The array in the type of run folders; None for None. Raises DataError where it does not fit.

    shape: None: any. shares: rows from 0 that sum to 1. unit: in [0, 1]. ids: sample numbers below.
    """
    if values is None:
        return None
    from engine.data.values import as_array

    array = as_array(values)
    words = "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"
    fits = array.ndim == len(shape) and all(
        side in (None, own) for side, own in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in ("iu" if ids else "iuf"):
        raise DataError(
            f"{name} have type {array.dtype} and shape {array.shape}: allowed are "
            f"{'whole numbers' if ids else 'numbers'} {words}, in the order of the data set"
        )
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if finite and not np.isfinite([low, high]).all():
        raise DataError(f"{name} from {low} to {high}: allowed are finite numbers")
    if ids and not 0 <= low <= high < ids:
        raise DataError(f"{name} from {low} to {high}: allowed are sample numbers 0 to {ids - 1}")
    if (unit or shares) and not -ROUNDING <= low <= high <= 1 + ROUNDING:
        raise DataError(f"{name} from {low:g} to {high:g}: allowed are numbers from 0 to 1")
    if shares and abs(array.sum(1) - 1).max() > ROUNDING:
        total = array.sum(1)
        raise DataError(
            f"{name} in rows that sum to {total.min():g} to {total.max():g}: allowed is 1"
        )
    array = array.astype(np.int32 if ids else np.float32)
    return array.clip(0, 1) if unit or shares else array


def _number(name: str, value: Any) -> float | None:
    """A metric as JSON has it: None for one that is not finite. Raises ConfigError."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} = {value!r:.60}: allowed is a number, or None") from None
    return number if np.isfinite(number) else None
