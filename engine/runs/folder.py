"""Reads a run folder, during training or afterwards. NumPy alone can read one, too.

    config.json     settings, data set, machine, parent run; written once
    labels.npz      given (N,), matrix (C, C), panel (P,); where known true (N,), matrix_actual; ids
    epochs.jsonl    one record an epoch, a line each; an epoch exists once its line is complete
    arrays/*.npy    see schema.ARRAYS; row r belongs to record r, rows beyond the records are unused
    states/E.pt     network, optimizer and generators after epoch E, for resume and fork
    status.json     how the run ended, or "running"
    left_out.csv    every file of the data set that was not read, and why; where there are some
    lock            held by the process that writes
    parent/         in a fork: its parent up to the epoch it was forked from, a run folder, too

Row r is epoch r, except in a fork, whose records begin after its parent's epoch. Files are replaced
whole, or written before the record that makes them count, so a killed process loses the epoch in
progress, the one before if that was still being written, and nothing else. Folders of format 1 have
their records in epochs.json, see engine/runs/records.py.

A folder may be damaged or untrusted: `RunFolder` checks types, shapes and sizes before use
(engine/runs/schema.py), follows no links out of the folder and reads no pickled objects.
"""

import contextlib
import fcntl
import os
import stat
import zipfile
import zlib
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engine.config import NETWORK_ALIASES, OLDER_VALUES, RunConfig
from engine.errors import StoreError
from engine.files import printable, read_json
from engine.runs import schema
from engine.runs.records import RecordFile, epochs_file
from engine.runs.schema import ARRAYS, BY_RANK, OPTIONAL_ARRAYS

FORMAT = 2  # 1: the records are in epochs.json
LEFT_OUT = "left_out.csv"
FORMATS = (1, 2)  # that can be read
# Arrays that a recorded loop may lack: what they are, and the argument of `Recorder.log`.
NOT_LOGGED = {
    "prediction": ("predictions", "probabilities"),
    "confidence": ("predictions", "probabilities"),
    "panel_features": ("features", "features"),
}
NOT_RECORDED = "not recorded"  # data set, network, ... of a recorded loop
# settings of a recorded run, where the loop names no others
RECORDED_SETTINGS = dict(
    method="ce",
    preset="plain",
    noise="none",
    augment="none",
    warmup=0,
    correction_start=0,
    learning_rate_min=0.0,
)
UNKNOWN_VALUES = {"prediction": -1, "confidence": np.nan}  # in a sample's history
MOST_OPEN = 256  # runs that `open_run` keeps; 300 records of one take 1 MB
UNREADABLE = (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class RunFolder:
    """Reads a run folder, during training or afterwards. Raises StoreError if it is none.

    alone: ignore the run that this one was forked from, see engine/runs/lineage.py.
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
        """The settings that the run started with. Raises StoreError.

        Images that are stored beside the runs are found there, too, where all were moved.
        """
        try:
            config = RunConfig(**OLDER_VALUES | self.info["config"])
        except ValueError as error:
            raise StoreError(f"{self.folder}/config.json is broken: {error}") from None
        family, _, path = config.dataset.partition(":")
        beside = self.folder.parent.resolve() / "data" / Path(path).name
        if family == "npz" and not os.path.exists(path) and beside.is_file():
            return config.changed(dataset=f"npz:{beside}")
        return config

    @property
    def is_recorded(self) -> bool:
        """Whether a training loop of one's own was recorded, see `engine.runs.recorder`."""
        return any(part["kind"] == "loops" for part in self.info.get("parts", []))

    def has(self, name: str) -> bool:
        """Whether the run has an array of ARRAYS; a recorded one may lack some."""
        return os.path.lexists(self.folder / "arrays" / f"{name}.npy")

    def not_logged(self, name: str) -> str:
        """Which array a recorded loop lacks, and how to log it, as a sentence; else ""."""
        if name not in NOT_LOGGED or not self.is_recorded or self.has(name):
            return ""
        what, how = NOT_LOGGED[name]
        return (
            f"{self.folder.name} was recorded without {what}: log them with "
            f"recorder.log(epoch, {how}=...)"
        )

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The records of the epochs on disk; do not modify them. Raises StoreError.

        Only new lines are read.
        """
        path = self._own(epochs_file(self.folder).name)
        try:
            return self._records.read(path)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}") from None

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """given (N,), matrix (C, C), panel (P,) and, if known, true (N,), matrix_actual, ids (N,).

        Raises StoreError.
        """
        sizes = self.info["data"]["n"], len(self.info["data"]["classes"])
        try:
            path = schema.own_path(self.folder, "labels.npz")
            schema.label_files(path, *sizes)
            with np.load(path, allow_pickle=False) as file:
                labels = dict(file)
            schema.labels(labels, *sizes)
        except (*UNREADABLE, RuntimeError) as error:  # RuntimeError: an encrypted zip
            raise StoreError(f"{self.folder}/labels.npz cannot be read: {error}") from None
        return labels

    @property
    def status(self) -> dict[str, Any]:
        """{"state", "message", "time"}; "interrupted" where the writing process died."""
        status = {"state": "running", "message": "", "time": 0.0}
        if os.path.lexists(self.folder / "status.json"):
            status = self._json("status.json")
            self._check("status.json", schema.status, status)
        if status["state"] == "running" and not is_locked(self.folder):
            message = f"the process ended after {len(self.epochs)} epochs"
            message += "" if self.is_recorded else "; the run can be resumed"
            status = status | {"state": "interrupted", "message": message}
        return status

    @property
    def parent_folders(self) -> list[Path]:
        """Folders that may hold a fork's parent, its own copy first; none for other runs."""
        if self.info["parent"] is None or self.alone:
            return []
        recorded = self.folder / self.info["parent"]["run"]  # absolute in earlier versions
        return [self.folder / schema.PARENT_COPY, recorded, self.folder.parent / recorded.name]

    @property
    def parent(self) -> "RunFolder | None":
        """The run that a fork was made from, up to that epoch or beyond; None if it is missing."""
        for folder in self.parent_folders:
            with contextlib.suppress(StoreError):
                parent, epoch = open_run(folder), self.info["parent"]["epoch"]
                records = parent.epochs
                # a parent's epochs precede the fork's, so no chain of parents is a circle
                if records and parent.info["first_epoch"] <= epoch <= records[-1]["epoch"]:
                    return parent
        return None

    def array(self, name: str, n: int | None = None) -> np.ndarray:
        """An array of ARRAYS, memory-mapped, one row per record on disk. Raises StoreError.

        n: the number of records, if the caller has just read them.
        """
        return self._rows(name, len(self.epochs) if n is None else n)

    def row(self, name: str, row: int) -> np.ndarray:
        """One row of an array of ARRAYS, in memory. Raises StoreError."""
        values = np.array(self.array(name)[row])
        self.check_ids(name, values)
        return values

    def votes(self, row: int) -> np.ndarray | None:
        """`Snapshot.votes` of one row; None where the run has none. Raises StoreError."""
        if not self.has("votes"):
            return None
        votes = self.row("votes", row)
        return votes if votes.any() else None

    def _rows(self, name: str, n: int) -> np.ndarray:
        if n == 0:
            raise StoreError(f"{self.folder} has no epoch yet")
        if missing := self.not_logged(name):
            raise StoreError(missing)
        try:
            rows = read_array(self.folder, f"arrays/{name}.npy", mmap_mode="r")
            self._check_rows(name, rows, n)
        except UNREADABLE as error:
            raise StoreError(f"{self.folder}: array {name} cannot be read: {error}") from None
        return rows[:n]

    def _check_rows(self, name: str, rows: np.ndarray, n: int) -> None:
        kind, meaning = (ARRAYS | OPTIONAL_ARRAYS)[name]
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
                side in (size, None) for side, size in zip(allowed, rows.shape[1:], strict=True)
            )
        )
        if rows.dtype not in kinds or not fits:
            raise ValueError(
                f"it has type {rows.dtype} and shape {rows.shape}: allowed are {kind} and at least "
                f"{n} rows {meaning} with {sides}"
            )

    def mixing_of(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """neighbors (N, K), distances (N, K) and weights (N, K+1) of one row. Raises StoreError."""
        k = self.epochs[row]["n_neighbors"]
        neighbors, distances, weights = (
            np.array(self.array(name)[row, : k + (name == "weights")].T) for name in BY_RANK
        )
        self.check_ids("neighbors", neighbors)
        return neighbors, distances, weights

    def check_ids(self, name: str, values: np.ndarray) -> None:
        """Check that class and sample ids exist. Raises StoreError; other arrays pass."""
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
        """One sample's whole history, rows first: loss (R,), soft (R, C), neighbors (R, K), ...

        Predictions that a recorded loop did not log are -1, their probabilities nan. K is the
        largest of the run; ranks that an epoch did not use have neighbor -1, distance nan
        and weight 0. Raises StoreError.
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
            if name in UNKNOWN_VALUES and self.not_logged(name):
                history[name] = np.full(len(used), UNKNOWN_VALUES[name])
                continue
            rows = self._rows(name, len(used))
            if name in BY_RANK:  # ranks that no epoch used are holes, slow to read
                history[name] = np.array(rows[:, : k + (name == "weights"), index])
            else:
                history[name] = np.array(rows[:, index])
            self.check_ids(name, history[name])
        unused = np.arange(k) >= used[:, None]
        history["neighbors"][unused], history["distances"][unused] = -1, np.nan
        history["weights"][:, 1:][unused] = 0
        return history

    def checkpoints(self) -> list[int]:
        """Epochs whose checkpoint is stored, in order."""
        done = {record["epoch"] for record in self.epochs}
        files = {p.stem for p in (self.folder / "states").glob("*.pt")}
        return [epoch for epoch in sorted(done) if str(epoch) in files]

    def n_resumable(self) -> int:
        """How many epochs a resumed run keeps: those up to the newest checkpoint on disk.

        All, where more checkpoints are missing than a killed process leaves out: `load_checkpoint`
        then names those that exist.
        """
        n, stored = len(self.epochs), self.checkpoints()
        written = stored[-1] - self.info["first_epoch"] + 1 if stored else 0
        return written if n - written < self.config.checkpoint_every else n

    def load_checkpoint(self, epoch: int) -> dict[str, Any]:
        """`State.state_dict` after an epoch. Raises StoreError, which names the stored epochs."""
        stored = self.checkpoints()
        if epoch not in stored:
            raise StoreError(
                f"epoch = {epoch}: {self.folder} keeps the network of "
                f"{as_ranges(stored) or 'no epoch'} (setting state_interval)"
            )
        import torch  # late: reading anything else needs none

        path = self.folder / "states" / f"{epoch}.pt"
        try:
            schema.own_path(self.folder, f"states/{epoch}.pt")
            with zipfile.ZipFile(path) as archive:  # a small compressed file may fill the memory
                if any(member.compress_type for member in archive.infolist()):
                    raise ValueError("its parts are compressed")
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # PyTorch raises many kinds for a damaged file
            reason = str(error).partition("\n")[0]
            raise StoreError(f"{path} cannot be read: {reason}") from None
        if not isinstance(state, dict):
            raise StoreError(f"{path} cannot be read: it holds no state of a run")
        return state

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

    def _check_records(self, records: list[dict[str, Any]], start: int) -> None:
        bounds = self.info["first_epoch"], self.info["k_max"], start
        self._check(epochs_file(self.folder).name, schema.records, records, *bounds)


def open_run(folder: Path | str, *, alone: bool = False) -> RunFolder:
    """`RunFolder(folder, alone=alone)`, the same object until config.json is replaced.

    Raises StoreError.
    """
    try:
        status = os.stat(os.path.join(folder, "config.json"))
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
    except (OSError, ValueError):  # RunFolder says what is wrong
        stamp = 0, 0, 0
    return _opened(str(folder), stamp, alone)


@lru_cache(MOST_OPEN)
def _opened(folder: str, stamp: tuple[int, ...], alone: bool) -> RunFolder:
    return RunFolder(folder, alone=alone)


def read_array(
    folder: Path | str, name: str, *, mmap_mode: Literal["r"] | None = None
) -> np.ndarray:
    """An array of a run folder, whose header is checked first. Raises one of UNREADABLE."""
    path = schema.own_path(folder, name)
    with open(path, "rb") as file:
        schema.array_header(file, os.fstat(file.fileno()).st_size)
    return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)


def is_locked(folder: Path) -> bool:
    """Whether a writer holds the folder; tested with a shared lock, so readers never collide."""
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


def as_ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 5] -> "0-2, 5"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)
