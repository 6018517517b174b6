"""State and progress of a run, and the error of a request that is refused."""

from dataclasses import dataclass

from engine.errors import EngineError

LIVE_STATES = ("queued", "running", "paused")


class RunsError(EngineError, ValueError):
    """A request about runs that is refused; the message says what is allowed."""


@dataclass(frozen=True)
class RunInfo:
    """State and progress of a run; epochs and batches count from 0."""

    name: str
    state: str  # queued running paused done stopped failed interrupted broken
    epoch: int = 0  # the current one; of an ended run the last one
    n_epochs: int = 0
    position: int = 0  # in the queue, 1 is next; 0: not queued
    stage: str = ""
    batch: int = 0
    n_batches: int = 0
    seconds_left: float | None = None
    message: str = ""
    owner: str = ""
    pinned: bool = False
    unwatched: float = 0.0  # seconds since a page last showed it; 0 unless active
    group: str = ""  # of runs that were requested together

    @property
    def active(self) -> bool:
        """Whether the run is queued, running or paused."""
        return self.state in LIVE_STATES


def not_found(name: str) -> str:
    """The error message for a run that does not exist, or that the visitor may not see."""
    return f"run = {name!r} does not exist: choose another run"
