"""Decisions of reviewers on the labels of a run: a log in which a sample's last decision counts.

The log is in the server's storage. After each decision all of it is also written to review.json in
the run's folder, so that it moves with the run; that copy is read only if the storage has no log of
this run: after a move, or from an older server.
"""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.server.storage import storage_of
from engine.analysis.review import KINDS, REVIEW
from engine.errors import StoreError
from engine.files import printable, read_json, write_json

log = logging.getLogger(__name__)
FORMAT = 1
MAX_SOURCES = 100  # browsers whose last step is remembered, of each run
COLUMNS = "sample, kind, label, at, by"


class ReviewError(StoreError):
    """Decisions that cannot be read or stored; the message says what to do."""


@dataclass(frozen=True)
class Decision:
    """One decision on one sample. `by` is the visitor's id: visitors undo only their own."""

    sample: int
    # keep: the given label is right; change: `label` is right; skip: undecided; remove: the sample
    # belongs to no class and is left out of the exported data set
    kind: str
    label: int  # the label from now on; of "remove" the given one
    at: str  # ISO 8601, UTC; the same for decisions on a group, which are undone together
    by: str = ""


@dataclass(frozen=True)
class Step:
    """One act of a reviewer in a browser: decisions on a group of samples, or their undoing."""

    number: int  # from 1 on, ascending; see `Reviews.receive`
    chosen: Sequence[tuple[int, str, int]] = ()  # sample, kind and label, as in `Decision`
    undone: Sequence[int] = ()  # samples; the visitor's newest decision on each is undone


class Reviews:
    """The decisions on one run of n_samples samples and n_classes classes.

    folder: the run folder, in the runs root.
    """

    def __init__(self, folder: Path, n_samples: int, n_classes: int):
        self.path = folder / REVIEW
        self.n_samples, self.n_classes = n_samples, n_classes
        self._run, self._storage = printable(folder.name), storage_of(folder.parent)

    def log(self) -> list[Decision]:
        """All decisions that were not undone, oldest first. Raises ReviewError, StorageError."""
        if self._run not in self._storage.table("reviews"):
            return self._copy()
        query = f"SELECT {COLUMNS} FROM decisions WHERE run = ? ORDER BY number"
        decisions = [Decision(*row) for row in self._storage.read(query, self._run)]
        for decision in decisions:
            if refusal := self._refusal(decision):
                raise ReviewError(
                    f"the decisions on {self._run} do not fit this run ({refusal}): rename its "
                    "folder to start a new review"
                )
        return decisions

    def latest(self) -> dict[int, Decision]:
        """Sample -> its last decision."""
        return {decision.sample: decision for decision in self.log()}

    def decide(self, sample: int, kind: str, label: int, *, by: str = "") -> Decision:
        """Add a decision. Raises ReviewError; StorageError if it cannot be stored."""
        decision = Decision(sample, kind, label, _time(), by)
        if refusal := self._refusal(decision):
            raise ReviewError(refusal)
        with self._writing() as connection:
            self._insert(connection, [decision])
        return decision

    def receive(self, source: str, steps: Iterable[Step], *, by: str = "") -> tuple[int, list[str]]:
        """Apply the steps of one browser that were not applied yet, all of them or none.

        source: a name that the browser has invented; it may send its steps any number of times.
        Returns the number of the last step applied so far, which the browser may then forget, and
        why steps were refused, one sentence each: these change nothing, and are not to be sent
        again. Raises StorageError if nothing can be stored.
        """
        with self._writing() as connection:
            known = dict(self._storage.table("received").get(self._run, {}))
            last, refusals = known.pop(source, 0), []
            for place, step in enumerate(steps):
                if step.number <= last:
                    continue
                last, at = step.number, _time(place)
                decisions = [Decision(*choice, at, by) for choice in step.chosen]
                if refusal := next(filter(None, map(self._refusal, decisions)), ""):
                    refusals.append(refusal)
                    continue
                self._insert(connection, decisions)
                connection.executemany(
                    "DELETE FROM decisions WHERE number = (SELECT MAX(number) FROM decisions "
                    "WHERE run = ? AND by = ? AND sample = ?)",
                    [(self._run, by, sample) for sample in step.undone],
                )
            newest = [*known.items(), (source, last)][-MAX_SOURCES:]
            self._storage.put("received", self._run, dict(newest))
        return last, refusals

    def undo(self, by: str = "") -> Decision | None:
        """Undo the newest decision of one visitor, or all on its group, and return the first.

        None if there is none.
        """
        with self._writing() as connection:
            newest = connection.execute(
                "SELECT at, number FROM decisions WHERE run = ? AND by = ? "
                "ORDER BY number DESC LIMIT 1",
                (self._run, by),
            ).fetchone()
            if newest is None:
                return None
            # older servers wrote whole seconds, in which there may be several decisions
            group = "run = ? AND by = ? AND at = ? AND (at LIKE '%.%' OR number = ?)"
            values = self._run, by, *newest
            query = f"SELECT {COLUMNS} FROM decisions WHERE {group} ORDER BY number LIMIT 1"
            first = connection.execute(query, values).fetchone()
            connection.execute(f"DELETE FROM decisions WHERE {group}", values)
            return Decision(*first)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction on the log: imported before if needed, copied to the folder afterwards."""
        with self._storage.transaction() as connection:
            decisions = self.log()
            if self._run not in self._storage.table("reviews"):
                self._insert(connection, decisions)
                self._storage.put("reviews", self._run, FORMAT)
            yield connection
            # before the commit: no other process writes an older copy over a newer one
            entries = [asdict(decision) for decision in self.log()]
            try:
                write_json(self.path, {"format": FORMAT, "log": entries})
            except OSError as error:  # the next decision writes it
                log.warning("%s is out of date: %s", self.path, error)

    def _insert(self, connection: sqlite3.Connection, decisions: list[Decision]) -> None:
        rows = [(self._run, *astuple(decision)) for decision in decisions]
        query = f"INSERT INTO decisions (run, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
        connection.executemany(query, rows)

    def _copy(self) -> list[Decision]:
        """The log in review.json. Raises ReviewError."""
        if not self.path.exists():
            return []
        try:
            kept = read_json(self.path)
            decisions = [Decision(**entry) for entry in kept["log"]]
            if kept["format"] != FORMAT or any(self._refusal(d) for d in decisions):
                raise ValueError("it does not fit this run")
        except (StoreError, KeyError, TypeError, ValueError) as error:
            raise ReviewError(
                f"{self.path} cannot be read ({error}): rename it to start a new review"
            ) from None
        return decisions

    def _refusal(self, decision: Decision) -> str:
        """Why a decision is not valid for this run; "" if it is."""
        if decision.kind not in KINDS:
            return f"decision {decision.kind!r}: allowed are {', '.join(KINDS)}"
        if not 0 <= decision.sample < self.n_samples:
            return f"sample {decision.sample}: allowed is 0 to {self.n_samples - 1}"
        if not 0 <= decision.label < self.n_classes:
            return f"label {decision.label}: allowed is 0 to {self.n_classes - 1}"
        return ""


def _time(later: int = 0) -> str:
    """Now, `later` microseconds added."""
    return (datetime.now(UTC) + timedelta(microseconds=later)).isoformat(timespec="microseconds")


def has_decisions(folder: Path) -> bool:
    """Whether there are decisions on the run in a folder of the runs root."""
    storage, run = storage_of(folder.parent), printable(folder.name)
    if run in storage.table("reviews"):
        return bool(storage.read("SELECT 1 FROM decisions WHERE run = ? LIMIT 1", run))
    path = folder / REVIEW
    if not path.exists():
        return False
    try:
        return bool(read_json(path)["log"])
    except (StoreError, KeyError, TypeError, RecursionError):
        return True  # unreadable, but perhaps wanted
