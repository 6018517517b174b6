"""What people decided about the labels of a run: review.json in its folder, written whole.

The file is a log, one entry a decision, and the last one about a sample counts. Every writer reads
it anew and adds to it under a lock, so that two tabs, or two people, never lose each other's.
"""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from engine.errors import StoreError
from engine.store import read_json, write_json

FORMAT = 1
KINDS = ("keep", "change", "skip")
PATIENCE = 10  # seconds to wait for the lock; a write takes milliseconds


class ReviewError(StoreError):
    """Decisions that cannot be read or kept; the message says what to do."""


@dataclass(frozen=True)
class Decision:
    """One decision about one sample. `by` names the visitor, so that each undoes his own."""

    sample: int
    kind: str  # keep: the given label is right; change: `label` is; skip: cannot tell
    label: int  # the label that holds from now on
    at: str  # ISO 8601, UTC
    by: str = ""


class Reviews:
    """The decisions about one run of n_samples samples and n_classes classes."""

    def __init__(self, folder: Path, n_samples: int, n_classes: int):
        self.path = folder / "review.json"
        self.n_samples, self.n_classes = n_samples, n_classes
        self._lock = FileLock(folder / "review.lock", timeout=PATIENCE)

    def log(self) -> list[Decision]:
        """All decisions ever made and not undone, oldest first. Raises ReviewError."""
        if not self.path.exists():
            return []
        try:
            kept = read_json(self.path)
            log = [Decision(**entry) for entry in kept["log"]]
            if kept["format"] != FORMAT or any(self._refusal(d) for d in log):
                raise ValueError("it is not about this run")
        except (StoreError, KeyError, TypeError, ValueError) as error:
            raise ReviewError(
                f"{self.path} cannot be read ({error}): rename it to begin a new review"
            ) from None
        return log

    def latest(self) -> dict[int, Decision]:
        """The decision that counts, by sample."""
        return {decision.sample: decision for decision in self.log()}

    def decide(self, sample: int, kind: str, label: int, *, by: str = "") -> Decision:
        """Add a decision. Raises ReviewError."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        decision = Decision(sample, kind, label, at, by)
        if refusal := self._refusal(decision):
            raise ReviewError(refusal)
        self._rewrite(lambda log: [*log, decision])
        return decision

    def undo(self, by: str = "") -> Decision | None:
        """Take back the newest decision of one visitor and return it; None where there is none."""
        taken: list[Decision] = []

        def without(log: list[Decision]) -> list[Decision]:
            own = [i for i, decision in enumerate(log) if decision.by == by]
            taken.extend(log[i] for i in own[-1:])
            return log if not own else log[: own[-1]] + log[own[-1] + 1 :]

        self._rewrite(without)
        return taken[0] if taken else None

    def _rewrite(self, change) -> None:
        try:
            with self._lock:
                log: Iterable[Decision] = change(self.log())
                write_json(self.path, {"format": FORMAT, "log": [asdict(d) for d in log]})
        except Timeout:
            raise ReviewError(
                f"{self.path} is held by another process: the decision was not kept, try again"
            ) from None
        except OSError as error:
            raise ReviewError(
                f"{self.path} cannot be written ({os.strerror(error.errno or 0)}): "
                "the decision was not kept"
            ) from None

    def _refusal(self, decision: Decision) -> str:
        """Why a decision is none about this run; empty where it is one."""
        if decision.kind not in KINDS:
            return f"decision {decision.kind!r}: allowed are {', '.join(KINDS)}"
        if not 0 <= decision.sample < self.n_samples:
            return f"sample {decision.sample}: allowed is 0 to {self.n_samples - 1}"
        if not 0 <= decision.label < self.n_classes:
            return f"label {decision.label}: allowed is 0 to {self.n_classes - 1}"
        return ""
