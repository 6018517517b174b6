"""One run in one background thread, from its settings to its folder."""

import contextlib
import os
import statistics
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import RunConfig, validate_k
from engine.data.registry import OWN
from engine.errors import ConfigError, EngineError, StoreError, as_shortage, require_reserve
from engine.runs.folder import RunFolder
from engine.runs.forks import (
    fork_config,
    parent_checkpoint,
    require_own_loop,
    require_same_data,
    starting_labels,
)
from engine.runs.naming import run_name
from engine.runs.progress import is_done
from engine.runs.write_behind import WriteBehind
from engine.runs.writer import K_ROOM, RunWriter
from engine.training.control import Control, Stopped

if TYPE_CHECKING:
    from engine.data import Data
    from engine.training.state import State

Prepare = Callable[["Data | None", Control], "tuple[State | None, RunWriter]"]


@dataclass(frozen=True)
class RunStatus:
    """State and progress of a run. Epochs and batches count from 0; `epoch` is in progress."""

    state: str  # queued, running, paused, done, stopped or failed
    epoch: int
    n_epochs: int
    stage: str  # neighbors, training, evaluation, ...
    batch: int  # completed batches of this stage
    n_batches: int
    seconds_left: float | None  # None until an epoch is done
    message: str  # why it failed, or which change was refused, in one sentence
    error: str  # the traceback of a failure
    foreseen: bool  # an expected failure: bad input, a full disk, a diverged loss


class Runner:
    """A run that can be started, paused, stepped, changed and stopped from any thread.

    Create one by `new`, `resume` or `fork`; `start` runs it in a thread of its own, `run` in the
    calling thread. Its results are written to `folder`, epoch by epoch.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        prepare: Prepare,
        data: "Data | None",
        k_max: int | None = None,
    ):
        self.folder, self.config = Path(folder), config
        self._prepare: Prepare | None = prepare
        self._data = data
        self._control = Control()
        self._k_max = max(config.k, K_ROOM) if k_max is None else k_max
        self._state: State | None = None
        self._writer: RunWriter | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._phase = "queued"
        self._message = self._error = self._reason = ""
        self._foreseen = False
        self._epoch_seconds: list[float] = []
        self._done = 0  # completed epochs
        # live settings of epochs that a killed process left without a state: they are repeated
        self._lost: dict[int, dict[str, Any]] = {}

    @classmethod
    def new(cls, config: RunConfig, folder: Path | str, *, data: "Data | None" = None) -> "Runner":
        """A run from its first epoch.

        data: the data set of config, if it is loaded already, or one of your own (`from_arrays`),
        which is stored beside the folder and named in the settings. Raises StoreError.
        """
        folder = Path(folder)
        if data is not None and data.name.startswith("arrays:"):
            from engine.data.arrays import store

            own = dict(dataset=store(data, folder.parent), limit=None, image_size=None)
            config = config.changed(**own)

        def prepare(data: "Data | None", control: Control) -> tuple["State", RunWriter]:
            from engine.data import load_data
            from engine.training.train import prepare_state

            state = prepare_state(config, data or load_data(config), control=control)
            return state, RunWriter.create(folder, state)

        return cls(folder, config, prepare, data)

    @classmethod
    def resume(cls, folder: Path | str, *, data: "Data | None" = None) -> "Runner":
        """A run that continues after its last complete epoch, even if only its status is missing.

        Raises StoreError where the run is done.
        """
        run = RunFolder(folder)
        require_own_loop(run)
        every, n = run.epochs, run.n_resumable()
        records = every[:n]
        config = run.config.changed(**records[-1]["settings"]) if records else run.config
        complete = bool(records) and records[-1]["epoch"] + 1 >= config.epochs
        lost = {record["epoch"]: dict(record["settings"]) for record in every[n:]}
        if complete and run.status["state"] == "done":
            raise StoreError(
                f"{folder} has all its {config.epochs} epochs: fork it to continue from one of them"
            )

        def prepare(data: "Data | None", control: Control) -> tuple["State | None", RunWriter]:
            if complete:
                return None, RunWriter.resume(run.folder)
            from engine.data import load_data
            from engine.training.train import prepare_state

            data = require_same_data(run, data or load_data(config))
            if records:
                packed = run.load_checkpoint(records[-1]["epoch"])
            elif run.info["parent"]:
                packed = parent_checkpoint(run)
            else:
                packed = None
            state = prepare_state(config, data, packed, control, starting_labels(run))
            writer = RunWriter.resume(run.folder)
            if writer.n_epochs != len(records):
                writer.close()
                raise StoreError(f"{run.folder} was written by another process in the meantime")
            return state, writer

        runner = cls(run.folder, config, prepare, data, run.info["k_max"])
        runner._lost = lost
        return runner

    @classmethod
    def fork(
        cls,
        parent: Path | str,
        epoch: int,
        folder: Path | str,
        *,
        data: "Data | None" = None,
        **changes: Any,
    ) -> "Runner":
        """A new run from the state of another one after `epoch`, with changed settings.

        Raises ConfigError, and StoreError if the checkpoint of that epoch is not stored.
        """
        run = RunFolder(parent)
        config = fork_config(run, epoch, **changes)
        packed = run.load_checkpoint(epoch)

        def prepare(data: "Data | None", control: Control) -> tuple["State", RunWriter]:
            from engine.data import load_data
            from engine.training.train import prepare_state

            data = require_same_data(run, data or load_data(config))
            state = prepare_state(config, data, packed, control, starting_labels(run))
            return state, RunWriter.create(Path(folder), state, (run, epoch))

        return cls(Path(folder), config, prepare, data)

    # --- commands, from any thread

    def start(self, niceness: int = 0, courtesy: Callable[[], None] = lambda: None) -> "Runner":
        """Run in a thread of its own; the run fails if the system refuses another thread.

        niceness: added to the thread's niceness, on systems that have one per thread. courtesy:
        see `run`. Raises RuntimeError if the run was started already.
        """
        if self._thread is not None:
            raise RuntimeError(f"the run in {self.folder} was started already")

        def run() -> None:
            if niceness:
                with contextlib.suppress(AttributeError, OSError):
                    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
            self.run(courtesy)

        self._thread = threading.Thread(target=run, name=f"run {self.folder.name}", daemon=True)
        try:
            self._thread.start()
        except (RuntimeError, MemoryError) as error:
            self._fail(error)
            self._ended.set()
        return self

    def pause(self) -> None:
        """Pause after this batch."""
        self._control.pause()

    def go_on(self) -> None:
        """Continue after a pause."""
        self._control.resume()

    def step(self) -> None:
        """Continue to the end of the epoch, then pause; each further call adds one epoch."""
        self._control.step()

    def stop(self, reason: str = "") -> None:
        """End within one batch; the epoch in progress is lost, the run can be resumed.

        reason: ends the sentence "stopped after 3 of 24 epochs".
        """
        self._reason = self._reason or reason
        self._control.stop()

    def change(self, **live: Any) -> None:
        """Change live settings (config.LIVE) from the next epoch on. Raises ConfigError.

        Before the data are loaded, K is not checked against their number. A K that proves too large
        is dropped when the run starts, with a message in `status`.
        """
        config = self._state.config if self._state else self.config
        self._check_live(config.changed_live(**self._control.pending | live))
        for settings in list(self._lost.values()):  # the new value overrides the repeated one
            for name in live:
                settings.pop(name, None)
        self._control.change(**live)

    def _check_live(self, config: RunConfig) -> None:
        """Raise ConfigError where the samples or the folder have no room for K neighbors."""
        if self._state:
            validate_k(config, self._state.data.n)
        if config.k > self._k_max:
            raise ConfigError(
                f"k = {config.k}: allowed is 1 to {self._k_max} while this run trains, "
                "because its folder has no room for more"
            )

    def _drop_invalid_k(self, config: RunConfig) -> None:
        """Drop a K that was set before the number of samples was known, and is too large."""
        pending = self._control.pending
        try:
            self._check_live(config.changed_live(**pending))
        except ConfigError as error:
            self._message = f"{error}; k stays {config.k}"
            self._control.begin_epoch()
            self._control.change(**{n: v for n, v in pending.items() if n != "k"})

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread, at most timeout seconds; whether it has ended."""
        if self._thread is None:
            return self._phase not in ("queued", "running")
        return self._ended.wait(timeout)  # Ctrl-C in Thread.join would mark it as ended (gh-90882)

    @property
    def status(self) -> RunStatus:
        """State and progress of the run."""
        progress, phase = self._control.progress, self._phase
        if phase == "running" and self._control.waiting:
            phase = "paused"
        left = None
        if self._epoch_seconds:
            left = statistics.median(self._epoch_seconds[-5:]) * (self.config.epochs - self._done)
        return RunStatus(
            phase,
            progress.epoch,
            self.config.epochs,
            progress.stage,
            progress.batch,
            progress.n_batches,
            left,
            self._message,
            self._error,
            self._foreseen,
        )

    @property
    def ready(self) -> bool:
        """Whether the run folder exists."""
        return self._writer is not None

    # --- the thread

    def run(self, courtesy: Callable[[], None] = lambda: None) -> None:
        """Prepare and train to the end; never raises an Exception, `status` says how it ended.

        courtesy: called after every batch; it may sleep briefly while others need the processor.
        """
        self._phase, self._control.courtesy = "running", courtesy
        try:
            require_reserve()
            assert self._prepare is not None, "a run runs once"
            self._state, self._writer = self._prepare(self._data, self._control)
            if self._state is not None:
                self._train(self._state, self._writer)
            self._end("done", self._message)
        except Stopped:
            self._end("stopped", f"stopped {self._after} {self._reason}".rstrip())
        except Exception as error:  # any failure is shown on the page and stored in the folder
            self._fail(error)
        except BaseException:  # Ctrl-C in a notebook that runs this without a thread
            self._end("stopped", f"interrupted {self._after}")
            raise
        finally:
            self._ended.set()

    def _train(self, state: "State", writer: RunWriter) -> None:
        from engine.hardware import session
        from engine.training.train import train

        self._done, self._k_max = state.epoch + 1, writer.k_max
        self._drop_invalid_k(state.config)
        writer.write_status("running")
        self._repeat_change(self._done, state.config)
        opened = session(state.device, state.compile, deterministic=state.config.deterministic)
        with opened, WriteBehind(writer) as behind:
            for snapshot in train(self.config, state.data, state=state, control=self._control):
                waited = behind.write(snapshot, state)
                self._done = snapshot.epoch + 1
                self._epoch_seconds.append(sum(snapshot.seconds.values()) + waited)
                self._repeat_change(self._done, state.config)
                if self._control.end_epoch():
                    behind.flush()
                    writer.write_state()

    def _repeat_change(self, epoch: int, now: RunConfig) -> None:
        """Change live settings to those of this epoch when it was computed the first time."""
        then = self._lost.pop(epoch, {})
        changed = {name: value for name, value in then.items() if getattr(now, name) != value}
        if changed:
            self._control.change(**changed)

    @property
    def _after(self) -> str:
        return f"after {self._done} of {self.config.epochs} epochs"

    def _fail(self, error: Exception) -> None:
        shortage = as_shortage(error)
        self._error = "".join(traceback.format_exception(error))
        if shortage is not None:
            self._state = self._data = None
            traceback.clear_frames(error.__traceback__)  # they refer to what filled the memory
        self._foreseen = isinstance(shortage or error, EngineError)
        self._end("failed", str(shortage or error) or type(error).__name__)

    def _end(self, phase: str, message: str = "") -> None:
        self._message = message
        if self._writer is not None:
            with contextlib.suppress(StoreError):  # the previous state is on disk
                self._writer.write_state()
            self._writer.write_status(phase, message)
            self._writer.close()
        # the folder has everything: free the network and the images
        self._data = self._prepare = self._state = None
        if "torch" in sys.modules:
            from engine.hardware import release_memory

            release_memory()
        self._phase = phase


def train_run(config: RunConfig, root: Path | str, *, data: "Data | None" = None) -> RunFolder:
    """The finished run of these settings: read where it is in root, else trained or continued.

    Its folder is named by the settings, and by the contents of data of your own, so that no other
    run is read in its place. data: as of `Runner.new`. Raises StoreError with the message of the
    run where it does not finish.

    >>> train_run(configure(rate=0.4), "runs").epochs[-1]  # doctest: +SKIP
    """
    from engine.data import load_data

    if data is not None and data.name.startswith("arrays:"):
        config = config.changed(dataset=data.name, limit=None, image_size=None)
    name = run_name(config)
    if config.dataset.partition(":")[0] in OWN:
        data = data or load_data(config)
        name = f"{name}-{data.fingerprint()[:8]}"
    folder = Path(root) / name
    if is_done(folder):
        return RunFolder(folder)
    new = not (folder / "config.json").exists()
    runner = Runner.new(config, folder, data=data) if new else Runner.resume(folder, data=data)
    runner.run()
    if runner.status.state != "done":
        raise StoreError(f"the run in {folder} {runner.status.state}: {runner.status.message}")
    return RunFolder(folder)
