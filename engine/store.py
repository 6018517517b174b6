"""The run folder, and how to read one, while it grows or after; NumPy alone reads it too.

    config.json     settings, data set, machine, parent run; written once
    labels.npz      given (N,), matrix (C, C), panel (P,); where known true (N,), matrix_actual; ids
    epochs.json     one record an epoch; an epoch exists once it stands here
    arrays/*.npy    see ARRAYS; row r belongs to record r, rows beyond the records mean nothing
    states/E.pt     network, optimizer and generators after epoch E, for resume and fork
    status.json     how the run ended, or "running"
    lock            held by the process that writes

Row r is epoch r, but in a fork, whose records begin after its parent's epoch. Files are replaced
whole, or written before the record that makes them count, so a killed process loses the epoch it
was in, the one before if that was still being written, and nothing else.
"""

import contextlib
import fcntl
import json
import os
import pickle
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.config import ConfigError, RunConfig, configure
from engine.state import FIXED_IN_FORK

FORMAT = 1
ARRAYS = {  # name -> (type, meaning of one row); by_rank arrays hold rank k of all samples together
    "loss": ("float32", "(N,)"),
    "scaled_loss": ("float32", "(N,)"),
    "clean": ("float32", "(N,)"),
    "prediction": ("int32", "(N,)"),
    "confidence": ("float32", "(N,)"),
    "soft": ("float32", "(N, C)"),  # float16 where the run keeps its table so, see state.HALF_FROM
    "neighbors": ("int32", "(K_max, N)"),
    "distances": ("float32", "(K_max, N)"),
    "weights": ("float32", "(K_max + 1, N)"),
    "panel_features": ("float16", "(P, D)"),
}
UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile)
BY_RANK = ("neighbors", "distances", "weights")


class StoreError(RuntimeError):
    """A run folder that cannot be written or read; the message says what to do."""


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

    def array(self, name: str, n: int | None = None) -> np.ndarray:
        """An array of ARRAYS, memory-mapped: one row for each record that is there now.

        n: how many records there are, if the caller has just read them.
        """
        return self._rows(name, len(self.epochs) if n is None else n)

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
        """One sample's whole history, rows first: loss (R,), soft (R, C), neighbors (R, K).

        K is the largest of the run; ranks beyond an epoch's own have neighbor -1, distance nan and
        weight 0.
        """
        n = len(self.labels["given"])
        if not 0 <= index < n:
            raise StoreError(f"sample {index}: allowed is 0 to {n - 1}")
        used = np.array([record["n_neighbors"] for record in self.epochs])
        k = used.max(initial=0)
        history = {}
        for name in ARRAYS:
            if name == "panel_features":
                continue
            rows = self._rows(name, len(used))
            if name in BY_RANK:  # ranks that no epoch used are holes, slow to read
                history[name] = np.array(rows[:, : k + (name == "weights"), index])
            else:
                history[name] = np.array(rows[:, index])
        unused = np.arange(k) >= used[:, None]
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


def free_folder(config: RunConfig, root: Path) -> Path:
    """root/digits-mixnn-symmetric0.4-seed0, or the next free one of that name."""
    name = short_name(config)
    folder, number = root / name, 2
    while folder.exists():
        folder, number = root / f"{name}-{number}", number + 1
    return folder


def short_name(config: RunConfig) -> str:
    """digits-mixnn-symmetric0.4-seed0: the settings that most runs differ in, fit for a file."""
    family, _, path = config.dataset.partition(":")
    own = Path(path).stem if family in ("npz", "folder") else path  # shapes:500 keeps its number
    dataset = "".join(c if c.isalnum() else "-" for c in f"{family}:{own}".rstrip(":"))[:40]
    return f"{dataset}-{config.method}-{config.noise}{config.rate:g}-seed{config.seed}"


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Replace a JSON file whole; what a full disk leaves of the new one is removed."""
    text = json.dumps(value, allow_nan=False, indent=indent)
    beside = path.with_suffix(".tmp")
    try:
        beside.write_text(text)
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises StoreError."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from None


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


def _ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 5] -> "0-2, 5"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)
