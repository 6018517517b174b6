"""The wall: thumbnails of all images, on which labels are reviewed in groups.

Everything happens at once in the browser. Decisions are kept there as numbered steps until the
server has acknowledged them (ledger.js; `app.server.decisions.Reviews.receive`): after a lost
connection they are sent again, and each is applied once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app.components import packed_arrays
from app.server.decisions import Decision, Step
from engine.analysis.review import KINDS
from engine.analysis.review_order import Grouping
from engine.reports.bundle import bundle

HERE = Path(__file__).resolve().parent
MINE, STARTS = 4, 8  # bits of a decision beside its kind, as in ledger.js
MAX_SOURCE = 64  # characters of a browser's name for itself
MAX_STEPS = 100_000  # in one message

_mount = st.components.v2.component(
    "mixnn.wall",
    html=(HERE / "wall.html").read_text(),
    css=(HERE / "wall.css").read_text(),
    js=bundle(HERE / "wall.js") + '\nexport default modules["wall.js"].wall;',
)


@dataclass(frozen=True, eq=False)
class Book:
    """What the wall shows of a run, the same for all its visitors; N samples, C classes."""

    run: str  # identifies the run and the epoch: decisions that wait in a browser are kept under it
    classes: Sequence[str]
    samples: np.ndarray  # (N,) data set indices, most doubtful first; all arrays are in this order
    given: np.ndarray  # (N,) classes
    suggested: np.ndarray  # (N,) classes
    likely: np.ndarray  # (N,) probability that `suggested` is the true class; nan where unknown
    doubt: np.ndarray  # (N,) probability that the given label is wrong; nan where unknown
    groupings: Mapping[str, Grouping]  # title -> groups of positions in this order
    per_sheet: int  # images of a sprite sheet, in this order
    columns: int  # of a sprite sheet
    side: int  # pixels of an image in it

    def packed(self) -> bytes:
        """The bytes that book.js reads."""
        arrays = {
            "samples": self.samples.astype(np.int32),
            "given": self.given.astype(np.int32),
            "suggested": self.suggested.astype(np.int32),
            "likely": self.likely.astype(np.float32),
            "doubt": self.doubt.astype(np.float32),
        }
        for number, grouping in enumerate(self.groupings.values()):
            for name in ("order", "sizes", "given", "suggested"):
                arrays[f"{name}{number}"] = getattr(grouping, name).astype(np.int32)
        header = {
            "run": self.run,
            "classes": list(self.classes),
            "groupings": list(self.groupings),
            "sheets": {"per": self.per_sheet, "columns": self.columns, "side": self.side},
        }
        return packed_arrays.packed(header, arrays)


@dataclass(frozen=True, eq=False)
class Answer:
    """What the server says to a message of the browser, and the state that the wall shows."""

    message: str = ""  # name of the message, chosen by the browser
    applied: Mapping[str, int] = field(default_factory=dict)  # browser -> its last step applied
    problem: str = ""  # why nothing was stored; the browser tries again
    refusals: Sequence[str] = ()  # of steps that are not sent again


def wall(
    *,
    book: str,
    sheets: Mapping[int, str],
    log: Sequence[Decision],
    by: str,
    answer: Answer,
    read_only: str,
    key: str,
    exchange: Callable[[dict[str, Any]], None],
    open_sample: Callable[[int], None],
) -> None:
    """Show the wall.

    book: URL of `Book.packed`. sheets: number of a sprite sheet -> its URL, as far as requested.
    log: all decisions, oldest first. by: the visitor. read_only: why this visitor may not decide;
    "" if they may. Called before the page reruns: exchange(message) with decisions to store, to be
    read by `steps_of`, and the numbers of missing sheets, see `wanted_of`; open_sample(sample).
    """

    def on(event: str, call: Callable[[Any], None]) -> Callable[[], None]:
        def on_change() -> None:
            value = st.session_state[key].get(event)
            if isinstance(value, dict):
                call(value)

        return on_change

    _mount(
        key=key,
        data={
            "book": book,
            "sheets": {str(number): url for number, url in sheets.items()},
            "log": rows_of(log, by),
            "answer": {
                "message": answer.message,
                "applied": dict(answer.applied),
                "problem": answer.problem,
                "refusals": list(answer.refusals),
            },
            "readOnly": read_only,
        },
        on_exchange_change=on("exchange", exchange),
        on_open_change=on("open", lambda value: open_sample(int(value["sample"]))),
    )


def rows_of(log: Sequence[Decision], by: str) -> list[int]:
    """The log as numbers: sample, label and flags of each decision, one after the other."""
    rows: list[int] = []
    before = None
    for decision in log:
        group = decision.by, decision.at
        flags = KINDS.index(decision.kind) | MINE * (decision.by == by) | STARTS * (group != before)
        rows += decision.sample, decision.label, flags
        before = group
    return rows


def steps_of(message: dict[str, Any], given: np.ndarray) -> dict[str, list[Step]]:
    """Browser -> its steps, of a message that may contain anything. given: (N,) int64.

    Whether a label is kept or changed is decided here. Raises ValueError.
    """
    queues = message.get("queues")
    if not isinstance(queues, dict) or len(queues) > MAX_STEPS:
        raise ValueError("a message without decisions")
    found: dict[str, list[Step]] = {}
    for source, steps in queues.items():
        if not 0 < len(source) <= MAX_SOURCE or not isinstance(steps, list):
            raise ValueError("decisions without a source")
        if len(steps) > MAX_STEPS:
            raise ValueError(f"{len(steps):,} steps at once: allowed are {MAX_STEPS:,}")
        found[source] = [_step(step, given) for step in steps]
    return found


def wanted_of(message: dict[str, Any], n_sheets: int) -> list[int]:
    """The numbers of the sprite sheets that a browser misses."""
    wanted = message.get("wanted")
    wanted = wanted if isinstance(wanted, list) else []
    return [i for i in wanted[:n_sheets] if isinstance(i, int) and 0 <= i < n_sheets]


def _step(step: Any, given: np.ndarray) -> Step:
    numbers = [step["number"], *step.get("samples", ()), *step.get("labels", ())]
    if not all(type(number) is int for number in numbers):
        raise ValueError(f"a step of {numbers[:3]}: allowed are whole numbers")
    samples, labels, kind = step.get("samples", ()), step.get("labels", ()), step["kind"]
    if kind == "undo":
        return Step(step["number"], undone=tuple(samples))
    if kind == "label" and len(labels) != len(samples):
        raise ValueError(f"{len(labels)} labels for {len(samples)} samples")
    if kind not in ("label", "remove"):
        raise ValueError(f"step {kind!r}: allowed are label, remove, undo")
    chosen = []
    for place, sample in enumerate(samples):
        own = int(given[sample]) if 0 <= sample < len(given) else 0
        label = labels[place] if kind == "label" else own
        chosen.append((sample, _kind(kind, label == own), label))
    return Step(step["number"], tuple(chosen))


def _kind(kind: str, same: bool) -> str:
    return kind if kind == "remove" else "keep" if same else "change"
