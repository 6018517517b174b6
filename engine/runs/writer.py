"""The only writer of run folders; `engine.runs.folder` describes their files."""

import contextlib
import errno
import io
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from engine import __version__
from engine.config import RunConfig, registry
from engine.errors import StoreError
from engine.files import rows_text, write_json, write_text
from engine.runs import lineage, records
from engine.runs.folder import FORMAT, LEFT_OUT, RunFolder
from engine.runs.schema import ARRAYS, BY_RANK, OPTIONAL_ARRAYS, PARENT_COPY
from engine.training.snapshot import Snapshot

if TYPE_CHECKING:
    from engine.training.state import State

K_ROOM = 20  # a live K may grow to this; unused planes are holes that take no room on disk
Fork = tuple[RunFolder, int]  # a parent, and the epoch that the fork starts from


class RunWriter:
    """The only writer of a run folder, from its creation or resumption to `close`."""

    def __init__(self, folder: Path, info: dict[str, Any], lock: FileLock):
        self.folder, self._info, self._lock = folder, info, lock
        self.k_max: int = info["k_max"]
        self.n_epochs = 0  # on disk
        self._newest: int | None = None  # epoch of the newest state on disk
        self._unwritten: tuple[int, dict[str, Any]] | None = None  # a newer one, in memory alone

    @classmethod
    def create(
        cls,
        folder: Path,
        state: "State | Any",
        parent: Fork | None = None,
        parts: list[dict[str, str]] | None = None,
    ) -> "RunWriter":
        """A new run folder, which needs the parent of a fork no more. Raises StoreError.

        parts: of one's own, by default those that the settings name, see `parts_of`.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "already holds a run" if (folder / "config.json").exists() else "is not empty"
            raise StoreError(f"{folder} {what}: resume it, or choose another folder")
        info = _info(state, parts_of(state.config) if parts is None else parts)
        info["parent"] = parent and lineage.reference(parent[0].folder, parent[1], folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder)
        except OSError as error:
            raise _as_store_error(error, folder) from error
        try:
            (folder / "arrays").mkdir(exist_ok=True)
            (folder / "states").mkdir(exist_ok=True)
            with open(folder / "labels.npz", "wb") as file:
                np.savez(file, **_labels(state))  # type: ignore[arg-type]  # its stub forbids names
            if parent is not None:
                lineage.copy_parent(*parent, folder)
            if left_out := state.data.left_out:
                write_text(folder / LEFT_OUT, rows_text([("file", "reason"), *left_out]))
            write_text(folder / "epochs.jsonl", "")
            write_json(folder / "config.json", info)
        except BaseException as error:
            _empty(folder)  # without config.json it is no run: nothing could resume it
            lock.release()
            if isinstance(error, OSError):
                raise _as_store_error(error, folder) from error
            raise
        return cls(folder, info, lock)

    @classmethod
    def resume(cls, folder: Path) -> "RunWriter":
        """Continue a run folder that no process writes, and remove leftovers of a crash.

        Epochs after the newest checkpoint are removed, see `RunFolder.n_resumable`; a folder of an
        older format is converted. Raises StoreError.
        """
        run = RunFolder(folder)
        writer = cls(run.folder, run.info, _lock(run.folder))
        try:
            writer._continue(run)
            writer._remove_leftovers(run.checkpoints())
        except BaseException as error:
            writer.close()
            if isinstance(error, OSError):
                raise _as_store_error(error, run.folder) from error
            raise
        return writer

    def write(self, snapshot: Snapshot, packed: dict[str, Any] | None) -> None:
        """Write one epoch; it becomes visible as the last step. Raises StoreError.

        packed: `State.state_dict` after the epoch, None where there is none. It is written every
        checkpoint_every epochs and kept for `write_state` until then, so it must not change.
        """
        due = packed is not None and self._is_due(snapshot.epoch)
        try:
            row = self.n_epochs
            for name in (*ARRAYS, *OPTIONAL_ARRAYS):
                if (values := getattr(snapshot, name)) is not None:
                    self._write_row(name, row, values)
            if packed is not None and due:
                torch_save(packed, self._state_file(snapshot.epoch))
            record = {
                "epoch": snapshot.epoch,
                "phase": snapshot.phase,
                "n_neighbors": snapshot.neighbors.shape[1],
                "settings": snapshot.settings,
                "metrics": snapshot.metrics,
                "mixture": snapshot.mixture,
                "seconds": snapshot.seconds,
            }
            records.append(self.folder / "epochs.jsonl", record)
        except OSError as error:
            self._drop_state(snapshot.epoch)
            raise _as_store_error(error, self.folder) from error
        self.n_epochs += 1
        self._unwritten = None if packed is None else (snapshot.epoch, packed)
        if due:
            self._replace_newest(snapshot.epoch)

    def set_epochs(self, epochs: int) -> RunConfig:
        """Set the number of epochs of a run whose end was not known; returns its settings."""
        config = RunConfig(**self._info["config"]).changed(epochs=epochs)
        self._info = self._info | {"config": config.model_dump(mode="json")}
        try:
            write_json(self.folder / "config.json", self._info)
        except OSError as error:
            raise _as_store_error(error, self.folder) from error
        return config

    def write_state(self) -> None:
        """Write the state after the newest epoch, unless it is on disk. Raises StoreError."""
        if self._unwritten is None:
            return
        epoch, packed = self._unwritten
        try:
            torch_save(packed, self._state_file(epoch))
        except OSError as error:
            raise _as_store_error(error, self.folder) from error
        self._replace_newest(epoch)

    def _replace_newest(self, epoch: int) -> None:
        """The newest state is on disk: remove the one before, and a parent's."""
        before, self._newest, self._unwritten = self._newest, epoch, None
        if before is not None and before != epoch and not self._is_kept(before):
            self._drop_state(before)
        if self._info["parent"] is not None:
            lineage.drop_checkpoint(self.folder, self._info["parent"]["epoch"])

    def write_status(self, state: str, message: str = "") -> None:
        """Write status.json; on a full disk the previous one stays."""
        status = {"state": state, "message": message, "time": time.time()}
        with contextlib.suppress(OSError):
            write_json(self.folder / "status.json", status)

    def close(self) -> None:
        """Release the folder's lock."""
        self._lock.release()

    def _state_file(self, epoch: int) -> Path:
        return self.folder / "states" / f"{epoch}.pt"

    def _is_due(self, epoch: int) -> bool:
        config = self._info["config"]
        last, every = epoch + 1 == config["epochs"], config.get("checkpoint_every", 1)
        return last or (epoch + 1) % every == 0 or self._is_kept(epoch)

    def _is_kept(self, epoch: int) -> bool:
        return epoch % self._info["config"]["state_interval"] == 0

    def _drop_state(self, epoch: int) -> None:
        """Remove a checkpoint; one that cannot be removed only takes room."""
        with contextlib.suppress(OSError):
            self._state_file(epoch).unlink(missing_ok=True)

    def _continue(self, run: RunFolder) -> None:
        """Rewrite the records if a line is torn, a state is missing or the format is older."""
        self.n_epochs = run.n_resumable()
        self._newest = max(run.checkpoints(), default=None)
        path, old = self.folder / "epochs.jsonl", self.folder / "epochs.json"
        text = records.lines(run.epochs[: self.n_epochs])
        if not path.exists() or path.stat().st_size != len(text.encode()):
            write_text(path, text)  # replaced whole: readers never see half of it
        if self._info["format"] != FORMAT:
            self._info = self._info | {"format": FORMAT}
            write_json(self.folder / "config.json", self._info)
        old.unlink(missing_ok=True)

    def _remove_leftovers(self, states: list[int]) -> None:
        for part in (self.folder, self.folder / "arrays", self.folder / "states"):
            for temporary in part.glob("*.tmp"):
                with contextlib.suppress(OSError):
                    temporary.unlink()
        for epoch in states[:-1]:  # killed between a record and the removal of the state before
            if not self._is_kept(epoch):
                self._drop_state(epoch)

    def _write_row(self, name: str, row: int, values: np.ndarray) -> None:
        path = self.folder / "arrays" / f"{name}.npy"
        kind = values.dtype if name == "soft" else np.dtype((ARRAYS | OPTIONAL_ARRAYS)[name][0])
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
            (rows, *_), _, _ = np.lib.format.read_array_header_1_0(file)
            if row >= rows:  # of a run whose number of epochs was not known, see set_epochs
                _write_header(file, kind, (2 * row, *shape))
            file.seek(row * int(np.prod(shape)) * kind.itemsize, os.SEEK_CUR)
            with np.errstate(over="ignore"):  # features beyond float16 become inf
                file.write(np.ascontiguousarray(values, dtype=kind).tobytes())


def torch_save(value: dict[str, Any], path: Path) -> None:
    """Replace a file of tensors whole. Raises OSError."""
    import torch

    buffer = io.BytesIO()  # torch.save to a file would hide the system's error of a full disk
    torch.save(value, buffer)
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(buffer.getbuffer())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _info(state: "State", parts: list[dict[str, str]]) -> dict[str, Any]:
    """The content of config.json but for the parent."""
    from engine.hardware import hardware_info

    data, labels = state.data, state.noisy_labels
    return {
        "format": FORMAT,
        "config": state.config.model_dump(mode="json"),
        "method": state.config.method,
        "parts": parts,
        "network": state.network,
        "precision": state.precision,
        "compile": state.compile,
        "device": str(state.device),
        "threads": state.threads,
        "first_epoch": state.epoch + 1,
        "k_max": min(max(state.config.k, K_ROOM), data.n - 1),
        "parent": None,
        "rate_requested": labels.rate_requested,
        "rate_actual": labels.rate_actual,
        "data": {
            "n": data.n,
            "n_test": len(data.test_labels),
            "shape": list(data.shape),
            "classes": list(data.classes),
            "notes": list(data.notes),
            "fingerprint": data.fingerprint(),
            "has_validation": data.val_images is not None,
            "mean": state.mean.tolist(),
            "std": state.std.tolist(),
        },
        "machine": hardware_info(state.device),
        "version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def parts_of(config: RunConfig) -> list[dict[str, str]]:
    """The parts of one's own that settings name: setting, kind, name, hash and source text."""
    return [
        {"setting": setting, "kind": p.kind, "name": p.name, "hash": p.digest, "source": p.source}
        for setting, p in registry.used(config.model_dump())
    ]


def _labels(state: "State") -> dict[str, np.ndarray]:
    """The arrays of labels.npz."""
    data, labels = state.data, state.noisy_labels
    arrays = {"given": labels.given, "matrix": labels.matrix, "panel": labels.panel}
    if labels.true is not None and labels.matrix_actual is not None:
        arrays |= {"true": labels.true, "matrix_actual": labels.matrix_actual}
    if data.ids is not None:
        arrays["ids"] = np.array(data.ids)
    return arrays


def _create_array(path: Path, kind: np.dtype, shape: tuple[int, ...]) -> None:
    """A .npy file of full size whose content is a hole, visible once its header is complete."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        _write_header(file, kind, shape)
    os.replace(temporary, path)


def _write_header(file: IO[bytes], kind: np.dtype, shape: tuple[int, ...]) -> None:
    """Write the header of a .npy file, or one with more rows over it, after making room for them.

    The file ends at its content, whose missing part is a hole. NumPy leaves room in a header for
    more rows, so that its length stays the same.
    """
    header = io.BytesIO()
    fields = {"descr": kind.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    file.truncate(header.tell() + int(np.prod(shape)) * kind.itemsize)
    file.seek(0)
    file.write(header.getvalue())


def _empty(folder: Path) -> None:
    """Remove what `create` has begun."""
    for part in ("arrays", "states", PARENT_COPY):
        shutil.rmtree(folder / part, ignore_errors=True)
    for name in ("labels.npz", "epochs.jsonl", "config.json", "lock"):
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)


def _lock(folder: Path) -> FileLock:
    lock = FileLock(folder / "lock", thread_local=False)
    try:
        lock.acquire(timeout=2)
    except Timeout:
        raise StoreError(f"{folder} is being written by a run in progress") from None
    return lock


def _as_store_error(error: OSError, folder: Path) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(folder if folder.exists() else folder.parent).free
        return StoreError(
            f"the disk is full ({free / 1e6:.0f} MB free) while writing {folder}: all epochs "
            "before this one are safe; free some space, then resume"
        )
    return StoreError(f"{folder} cannot be written: {error}")
