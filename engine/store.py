"""The run folder: written whole by one process, read fast by any number; NumPy alone reads it too.

    config.json     settings, data set, machine, parent run; written once
    labels.npz      given (N,), matrix (C, C), panel (P,); where known true (N,), matrix_actual; ids
    epochs.json     one record an epoch; an epoch exists once it stands here
    arrays/*.npy    see ARRAYS; row r belongs to record r, rows beyond the records mean nothing
    states/E.pt     network, optimizer and generators after epoch E, for resume and fork
    status.json     how the run ended, or "running"
    lock            held by the process that writes

Row r is epoch r, but in a fork, whose records begin after its parent's epoch. Files are replaced
whole, or written before the record that makes them count, so a killed process loses the epoch it
was in and nothing else.
"""

import contextlib
import errno
import fcntl
import io
import json
import os
import pickle
import shutil
import time
import zipfile
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from engine import __version__
from engine.config import ConfigError, RunConfig, configure
from engine.device import machine
from engine.noise import observed_matrix
from engine.snapshot import Snapshot
from engine.state import FIXED_IN_FORK, State

FORMAT = 1
K_ROOM = 20  # a live K may grow to this; unused planes are holes that take no room on disk
ARRAYS = {  # name -> (type, meaning of one row); by_rank arrays hold rank k of all samples together
    "loss": ("float32", "(N,)"),
    "scaled_loss": ("float32", "(N,)"),
    "clean": ("float32", "(N,)"),
    "prediction": ("int32", "(N,)"),
    "confidence": ("float32", "(N,)"),
    "soft": ("float32", "(N, C)"),
    "neighbors": ("int32", "(K_max, N)"),
    "distances": ("float32", "(K_max, N)"),
    "weights": ("float32", "(K_max + 1, N)"),
    "panel_features": ("float16", "(P, D)"),
}
UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile)
BY_RANK = ("neighbors", "distances", "weights")


class StoreError(RuntimeError):
    """A run folder that cannot be written or read; the message says what to do."""


class RunWriter:
    """The one writer of a run folder, from its creation or resumption to `close`."""

    def __init__(self, folder: Path, info: dict[str, Any], lock: FileLock):
        self.folder, self._info, self._lock = folder, info, lock
        self.k_max: int = info["k_max"]
        self._records: list[dict[str, Any]] = []

    @classmethod
    def create(cls, folder: Path, state: State, parent: dict[str, Any] | None = None):
        """A new run folder. parent: {"run": path, "epoch": E} of a fork. Raises StoreError."""
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "already holds a run" if (folder / "config.json").exists() else "is not empty"
            raise StoreError(f"{folder} {what}: resume it, or choose another folder")
        data, problem = state.data, state.problem
        info = {
            "format": FORMAT,
            "config": state.config.model_dump(mode="json"),
            "method": state.config.method,
            "network": state.network,
            "precision": state.precision,
            "device": str(state.device),
            "threads": state.threads,
            "first_epoch": state.epoch + 1,
            "k_max": min(max(state.config.k, K_ROOM), data.n - 1),
            "parent": parent,
            "rate_requested": problem.rate_requested,
            "rate_actual": problem.rate_actual,
            "data": {
                "n": data.n, "n_test": len(data.test_labels), "shape": list(data.shape),
                "classes": list(data.classes), "notes": list(data.notes),
                "fingerprint": data.fingerprint(), "has_validation": data.val_images is not None,
            },
            "machine": machine(state.device),
            "version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        try:
            (folder / "arrays").mkdir(parents=True, exist_ok=True)
            (folder / "states").mkdir(exist_ok=True)
            lock = _lock(folder)
            labels = {"given": problem.given, "matrix": problem.matrix, "panel": problem.panel}
            if problem.true is not None:
                labels["true"] = problem.true
                labels["matrix_actual"] = observed_matrix(
                    problem.true, problem.given, data.n_classes
                )
            if data.ids is not None:
                labels["ids"] = np.array(data.ids)
            with open(folder / "labels.npz", "wb") as file:
                np.savez(file, **labels)
            write_json(folder / "epochs.json", [])
            write_json(folder / "config.json", info)
        except OSError as error:
            raise _as_store_error(error, folder) from error
        return cls(folder, info, lock)

    @classmethod
    def resume(cls, folder: Path):
        """Take up a run folder that nobody writes. Raises StoreError."""
        run = Run(folder)
        writer = cls(run.folder, run.info, _lock(run.folder))
        writer._records = list(run.epochs)
        return writer

    @property
    def n_epochs(self) -> int:
        """Epochs that are on disk."""
        return len(self._records)

    def write(self, snapshot: Snapshot, state: State) -> None:
        """Put one epoch and the state after it on disk; it becomes visible as the last step."""
        try:
            row = len(self._records)
            for name in ARRAYS:
                self._write_row(name, row, getattr(snapshot, name))
            torch_save(state.pack(), self._state_file(snapshot.epoch))
            record = {
                "epoch": snapshot.epoch,
                "phase": snapshot.phase,
                "n_neighbors": snapshot.neighbors.shape[1],
                "settings": snapshot.settings,
                "metrics": snapshot.metrics,
                "mixture": snapshot.mixture,
                "seconds": snapshot.seconds,
            }
            write_json(self.folder / "epochs.json", [*self._records, record])
        except OSError as error:
            self._state_file(snapshot.epoch).unlink(missing_ok=True)
            raise _as_store_error(error, self.folder) from error
        self._records.append(record)
        before = snapshot.epoch - 1
        if before % state.config.state_interval:
            self._state_file(before).unlink(missing_ok=True)

    def write_status(self, state: str, message: str = "") -> None:
        """Say how the run stands; on a full disk the last word stays."""
        status = {"state": state, "message": message, "time": time.time()}
        with contextlib.suppress(OSError):
            write_json(self.folder / "status.json", status)

    def close(self) -> None:
        """Let others write the folder."""
        self._lock.release()

    def _state_file(self, epoch: int) -> Path:
        return self.folder / "states" / f"{epoch}.pt"

    def _write_row(self, name: str, row: int, values: np.ndarray) -> None:
        path = self.folder / "arrays" / f"{name}.npy"
        kind = np.dtype(ARRAYS[name][0])
        shape = values.shape
        if name in BY_RANK:
            values = values.T
            shape = (self.k_max + (name == "weights"), values.shape[1])
            if len(values) > shape[0]:
                raise StoreError(
                    f"{len(values)} ranks of {name}: the folder has room for {shape[0]}"
                )
        if not path.exists():
            rows = self._info["config"]["epochs"] - self._info["first_epoch"]
            _create_array(path, kind, (rows, *shape))
        # plain writes, not a memory map: on a full disk a map kills the process
        with open(path, "r+b") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            file.seek(row * int(np.prod(shape)) * kind.itemsize, os.SEEK_CUR)
            with np.errstate(over="ignore"):  # features beyond float16 become inf
                file.write(np.ascontiguousarray(values, dtype=kind).tobytes())


class Run:
    """A run folder to read, while it is written or after. Raises StoreError if it is none."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        if not (self.folder / "config.json").is_file():
            raise StoreError(f"{self.folder} is no run folder: it has no config.json")
        self.info: dict[str, Any] = read_json(self.folder / "config.json")
        if self.info.get("format") != FORMAT:
            raise StoreError(
                f"{self.folder} has format {self.info.get('format')!r}: this version reads {FORMAT}"
            )

    @cached_property
    def config(self) -> RunConfig:
        """The settings that the run started with."""
        try:
            return RunConfig(**self.info["config"])
        except ValueError as error:
            raise StoreError(f"{self.folder}/config.json is broken: {error}") from None

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The records of the epochs that are there, read anew."""
        return read_json(self.folder / "epochs.json")

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """given, matrix, panel, and true, matrix_actual and ids where they exist."""
        try:
            with np.load(self.folder / "labels.npz", allow_pickle=False) as file:
                return dict(file)
        except UNREADABLE as error:
            raise StoreError(f"{self.folder}/labels.npz cannot be read: {error}") from None

    @property
    def status(self) -> dict[str, Any]:
        """{"state", "message", "time"}; a writer that died shows as "interrupted"."""
        try:
            status = read_json(self.folder / "status.json")
        except StoreError:
            status = {"state": "running", "message": "", "time": 0.0}
        if status["state"] == "running" and not _is_locked(self.folder):
            message = f"the process ended after {len(self.epochs)} epochs; the run can be resumed"
            status = status | {"state": "interrupted", "message": message}
        return status

    def array(self, name: str) -> np.ndarray:
        """An array of ARRAYS, memory-mapped: one row for each record that is there now."""
        return self._rows(name, len(self.epochs))

    def _rows(self, name: str, n: int) -> np.ndarray:
        if n == 0:
            raise StoreError(f"{self.folder} has no epoch yet")
        try:
            return np.load(self.folder / "arrays" / f"{name}.npy", mmap_mode="r")[:n]
        except UNREADABLE as error:
            raise StoreError(f"{self.folder}: array {name} cannot be read: {error}") from None

    def mixed_with(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """neighbors (N, K), distances (N, K) and weights (N, K+1) of one row."""
        k = self.epochs[row]["n_neighbors"]
        planes = {"neighbors": k, "distances": k, "weights": k + 1}
        return tuple(np.array(self.array(name)[row, :n].T) for name, n in planes.items())

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """One sample's whole history, rows first: loss (R,), soft (R, C), neighbors (R, K_max).

        Ranks beyond an epoch's K have neighbor -1, distance nan and weight 0.
        """
        n = len(self.labels["given"])
        if not 0 <= index < n:
            raise StoreError(f"sample {index}: allowed is 0 to {n - 1}")
        records = self.epochs
        rows = {name: self._rows(name, len(records)) for name in ARRAYS if name != "panel_features"}
        history = {
            name: np.array(values[..., index] if name in BY_RANK else values[:, index])
            for name, values in rows.items()
        }
        ranks = np.arange(history["neighbors"].shape[1])
        unused = ranks >= np.array([record["n_neighbors"] for record in records])[:, None]
        history["neighbors"][unused], history["distances"][unused] = -1, np.nan
        history["weights"][:, 1:][unused] = 0
        return history

    def kept_states(self) -> list[int]:
        """Epochs whose network is kept, in order."""
        done = {record["epoch"] for record in self.epochs}
        files = {int(p.stem) for p in (self.folder / "states").glob("*.pt") if p.stem.isdigit()}
        return sorted(done & files)

    def load_state(self, epoch: int) -> dict[str, Any]:
        """What State.pack left after an epoch. Raises StoreError naming the kept ones."""
        kept = self.kept_states()
        if epoch not in kept:
            raise StoreError(
                f"epoch = {epoch}: {self.folder} keeps the network of "
                f"{_ranges(kept) or 'no epoch'} (knob state_interval)"
            )
        path = self.folder / "states" / f"{epoch}.pt"
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (*UNREADABLE, RuntimeError, pickle.UnpicklingError) as error:
            raise StoreError(f"{path} cannot be read: {error}") from None


def fork_config(run: Run, epoch: int, **knobs: Any) -> RunConfig:
    """Settings of a fork: the run's with the live values of that epoch, and over them the knobs.

    A new seed alone does not change the labels. Raises ConfigError for knobs that a network cannot
    survive, StoreError for an epoch that is not there.
    """
    records = {record["epoch"]: record for record in run.epochs}
    if epoch not in records:
        raise StoreError(
            f"epoch = {epoch}: {run.folder} has epochs {_ranges(sorted(records)) or 'none'}"
        )
    before = run.config.changed(**records[epoch]["settings"])
    method = knobs.pop("method", None)
    base = before.model_dump()
    if method is not None:
        row = configure(method=method, preset="plain").model_dump()
        base |= {name: row[name] for name in ("mixing", "loss", "correction")}
    if before.noise_seed is None and "noise_seed" not in knobs:
        base["noise_seed"] = before.seed
    if knobs.get("noise", before.noise) != "matrix":
        base["noise_matrix"] = None
    config = before.changed(**base | knobs)
    for name in FIXED_IN_FORK:
        if getattr(config, name) != getattr(before, name):
            raise ConfigError(
                f"{name} = {getattr(config, name)!r}: a fork keeps {getattr(before, name)!r}, "
                "start a new run for another"
            )
    if config.epochs <= epoch + 1:
        raise ConfigError(
            f"epochs = {config.epochs}: a fork from epoch {epoch} needs {epoch + 2} or more"
        )
    return config


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file whole."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(value, allow_nan=False))
    os.replace(beside, path)


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises StoreError."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from None


def torch_save(value: dict[str, Any], path: Path) -> None:
    """Replace a file of tensors whole."""
    buffer = io.BytesIO()  # torch would hide the system's word of a full disk behind its own
    torch.save(value, buffer)
    beside = path.with_suffix(".tmp")
    try:
        beside.write_bytes(buffer.getbuffer())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _create_array(path: Path, kind: np.dtype, shape: tuple[int, ...]) -> None:
    """A .npy file of full size whose content is a hole, visible once its header is right."""
    beside = path.with_suffix(".tmp")
    with open(beside, "wb") as file:
        header = {"descr": kind.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape)) * kind.itemsize)
    os.replace(beside, path)


def _lock(folder: Path) -> FileLock:
    lock = FileLock(folder / "lock", thread_local=False)
    try:
        lock.acquire(timeout=2)
    except Timeout:
        raise StoreError(f"{folder} is being written by a run that is under way") from None
    return lock


def _is_locked(folder: Path) -> bool:
    """Whether a writer holds the folder; asked with a shared lock, so that readers never meet."""
    try:
        with open(folder / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock, no writer
        return False
    return False


def _as_store_error(error: OSError, folder: Path) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(folder if folder.exists() else folder.parent).free
        return StoreError(
            f"the disk is full ({free / 1e6:.0f} MB free) while writing {folder}: all epochs "
            "before this one are safe; free some room, then resume"
        )
    return StoreError(f"{folder} cannot be written: {error}")


def _ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 5] -> "0-2, 5"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)
