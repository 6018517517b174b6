"""Commands to a training run and its progress: the only state that two threads share."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Stopped(Exception):
    """Raised inside a training run that was commanded to stop; not a failure."""


@dataclass(frozen=True)
class Progress:
    """The position of a run; replaced, never mutated."""

    epoch: int = 0  # the epoch that runs, from 0
    stage: str = "start"
    batch: int = 0  # batches done in this stage
    n_batches: int = 0


class Control:
    """Commands go in from any thread; the training thread checks them after every batch."""

    def __init__(self, *, paused: bool = False):
        self._condition = threading.Condition()
        self._paused = paused
        self._steps = 0  # epochs to go until the next pause; 0: no pause is due
        self._stopped = False
        self._changes: dict[str, Any] = {}
        self.progress = Progress()
        self.seconds_waited = 0.0  # in pauses
        self.waiting = False  # the training thread is waiting in a pause
        self.courtesy: Callable[[], None] = lambda: None  # called after every batch; may wait

    # --- commands, from any thread

    def change(self, **live: Any) -> None:
        """Set LIVE settings to new values, from the next epoch that starts."""
        with self._condition:
            self._changes |= live

    def pause(self) -> None:
        """Pause after this batch."""
        with self._condition:
            self._paused, self._steps = True, 0

    def resume(self) -> None:
        """Continue after a pause."""
        with self._condition:
            self._paused, self._steps = False, 0
            self._condition.notify_all()

    def step(self) -> None:
        """Continue to the end of the epoch, then pause; each further call adds one epoch."""
        with self._condition:
            self._paused, self._steps = False, self._steps + 1
            self._condition.notify_all()

    def stop(self) -> None:
        """End the run after this batch; the epoch under way is lost."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    @property
    def pending(self) -> dict[str, Any]:
        """Changes that no epoch has applied yet."""
        with self._condition:
            return dict(self._changes)

    # --- the training thread

    def begin_epoch(self) -> dict[str, Any]:
        """The changes to apply in the epoch that begins; they are no longer pending."""
        with self._condition:
            changes, self._changes = self._changes, {}
            return changes

    def report_progress(self, epoch: int, stage: str, batch: int, n_batches: int) -> None:
        """Publish the progress of the run; wait while it is paused. Raises Stopped."""
        self.progress = Progress(epoch, stage, batch, n_batches)
        self.courtesy()
        self.wait()

    def end_epoch(self) -> bool:
        """Count a step. Returns whether a pause begins, before which the epoch must be stored."""
        with self._condition:
            if self._steps:
                self._steps -= 1
                self._paused = self._steps == 0
            return self._paused

    def wait(self) -> None:
        """Wait while paused. Raises Stopped."""
        with self._condition:
            start = time.perf_counter()
            while self._paused and not self._stopped:
                self.waiting = True
                self._condition.wait()
            if self.waiting:
                self.seconds_waited += time.perf_counter() - start
            self.waiting = False
            if self._stopped:
                raise Stopped


class Stopwatch:
    """Seconds spent in each stage of an epoch, without pauses, including queued GPU work."""

    def __init__(self, device: "torch.device", control: Control):
        self.spent: dict[str, float] = {}
        self._device, self._control = device, control

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Measure the block inside as this stage."""
        start = time.perf_counter() - self._control.seconds_waited
        yield
        if self._device.type == "cuda":
            import torch  # late: controlling a run needs no torch

            torch.cuda.synchronize(self._device)
        self.spent[stage] = time.perf_counter() - self._control.seconds_waited - start
