"""Runs side by side: their short names, what tells them apart, where each stands at an epoch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.server import escaping, run_cache
from app.server.visible_runs import runs
from engine.analysis import run_table
from engine.charts.curves import Curve
from engine.charts.theme import METHODS
from engine.runs.folder import RunFolder
from engine.runs.lineage import label_parent

MOST = 6  # runs that can be told apart by color, dash and symbol
LETTERS = "ABCDEFGH"
KNOBS = {"k": "K", "alpha": "alpha", "rate": "rate", "seed": "seed", "dataset": "", "noise": ""}
SAID = KNOBS | {
    "dataset": "data set",
    "noise": "noise model",
    "rate": "noise rate",
    "noise_seed": "noise seed",
    "margin_type": "margin type",
    "human_labels": "human labels",
    "correction_start": "correction start",
    "learning_rate": "learning rate",
}
AS_METHOD = {"mixing", "loss", "correction"}


@dataclass(frozen=True)
class Look:
    """A run at an epoch: whose arrays to read at which row, and a note where that surprises."""

    run: RunFolder
    row: int
    note: str = ""


def short_names(names: list[str]) -> list[str]:
    """ "A MixNN, K 5": a letter, the method, and what else tells runs of one method apart."""
    configs = [run_cache.run(name).config for name in names]
    methods = [METHODS.get(config.method, config.method) for config in configs]
    found = []
    for number, (config, method) in enumerate(zip(configs, methods, strict=True)):
        alike = [c for c, m in zip(configs, methods, strict=True) if m == method]
        words = [
            f"{label} {getattr(config, knob):g}" if label else str(getattr(config, knob))
            for knob, label in KNOBS.items()
            if len({getattr(other, knob) for other in alike}) > 1
        ]
        found.append(f"{LETTERS[number]} {', '.join([method, *words[:2]])}")
    return found


def differences(names: list[str]) -> list[str]:
    """What is set differently, one phrase of Markdown each: "**K**: A 5, B 15"."""
    configs = [run_cache.run(name).config for name in names]
    told = run_table.differing_settings([run_table.settings_of(config) for config in configs])
    phrases = []
    if AS_METHOD & set(told):
        phrases.append(_phrase("method", [METHODS.get(c.method, c.method) for c in configs]))
    for name, values in told.items():
        if name == "noise_matrix":
            phrases.append("**noise matrix**: not the same")
        elif name not in AS_METHOD:
            phrases.append(_phrase(SAID.get(name, name.replace("_", " ")), values))
    return phrases


def same_labels(names: list[str]) -> bool:
    """Whether all learn from exactly the same given labels."""
    given = [run_cache.run(name).labels["given"] for name in names]
    return all(np.array_equal(given[0], other) for other in given[1:])


def look(name: str, epoch: int) -> Look:
    """Where a run is at an epoch of another one; before a fork its parent is shown for it."""
    run = run_cache.run(name)
    found = _at(run, epoch)
    if found.run is not run or found.note:
        return found
    ended, last = not runs().info(name).active, run.epochs[found.row]["epoch"]
    note = f"{'ended' if ended else 'is'} at epoch {last}" if last < epoch else ""
    return Look(run, found.row, note)


def _at(run: RunFolder, epoch: int) -> Look:
    first = run.epochs[0]["epoch"]
    if epoch >= first:
        return Look(run, min(epoch - first, len(run.epochs) - 1))
    parent = label_parent(run)
    if parent is None:
        return Look(run, 0, f"begins at epoch {first}")
    name = Path(run.info["parent"]["run"]).name
    found = _at(parent, epoch)
    return Look(found.run, found.row, f"before its fork: {name}")


def curve(name: str, short: str) -> Curve:
    """A run's records for a picture, with those of its parents before the fork."""
    run = run_cache.run(name)
    return Curve(short, run.epochs, past(run))


def past(run: RunFolder) -> list[dict[str, Any]]:
    """The records that a fork took over from its parents, as far as those are still there."""
    parent = label_parent(run)
    if parent is None:
        return []
    return [r for r in [*past(parent), *parent.epochs] if r["epoch"] < run.info["first_epoch"]]


def _words(value: Any) -> str:
    return "none" if value is None else escaping.markdown(value)


def _phrase(what: str, values: list[Any]) -> str:
    told = ", ".join(
        f"{LETTERS[number]} {f'{v:g}' if isinstance(v, float) else _words(v)}"
        for number, v in enumerate(values)
    )
    return f"**{what}**: {told}"
