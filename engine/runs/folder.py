"""The run folder, and how to read one, while it grows or after; NumPy alone reads it too.

    config.json     settings, data set, machine, parent run; written once
    labels.npz      given (N,), matrix (C, C), panel (P,); where known true (N,), matrix_actual; ids
    epochs.jsonl    one record an epoch, a line each; an epoch exists once its line is complete
    arrays/*.npy    see ARRAYS; row r belongs to record r, rows beyond the records mean nothing
    states/E.pt     network, optimizer and generators after epoch E, for resume and fork
    status.json     how the run ended, or "running"
    lock            held by the process that writes
    parent/         in a fork: its parent up to the epoch it was forked from, a run folder, too

Row r is epoch r, but in a fork, whose records begin after its parent's epoch. Files are replaced
whole, or written before the record that makes them count, so a killed process loses the epoch it
was in, the one before if that was still being written, and nothing else. Folders of format 1 have
their records in epochs.json, see engine/runs/records.py.

A folder may be damaged or come from a stranger: `RunFolder` trusts nothing in it. Types, shapes and
sizes are checked before they are used (engine/runs/schema.py), links out of the folder are not
followed, and pickled objects are not read.
"""

import contextlib
import fcntl
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from engine.config import FIXED_IN_FORK, NETWORK_ALIASES, RunConfig
from engine.errors import ConfigError, StoreError
from engine.runs import schema
from engine.runs.records import MOST_JSON, MOST_PARTS, RecordFile, epochs_file

FORMAT = 2  # 1: the records are in epochs.json
FORMATS = (1, 2)  # that are read
ARRAYS = {  # name -> (type, meaning of one row); by_rank arrays hold rank k of all samples together
    "loss": ("float32", "(N,)"),
    "scaled_loss": ("float32", "(N,)"),
    "clean": ("float32", "(N,)"),
    "prediction": ("int32", "(N,)"),
    "confidence": ("float32", "(N,)"),
    "soft": ("float32", "(N, C)"),  # float16 from state.HALF_PRECISION_ENTRIES entries on
    "neighbors": ("int32", "(K_max, N)"),
    "distances": ("float32", "(K_max, N)"),
    "weights": ("float32", "(K_max + 1, N)"),
    "panel_features": ("float16", "(P, D)"),
}
UNREADABLE = (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)
BY_RANK = ("neighbors", "distances", "weights")


class RunFolder:
    """A run folder to read, while it is written or after. Raises StoreError if it is none.

    alone: of a fork, take the run that it was forked from as gone, see engine/runs/lineage.py.
    """

    def __init__(self, folder: Path | str, *, alone: bool = False):
        self.folder, self.alone = Path(folder), alone
        if printable(self.folder.name) != self.folder.name:
            raise StoreError(
                f"{printable(self.folder.name)}: the folder's name is not UTF-8; rename the folder"
            )
        if not (self.folder / "config.json").is_file():
            raise StoreError(f"{self.folder} is no run folder: it has no config.json")
        self.info: dict[str, Any] = self._json("config.json")
        if not isinstance(self.info, dict) or type(self.info.get("format")) is not int:
            raise StoreError(f"{self.folder}/config.json does not describe a run")
        if self.info["format"] not in FORMATS:
            raise StoreError(
                f"{self.folder} has format {self.info['format']}: this version reads "
                f"{' and '.join(map(str, FORMATS))}"
            )
        self._check("config.json", schema.info, self.info)
        network = self.info["network"]
        self.info["network"] = NETWORK_ALIASES.get(network, network)
        self._records = RecordFile(self._check_records)

    @cached_property
    def config(self) -> RunConfig:
        """The settings that the run started with."""
        try:
            return RunConfig(**self.info["config"])
        except ValueError as error:
            raise StoreError(f"{self.folder}/config.json is broken: {error}") from None

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The records of the epochs that are on disk now, not to be changed.

        Lines that were read before are not read again.
        """
        path = self._own(epochs_file(self.folder).name)
        try:
            return self._records.read(path)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}") from None

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """given, matrix, panel, and true, matrix_actual and ids where they exist."""
        sizes = self.info["data"]["n"], len(self.info["data"]["classes"])
        try:
            path = schema.own_path(self.folder, "labels.npz")
            schema.label_files(path, *sizes)
            with np.load(path, allow_pickle=False) as file:
                found = dict(file)
            schema.labels(found, *sizes)
        except (*UNREADABLE, RuntimeError) as error:  # RuntimeError: an encrypted zip
            raise StoreError(f"{self.folder}/labels.npz cannot be read: {error}") from None
        return found

    @property
    def status(self) -> dict[str, Any]:
        """{"state", "message", "time"}; a writer that died shows as "interrupted"."""
        status = {"state": "running", "message": "", "time": 0.0}
        if os.path.lexists(self.folder / "status.json"):
            status = self._json("status.json")
            self._check("status.json", schema.status, status)
        if status["state"] == "running" and not is_locked(self.folder):
            message = f"the process ended after {len(self.epochs)} epochs; the run can be resumed"
            status = status | {"state": "interrupted", "message": message}
        return status

    def array(self, name: str, n: int | None = None) -> np.ndarray:
        """An array of ARRAYS, memory-mapped: one row for each record that is there now.

        n: how many records there are, if the caller has just read them.
        """
        return self._rows(name, len(self.epochs) if n is None else n)

    def row(self, name: str, row: int) -> np.ndarray:
        """One row of an array of ARRAYS, in memory. Raises StoreError."""
        found = np.array(self.array(name)[row])
        self.check_numbers(name, found)
        return found

    def _rows(self, name: str, n: int) -> np.ndarray:
        if n == 0:
            raise StoreError(f"{self.folder} has no epoch yet")
        try:
            rows = read_array(self.folder, f"arrays/{name}.npy", mmap_mode="r")
            self._check_rows(name, rows, n)
        except UNREADABLE as error:
            raise StoreError(f"{self.folder}: array {name} cannot be read: {error}") from None
        return rows[:n]

    def _check_rows(self, name: str, rows: np.ndarray, n: int) -> None:
        kind, meaning = ARRAYS[name]
        kinds = (kind, "float16") if name == "soft" else (kind,)
        k = self.info["k_max"]
        sides = {
            "N": self.info["data"]["n"],
            "C": len(self.info["data"]["classes"]),
            "K_max": k,
            "K_max + 1": k + 1,
            "P": len(self.labels["panel"]) if "P" in meaning else 0,
        }
        allowed = [sides.get(side) for side in meaning.strip("(,)").split(", ")]  # None: any
        fits = (
            rows.ndim == 1 + len(allowed)
            and len(rows) >= n
            and all(
                side in (there, None) for side, there in zip(allowed, rows.shape[1:], strict=True)
            )
        )
        if rows.dtype not in kinds or not fits:
            raise ValueError(
                f"it has type {rows.dtype} and shape {rows.shape}: allowed are {kind} and at least "
                f"{n} rows {meaning} with {sides}"
            )

    def mixing_of(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """neighbors (N, K), distances (N, K) and weights (N, K+1) of one row."""
        k = self.epochs[row]["n_neighbors"]
        planes = {"neighbors": k, "distances": k, "weights": k + 1}
        found = tuple(np.array(self.array(name)[row, :n].T) for name, n in planes.items())
        self.check_numbers("neighbors", found[0])
        return found

    def check_numbers(self, name: str, values: np.ndarray) -> None:
        """See to it that a part of an array names classes or samples that are there.

        Raises StoreError; arrays of other numbers pass.
        """
        most = {
            "neighbors": self.info["data"]["n"],
            "prediction": len(self.info["data"]["classes"]),
        }
        if name in most and values.size and not 0 <= values.min() <= values.max() < most[name]:
            raise StoreError(
                f"{self.folder}: array {name} has {values.min()} to {values.max()}: allowed is "
                f"0 to {most[name] - 1}"
            )

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
            self.check_numbers(name, history[name])
        unused = np.arange(k) >= used[:, None]
        history["neighbors"][unused], history["distances"][unused] = -1, np.nan
        history["weights"][:, 1:][unused] = 0
        return history

    def checkpoints(self) -> list[int]:
        """Epochs whose network is kept, in order."""
        done = {record["epoch"] for record in self.epochs}
        files = {p.stem for p in (self.folder / "states").glob("*.pt")}
        return [epoch for epoch in sorted(done) if str(epoch) in files]

    def n_resumable(self) -> int:
        """How many epochs a resumed run keeps: those up to the newest state that is on disk.

        All, where more states are missing than a killed process leaves out: `load_checkpoint` then
        names those that exist.
        """
        n, kept = len(self.epochs), self.checkpoints()
        written = kept[-1] - self.info["first_epoch"] + 1 if kept else 0
        return written if n - written < self.config.checkpoint_every else n

    def load_checkpoint(self, epoch: int) -> dict[str, Any]:
        """What State.pack left after an epoch. Raises StoreError naming the kept ones."""
        kept = self.checkpoints()
        if epoch not in kept:
            raise StoreError(
                f"epoch = {epoch}: {self.folder} keeps the network of "
                f"{_ranges(kept) or 'no epoch'} (setting state_interval)"
            )
        import torch  # late: reading anything else needs none

        path = self.folder / "states" / f"{epoch}.pt"
        try:
            schema.own_path(self.folder, f"states/{epoch}.pt")
            with zipfile.ZipFile(path) as archive:  # compressed, a small file may fill the memory
                if any(member.compress_type for member in archive.infolist()):
                    raise ValueError("its parts are compressed")
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # what PyTorch raises for a damaged file is of many kinds
            reason = str(error).partition("\n")[0]
            raise StoreError(f"{path} cannot be read: {reason}") from None
        if not isinstance(found, dict):
            raise StoreError(f"{path} cannot be read: it holds no state of a run")
        return found

    def _json(self, name: str) -> Any:
        return read_json(self._own(name))

    def _own(self, name: str) -> Path:
        try:
            return Path(schema.own_path(self.folder, name))
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.folder / name} cannot be read: {error}") from None

    def _check(self, name: str, check: Callable[..., None], *values: Any) -> None:
        try:
            check(*values)
        except ValueError as error:
            raise StoreError(f"{self.folder}/{name} is damaged: {error}") from None

    def _check_records(self, found: list[dict[str, Any]], start: int) -> None:
        bounds = self.info["first_epoch"], self.info["k_max"], start
        self._check(epochs_file(self.folder).name, schema.records, found, *bounds)


def fork_config(run: RunFolder, epoch: int, **knobs: Any) -> RunConfig:
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
    if before.noise_seed is None:
        knobs.setdefault("noise_seed", before.seed)
    config = before.varied(**knobs)
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
    """Replace a JSON file whole, see `write_text`."""
    write_text(path, json.dumps(value, allow_nan=False, indent=indent))


def write_text(path: Path, text: str) -> None:
    """Replace a file whole; what a full disk leaves of the new one is removed. Raises OSError."""
    beside = path.with_suffix(".tmp")
    try:
        beside.write_text(text)
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """Read a JSON file of at most MOST_JSON bytes and MOST_PARTS parts. Raises StoreError.

    Nothing but a plain file is opened: a pipe would be waited for without end.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("it is no plain file")
        with open(path, "rb") as file:
            content = file.read(MOST_JSON + 1)
        if len(content) > MOST_JSON:
            raise ValueError(f"it is larger than {MOST_JSON >> 20} MB")
        if content.count(b"[") + content.count(b"{") > MOST_PARTS:
            raise ValueError(f"it has more than {MOST_PARTS:,} lists and objects")
        return json.loads(content)
    except RecursionError:
        raise StoreError(f"{path} cannot be read: it is nested too deep") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from None


def read_array(folder: Path | str, name: str, *, mmap_mode: str | None = None) -> np.ndarray:
    """An array of a run folder, whose head is checked before. Raises one of UNREADABLE."""
    path = schema.own_path(folder, name)
    with open(path, "rb") as file:
        schema.array_head(file, os.fstat(file.fileno()).st_size)
    return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)


def printable(name: str) -> str:
    """A folder's name as text; bytes that are not UTF-8 as \\udc.., see `on_disk`."""
    return name.encode("utf-8", "backslashreplace").decode()


def on_disk(root: Path, name: str) -> Path:
    """The folder in root whose printable name this is."""
    path = root / name
    if "\\udc" in name and not path.exists():
        path = root / re.sub(r"\\udc[89a-f][0-9a-f]", lambda m: chr(int(m[0][2:], 16)), name)
    return path


def is_locked(folder: Path) -> bool:
    """Whether a writer holds the folder; asked with a shared lock, so that readers never meet."""
    try:
        if not stat.S_ISREG(os.stat(folder / "lock").st_mode):
            return False
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
