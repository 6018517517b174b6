"""The one writer of a run folder; `engine.runs.folder` says what stands in it."""

import contextlib
import dataclasses
import errno
import io
import os
import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from engine import __version__
from engine.errors import StoreError
from engine.noise.class_dependent import observed_matrix
from engine.runs import lineage, records
from engine.runs.folder import ARRAYS, BY_RANK, FORMAT, RunFolder, write_json, write_text
from engine.training.snapshot import Snapshot

if TYPE_CHECKING:
    from engine.training.state import State

K_ROOM = 20  # a live K may grow to this; unused planes are holes that take no room on disk


class RunWriter:
    """The one writer of a run folder, from its creation or resumption to `close`."""

    def __init__(self, folder: Path, info: dict[str, Any], lock: FileLock):
        self.folder, self._info, self._lock = folder, info, lock
        self.k_max: int = info["k_max"]
        self.n_epochs = 0  # that are on disk
        self._newest: int | None = None  # epoch of the newest state on disk
        self._unwritten: tuple[int, dict[str, Any]] | None = None  # a newer one, in memory alone

    @classmethod
    def create(cls, folder: Path, state: "State", parent: tuple[RunFolder, int] | None = None):
        """A new run folder. parent: of a fork, and the epoch it is forked from; what the fork needs
        of it is put into the folder, see engine/runs/lineage.py. Raises StoreError.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "already holds a run" if (folder / "config.json").exists() else "is not empty"
            raise StoreError(f"{folder} {what}: resume it, or choose another folder")
        from engine.hardware import hardware_info

        data, problem = state.data, state.noisy_labels
        info = {
            "format": FORMAT,
            "config": state.config.model_dump(mode="json"),
            "method": state.config.method,
            "network": state.network,
            "precision": state.precision,
            "compile": state.compile,
            "device": str(state.device),
            "threads": state.threads,
            "first_epoch": state.epoch + 1,
            "k_max": min(max(state.config.k, K_ROOM), data.n - 1),
            "parent": parent and {"run": str(parent[0].folder.resolve()), "epoch": parent[1]},
            "rate_requested": problem.rate_requested,
            "rate_actual": problem.rate_actual,
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
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder)
        except OSError as error:
            raise _as_store_error(error, folder) from error
        try:
            (folder / "arrays").mkdir(exist_ok=True)
            (folder / "states").mkdir(exist_ok=True)
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
            if parent is not None:
                lineage.carry(*parent, folder)
            write_text(folder / "epochs.jsonl", "")
            write_json(folder / "config.json", info)
        except BaseException as error:
            _empty(folder)  # without config.json it is no run: nobody could go on with it
            lock.release()
            if isinstance(error, OSError):
                raise _as_store_error(error, folder) from error
            raise
        return cls(folder, info, lock)

    @classmethod
    def resume(cls, folder: Path):
        """Take up a run folder that nobody writes, and remove what a crash left beside its files.

        Epochs after the newest state are removed, see `RunFolder.n_resumable`; a folder of an older
        format gets today's. Raises StoreError.
        """
        run = RunFolder(folder)
        writer = cls(run.folder, run.info, _lock(run.folder))
        try:
            writer._take_up(run)
            writer._tidy(run.checkpoints())
        except BaseException as error:
            writer.close()
            if isinstance(error, OSError):
                raise _as_store_error(error, run.folder) from error
            raise
        return writer

    def write(self, snapshot: Snapshot, packed: dict[str, Any]) -> None:
        """Put one epoch on disk; it becomes visible as the last step. Raises StoreError.

        packed: what `State.state_dict` says after it; on disk after every checkpoint_every epochs,
        and until then kept for `write_state`, so it must not change.
        """
        due = self._is_due(snapshot.epoch)
        try:
            row = self.n_epochs
            for name in ARRAYS:
                self._write_row(name, row, getattr(snapshot, name))
            if due:
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
        self._unwritten = snapshot.epoch, packed
        if due:
            self._note_state()

    def write_state(self) -> None:
        """Put the state after the newest epoch on disk, if it is not there. Raises StoreError."""
        if self._unwritten is None:
            return
        epoch, packed = self._unwritten
        try:
            torch_save(packed, self._state_file(epoch))
        except OSError as error:
            raise _as_store_error(error, self.folder) from error
        self._note_state()

    def _note_state(self) -> None:
        """The newest state is on disk: the one before is not needed, nor a parent's."""
        before, self._newest, self._unwritten = self._newest, self._unwritten[0], None
        if before not in (None, self._newest) and not self._is_kept(before):
            self._drop_state(before)
        if self._info["parent"] is not None:
            lineage.drop_state(self.folder, self._info["parent"]["epoch"])

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

    def _is_due(self, epoch: int) -> bool:
        config = self._info["config"]
        last, every = epoch + 1 == config["epochs"], config.get("checkpoint_every", 1)
        return last or (epoch + 1) % every == 0 or self._is_kept(epoch)

    def _is_kept(self, epoch: int) -> bool:
        return epoch % self._info["config"]["state_interval"] == 0

    def _drop_state(self, epoch: int) -> None:
        """Remove a state; one that cannot be removed takes room, and does no harm."""
        with contextlib.suppress(OSError):
            self._state_file(epoch).unlink(missing_ok=True)

    def _take_up(self, run: RunFolder) -> None:
        """Write the records anew where a line is torn, a state is missing, the format is older."""
        self.n_epochs = run.n_resumable()
        self._newest = max(run.checkpoints(), default=None)
        path, old = self.folder / "epochs.jsonl", self.folder / "epochs.json"
        text = records.lines(run.epochs[: self.n_epochs])
        if not path.exists() or path.stat().st_size != len(text.encode()):
            write_text(path, text)  # replaced whole: who reads it now does not see it half
        if self._info["format"] != FORMAT:
            self._info = self._info | {"format": FORMAT}
            write_json(self.folder / "config.json", self._info)
        old.unlink(missing_ok=True)

    def _tidy(self, states: list[int]) -> None:
        for part in (self.folder, self.folder / "arrays", self.folder / "states"):
            for beside in part.glob("*.tmp"):
                with contextlib.suppress(OSError):
                    beside.unlink()
        for epoch in states[:-1]:  # killed between a record and the removal of the state before
            if not self._is_kept(epoch):
                self._drop_state(epoch)

    def _write_row(self, name: str, row: int, values: np.ndarray) -> None:
        path = self.folder / "arrays" / f"{name}.npy"
        kind = values.dtype if name == "soft" else np.dtype(ARRAYS[name][0])
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


class WriteBehind:
    """Writes each epoch while the next one is computed, in a thread of its own.

    One epoch is on its way at most: the next one handed over waits for it, so that memory holds no
    more than one copy. Leaving the `with` block waits as well, so that nothing handed over is lost.
    """

    def __init__(self, writer: RunWriter):
        self._writer = writer
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> "WriteBehind":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def write(self, snapshot: Snapshot, state: "State") -> float:
        """Hand over one epoch and the state after it. Raises what writing the one before raised.

        Returns the seconds that training waited meanwhile, which the record has as a stage.
        """
        from engine.hardware import threads

        start = time.perf_counter()
        self.flush()
        with threads(1):  # next to another load, more would wait for each other
            packed = _copied(state.state_dict())
        waited = time.perf_counter() - start
        snapshot = dataclasses.replace(snapshot, seconds=snapshot.seconds | {"writing": waited})
        arguments = snapshot, packed
        self._thread = threading.Thread(target=self._write, args=arguments, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no memory for one more thread: training waits for the disk
            self._thread = None
            self._write(snapshot, packed)
            self.flush()
        return waited

    def flush(self) -> None:
        """Wait until what was handed over is on disk. Raises what writing it raised."""
        if self._thread is not None:
            self._thread.join()
        error, self._thread, self._error = self._error, None, None
        if error is not None:
            raise error

    def _write(self, snapshot: Snapshot, packed: dict[str, Any]) -> None:
        try:
            self._writer.write(snapshot, packed)
        except BaseException as error:  # for the thread that hands over
            self._error = error


def torch_save(value: dict[str, Any], path: Path) -> None:
    """Replace a file of tensors whole."""
    import torch

    buffer = io.BytesIO()  # torch would hide the system's word of a full disk behind its own
    torch.save(value, buffer)
    beside = path.with_suffix(".tmp")
    try:
        beside.write_bytes(buffer.getbuffer())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _copied(value: Any) -> Any:
    """Its tensors, within dicts and lists, as copies in memory that training does not change."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _create_array(path: Path, kind: np.dtype, shape: tuple[int, ...]) -> None:
    """A .npy file of full size whose content is a hole, visible once its header is right."""
    beside = path.with_suffix(".tmp")
    with open(beside, "wb") as file:
        header = {"descr": kind.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape)) * kind.itemsize)
    os.replace(beside, path)


def _empty(folder: Path) -> None:
    """Remove what `create` has begun, but for the lock that it holds."""
    for part in ("arrays", "states", lineage.CARRIED):
        shutil.rmtree(folder / part, ignore_errors=True)
    for name in ("labels.npz", "epochs.jsonl", "config.json", "lock"):
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)


def _lock(folder: Path) -> FileLock:
    lock = FileLock(folder / "lock", thread_local=False)
    try:
        lock.acquire(timeout=2)
    except Timeout:
        raise StoreError(f"{folder} is being written by a run that is under way") from None
    return lock


def _as_store_error(error: OSError, folder: Path) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(folder if folder.exists() else folder.parent).free
        return StoreError(
            f"the disk is full ({free / 1e6:.0f} MB free) while writing {folder}: all epochs "
            "before this one are safe; free some room, then resume"
        )
    return StoreError(f"{folder} cannot be written: {error}")
