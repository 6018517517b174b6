"""Writes each epoch to its run folder while the next one is computed."""

import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Any

from engine.training.snapshot import Snapshot

if TYPE_CHECKING:
    from engine.runs.writer import RunWriter
    from engine.training.state import State


class WriteBehind:
    """Writes each epoch while the next one is computed, in a thread of its own.

    At most one epoch is being written: the next one waits for it, so that memory holds no more than
    one copy. Leaving the `with` block waits as well, so that no epoch is lost.
    """

    def __init__(self, writer: "RunWriter"):
        self._writer = writer
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> "WriteBehind":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def write(self, snapshot: Snapshot, state: "State") -> float:
        """Write one epoch and the state after it. Raises what writing the previous one raised.

        Returns the seconds that training waited, which the record contains as a stage.
        """
        from engine.hardware import threads

        start = time.perf_counter()
        self.flush()
        with threads(1):  # under other load, more threads would wait for each other
            packed = _copy(state.state_dict())
        waited = time.perf_counter() - start
        snapshot = dataclasses.replace(snapshot, seconds=snapshot.seconds | {"writing": waited})
        arguments = snapshot, packed
        self._thread = threading.Thread(target=self._write, args=arguments, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no memory for another thread: training waits for the disk
            self._thread = None
            self._write(snapshot, packed)
            self.flush()
        return waited

    def flush(self) -> None:
        """Wait until the epoch is on disk. Raises what writing it raised."""
        if self._thread is not None:
            self._thread.join()
        error, self._thread, self._error = self._error, None, None
        if error is not None:
            raise error

    def _write(self, snapshot: Snapshot, packed: dict[str, Any]) -> None:
        try:
            self._writer.write(snapshot, packed)
        except BaseException as error:  # raised in the thread that trains
            self._error = error


def _copy(value: Any) -> Any:
    """A copy on the CPU of all tensors within dicts and lists, which training does not change."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return [_copy(part) for part in value] if isinstance(value, list) else value
