"""A fixed number of seconds on one machine: items in order of worth, each within its own limit.

All in one process, with the data on the device. An item that fails or runs out of time stops no
other. Results are written after every item and at the end, every epoch as it ends, so that whatever
stops the process leaves what was measured.
"""

import json
import math
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.data import Data
from engine.files import write_json

FULL = 500.0  # seconds of a session for which those of its items are written
RESERVE = 2.0  # seconds at its end, for writing
LEAST_SHARE = 0.3  # of an item's seconds that must be left, or it is not started
REST = FULL / 10  # seconds that an item without a limit of its own counts as
RING_AGAIN = 5.0  # seconds after which a limit interrupts again what went on


class OutOfTime(BaseException):
    """The limit of an item is reached. No Exception: libraries must not handle it."""


class Terminated(BaseException):
    """The process was asked to end, by SIGTERM or Ctrl-C."""


@dataclass(eq=False)
class Session:
    """What the items of a session share."""

    data: Data  # on its device
    device: torch.device
    settings: Mapping[str, Any]  # of the command line, over those of each item
    curves: Path  # JSON lines, one per epoch
    item: str = ""  # under way
    goal: float = 0.0  # when it should have ended, by time.monotonic
    ways: dict[str, dict[str, Any]] = field(default_factory=dict)  # network -> fastest settings

    def left(self) -> float:
        """Seconds that the item under way still has, without what it may overrun."""
        return self.goal - time.monotonic()

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """Append an epoch of the item under way to the curves, at once and whole."""
        line = json.dumps(_finite({"item": self.item, **row}), allow_nan=False) + "\n"
        with open(self.curves, "ab", buffering=0) as file:
            file.write(line.encode())


@dataclass(frozen=True)
class Item:
    """One measurement, and the seconds that it is worth in a session of FULL seconds."""

    name: str
    seconds: float  # infinity: all that are left
    measure: Callable[[Session, dict[str, Any]], None]  # fills its results while it measures
    overrun: float = 1.0  # times its seconds, after which it is interrupted


def run_session(
    items: Sequence[Item],
    session: Session,
    seconds: float,
    path: Path,
    about: Mapping[str, Any],
    start: float,
) -> bool:
    """Measure the items one after the other, and write the results to path.

    seconds: of the whole session, from start (by time.monotonic) on. about: what else is written.
    The state of an item is "waiting", "running", "done", "failed", "out of time", "skipped" (too
    little time was left) or "terminated". Returns whether the session ran to its end; SIGTERM and
    Ctrl-C end it, whatever goes on. Raises OSError where nothing can be written.
    """
    results: dict[str, dict[str, Any]] = {item.name: {"state": "waiting"} for item in items}

    def write(state: str) -> None:
        spent = round(time.monotonic() - start, 2)
        summary = {**about, "state": state, "seconds": spent, "items": results}
        write_json(path, _finite(summary), indent=1)

    end, scale = start + seconds - RESERVE, seconds / FULL
    try:
        with _terminable():
            for item in items:
                write("running")
                _measure(item, session, results[item.name], end, scale)
    except Terminated:
        write("terminated")
        return False
    write("done")
    return True


def _measure(
    item: Item, session: Session, result: dict[str, Any], end: float, scale: float
) -> None:
    begun, wanted = time.monotonic(), item.seconds * scale
    left = end - begun
    worth = min(wanted, FULL * scale) if math.isfinite(wanted) else REST * scale
    if left < LEAST_SHARE * worth:
        result["state"] = "skipped"
        return
    result["state"] = "running"
    session.item, session.goal = item.name, begun + min(wanted, left)
    try:
        with _limited(min(wanted * item.overrun, left)):
            item.measure(session, result)
        result["state"] = "done"
    except OutOfTime:
        result["state"] = "out of time"
    except Terminated:
        result["state"] = "terminated"
        raise
    except Exception as error:  # whatever it is, the other items go on
        result |= {"state": "failed", "error": f"{type(error).__name__}: {error}"[:2000]}
        traceback.print_exc(file=sys.stderr)
    finally:
        result["seconds"] = round(time.monotonic() - begun, 2)
        print(f"{item.name}: {result['state']}, {result['seconds']:.1f} s", flush=True)
        if session.device.type == "cuda":
            torch.cuda.empty_cache()


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block after so many seconds, and again if something handles it."""

    def ring(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), RING_AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and Ctrl-C raise Terminated in the block, once: later ones are ignored."""

    def end(*_: Any) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise Terminated

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _finite(value: Any) -> Any:
    """A value for JSON: numbers with six significant digits, None for those that are not finite."""
    if isinstance(value, Mapping):
        return {str(name): _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    return value
