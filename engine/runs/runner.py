"""One run in one background thread, from its settings to its folder; knows nothing of pages."""

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

from engine.config import RunConfig
from engine.errors import ConfigError, EngineError, StoreError
from engine.memory import as_shortage, require_reserve
from engine.runs import lineage
from engine.runs.folder import RunFolder, fork_config
from engine.runs.writer import K_ROOM, RunWriter, WriteBehind
from engine.training.control import Control, Stopped

if TYPE_CHECKING:
    from engine.data import Data
    from engine.training.state import State


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands. Epochs and batches count from 0; `epoch` is the one under way."""

    state: str  # queued, running, paused, done, stopped or failed
    epoch: int
    n_epochs: int
    stage: str  # neighbors, training, evaluation, ...
    batch: int  # batches done of this stage
    n_batches: int
    seconds_left: float | None  # None until an epoch is done
    message: str  # why it failed, or what change was refused, in one sentence
    error: str  # the whole traceback of a failure
    foreseen: bool  # a failure whose message says all: bad input, a full disk, a lost loss


class Runner:
    """A run that can be started, paused, stepped, changed and stopped from any thread.

    Make one by `new`, `resume` or `fork`; `start` puts it in a thread of its own, `run` stays in
    the calling one. What it computes stands in `folder`, epoch by epoch.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        prepare: Callable[["Data | None", Control], tuple["State | None", RunWriter]],
        data: "Data | None",
        k_max: int | None = None,
    ):
        self.folder, self.config = Path(folder), config
        self._prepare, self._data = prepare, data
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
        self._done = 0  # epochs that are behind the run
        # live settings of epochs that a killed process left without a state: they are made again
        self._lost: dict[int, dict[str, Any]] = {}

    @classmethod
    def new(cls, config: RunConfig, folder: Path | str, *, data: "Data | None" = None) -> "Runner":
        """A run from its first epoch. data: config's data set where it is loaded already."""
        folder = Path(folder)

        def prepare(data: "Data | None", control: Control) -> tuple["State", RunWriter]:
            from engine.training.state import State, load_data

            state = State(config, data or load_data(config), control=control)
            return state, RunWriter.create(folder, state)

        return cls(folder, config, prepare, data)

    @classmethod
    def resume(cls, folder: Path | str, *, data: "Data | None" = None) -> "Runner":
        """A run that goes on after its last whole epoch, also where "done" is all that it lacks.

        Raises StoreError where the run is done.
        """
        run = RunFolder(folder)
        every, n = run.epochs, run.n_resumable()
        records = every[:n]
        config = run.config.changed(**records[-1]["settings"]) if records else run.config
        complete = bool(records) and records[-1]["epoch"] + 1 >= config.epochs
        lost = {record["epoch"]: dict(record["settings"]) for record in every[n:]}
        if complete and run.status["state"] == "done":
            raise StoreError(
                f"{folder} has all its {config.epochs} epochs: fork it to go on from one of them"
            )

        def prepare(data: "Data | None", control: Control) -> tuple["State | None", RunWriter]:
            if complete:
                return None, RunWriter.resume(run.folder)
            from engine.training.state import State, load_data

            data = _same_data(run, data or load_data(config))
            if records:
                packed = run.load_checkpoint(records[-1]["epoch"])
            elif run.info["parent"]:
                packed = _parents_state(run)
            else:
                packed = None
            state = State(config, data, packed, control, _labels(run))
            writer = RunWriter.resume(run.folder)
            if writer.n_epochs != len(records):
                writer.close()
                raise StoreError(f"{run.folder} was written by another process meanwhile")
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
        **knobs: Any,
    ) -> "Runner":
        """A new run from the state of another one after `epoch`, with other knobs.

        Raises ConfigError, and StoreError where that epoch's network is not kept.
        """
        run = RunFolder(parent)
        config = fork_config(run, epoch, **knobs)
        packed = run.load_checkpoint(epoch)

        def prepare(data: "Data | None", control: Control) -> tuple["State", RunWriter]:
            from engine.training.state import State, load_data

            data = _same_data(run, data or load_data(config))
            state = State(config, data, packed, control, _labels(run))
            return state, RunWriter.create(Path(folder), state, (run, epoch))

        return cls(Path(folder), config, prepare, data)

    # --- commands, from any thread

    def start(self, niceness: int = 0, courtesy: Callable[[], None] = lambda: None) -> "Runner":
        """Run in a thread of its own; one that the system refuses fails the run.

        niceness: how much later than the process's other threads it is served, where the system
        knows that of threads. courtesy: see `run`.
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
        """Stand still after this batch."""
        self._control.pause()

    def go_on(self) -> None:
        """Go on after a pause."""
        self._control.resume()

    def step(self) -> None:
        """Go on to the end of an epoch, then pause; called again before that, one epoch more."""
        self._control.step()

    def stop(self, reason: str = "") -> None:
        """End within one batch; the epoch under way is lost, the run can be resumed.

        reason: ends the sentence "stopped after 3 of 24 epochs".
        """
        self._reason = self._reason or reason
        self._control.stop()

    def change(self, **live: Any) -> None:
        """Change live settings (config.LIVE) from the next epoch on. Raises ConfigError.

        Before the run has its data, K is not checked against their number. A K that turns out to
        be too large is left out when the run starts, and `status` says so.
        """
        config = self._state.config if self._state else self.config
        self._check_live(config.changed_live(**self._control.pending | live))
        for settings in list(self._lost.values()):  # what is changed now counts, not what was then
            for name in live:
                settings.pop(name, None)
        self._control.change(**live)

    def _check_live(self, config: RunConfig) -> None:
        """Raise ConfigError where the samples or the folder have no room for K neighbors."""
        if self._state:
            from engine.training.state import validate_k

            validate_k(config, self._state.data.n)
        if config.k > self._k_max:
            raise ConfigError(
                f"k = {config.k}: allowed is 1 to {self._k_max} while this run trains, "
                "which is the room in its folder"
            )

    def _drop_k_without_room(self) -> None:
        """Leave out a K that was changed before the number of samples was known."""
        pending = self._control.pending
        try:
            self._check_live(self._state.config.changed_live(**pending))
        except ConfigError as error:
            self._message = f"{error}; k stays {self._state.config.k}"
            self._control.begin_epoch()
            self._control.change(**{n: v for n, v in pending.items() if n != "k"})

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread; whether it has ended."""
        if self._thread is None:
            return self._phase not in ("queued", "running")
        return self._ended.wait(timeout)  # Ctrl-C in Thread.join would mark it as ended (gh-90882)

    @property
    def status(self) -> RunStatus:
        """Where the run stands now."""
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
        """Whether the run folder is there."""
        return self._writer is not None

    # --- the thread

    def run(self, courtesy: Callable[[], None] = lambda: None) -> None:
        """Prepare and train to the end; never raises, `status` says how it ended.

        courtesy: called after every batch; it may wait a moment while others need the processor.
        """
        self._phase, self._control.courtesy = "running", courtesy
        try:
            require_reserve()
            self._state, self._writer = self._prepare(self._data, self._control)
            if self._state is not None:
                self._train()
            self._end("done", self._message)
        except Stopped:
            self._end("stopped", f"stopped {self._after} {self._reason}".rstrip())
        except Exception as error:  # whatever it was, it belongs on the page and in the folder
            self._fail(error)
        except BaseException:  # Ctrl-C in a notebook that runs this without a thread
            self._end("stopped", f"interrupted {self._after}")
            raise
        finally:
            self._ended.set()

    def _train(self) -> None:
        from engine.hardware import session
        from engine.training.train import train

        self._done, self._k_max = self._state.epoch + 1, self._writer.k_max
        self._drop_k_without_room()
        self._writer.write_status("running")
        self._repeat_change(self._done)
        state = self._state
        with session(state.device, state.compile), WriteBehind(self._writer) as behind:
            for snapshot in train(
                self.config, self._state.data, state=self._state, control=self._control
            ):
                waited = behind.write(snapshot, self._state)
                self._done = snapshot.epoch + 1
                self._epoch_seconds.append(sum(snapshot.seconds.values()) + waited)
                self._repeat_change(self._done)
                if self._control.end_epoch():
                    behind.flush()
                    self._writer.write_state()

    def _repeat_change(self, epoch: int) -> None:
        """Change live settings as they were in this epoch when it was computed the first time."""
        now = self._state.config
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
            traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
        self._foreseen = isinstance(shortage or error, EngineError)
        self._end("failed", str(shortage or error) or type(error).__name__)

    def _end(self, phase: str, message: str = "") -> None:
        self._message = message
        if self._writer is not None:
            with contextlib.suppress(StoreError):  # the state before is there
                self._writer.write_state()
            self._writer.write_status(phase, message)
            self._writer.close()
        # the folder holds all that anyone still needs: let go of network and images
        self._data = self._prepare = self._state = None
        if "torch" in sys.modules:
            from engine.hardware import release_memory

            release_memory()
        self._phase = phase


def _labels(run: RunFolder) -> dict[str, Any]:
    """The labels that a run started with, for another one to take over. Raises StoreError."""
    return {
        "config": run.config.model_dump_json(),
        "given": run.labels["given"],
        "matrix": run.labels["matrix"],
        "rate_requested": run.info["rate_requested"],
    }


def _parents_state(fork: RunFolder) -> dict[str, Any]:
    """The checkpoint that a fork began from. Raises StoreError where its parent is gone."""
    epoch = fork.info["parent"]["epoch"]
    for folder in lineage.places(fork):
        with contextlib.suppress(StoreError):
            return RunFolder(folder).load_checkpoint(epoch)
    raise StoreError(
        f"{fork.folder} has no epoch yet, and the run that it was forked from, "
        f"{fork.info['parent']['run']}, is gone or keeps no network of epoch {epoch}"
    )


def _same_data(run: RunFolder, data: "Data") -> "Data":
    """data, if it is what the run was made with. Raises StoreError."""
    then, now = run.info["data"]["fingerprint"], data.fingerprint()
    if then != now:
        raise StoreError(
            f"{run.config.dataset} has changed since {run.folder} was made "
            f"(fingerprint {then}, now {now}): a run goes on with the same data only"
        )
    return data
