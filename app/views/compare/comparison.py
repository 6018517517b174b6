"""The runs compared: their short names, their differences, and each run at an epoch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.server import escaping, run_cache
from app.server.visible_runs import runs
from engine.analysis import run_table
from engine.charts.curves import Curve
from engine.charts.theme import METHODS
from engine.config import METHOD_DEFAULTS, RunConfig, registry
from engine.runs.folder import NOT_RECORDED, RunFolder
from engine.runs.lineage import label_parent
from engine.runs.recorder import SETTINGS

MAX_RUNS = 6  # that color, dash and symbol distinguish
LETTERS = "ABCDEFGH"
IN_SHORT_NAMES = {  # setting -> its name before the value
    "k": "K",
    "alpha": "alpha",
    "rate": "rate",
    "seed": "seed",
    "dataset": "",
    "noise": "",
}
SETTING_NAMES = IN_SHORT_NAMES | {
    "dataset": "data set",
    "noise": "noise model",
    "rate": "noise rate",
    "noise_seed": "noise seed",
    "margin_type": "margin type",
    "human_labels": "human labels",
    "correction_start": "correction start",
    "learning_rate": "learning rate",
}


@dataclass(frozen=True)
class EpochView:
    """A run at an epoch: the run to read, the row of its arrays, and a note if that may surprise.

    Before a fork that is its parent; after the last epoch of a run it is its last row.
    """

    run: RunFolder
    row: int
    note: str = ""


def short_names(names: list[str]) -> list[str]:
    """ "A MixNN, K 5": a letter, the method, and settings that differ among its runs."""
    configs = [run_cache.run(name).config for name in names]
    methods = [METHODS.get(config.method, config.method) for config in configs]
    short = []
    for number, (config, method) in enumerate(zip(configs, methods, strict=True)):
        same_method = [c for c, m in zip(configs, methods, strict=True) if m == method]
        words = [
            f"{label} {getattr(config, setting):g}" if label else str(getattr(config, setting))
            for setting, label in IN_SHORT_NAMES.items()
            if len({getattr(other, setting) for other in same_method}) > 1
        ]
        short.append(f"{LETTERS[number]} {', '.join([method, *words[:2]])}")
    return short


def differences(names: list[str]) -> list[str]:
    """The settings that differ, one phrase of Markdown each: "**K**: A 5, B 15"."""
    configs = [run_cache.run(name).config for name in names]
    differing = run_table.differing_settings([_settings(run_cache.run(name)) for name in names])
    phrases = []
    if METHOD_DEFAULTS.keys() & set(differing):
        phrases.append(_phrase("method", [METHODS.get(c.method, c.method) for c in configs]))
    for name, values in differing.items():
        if name == "noise_matrix":
            phrases.append("**noise matrix**: different")
        elif name not in METHOD_DEFAULTS:
            phrases.append(_phrase(SETTING_NAMES.get(name, name.replace("_", " ")), values))
    return phrases


def _settings(run: RunFolder) -> dict[str, Any]:
    """The settings of a run; of a recorded loop those that were passed to the recorder."""
    settings = run_table.settings_of(run.config)
    if run.is_recorded:
        usual = RunConfig().model_dump() | SETTINGS
        for name in settings.keys() - {"dataset", "noise", "epochs", "loss", "seed"}:
            if settings[name] == usual.get(name):
                settings[name] = NOT_RECORDED
    return settings


def same_labels(names: list[str]) -> bool:
    """Whether all train on exactly the same given labels."""
    given = [run_cache.run(name).labels["given"] for name in names]
    return all(np.array_equal(given[0], other) for other in given[1:])


def view_at(name: str, epoch: int) -> EpochView:
    """A run at an epoch, or at the nearest that it has; before a fork, its parent."""
    run = run_cache.run(name)
    view = _view_at(run, epoch)
    if view.run is not run or view.note:
        return view
    ended, last = not runs().info(name).active, run.epochs[view.row]["epoch"]
    note = f"{'ended' if ended else 'is'} at epoch {last}" if last < epoch else ""
    return EpochView(run, view.row, note)


def _view_at(run: RunFolder, epoch: int) -> EpochView:
    first = run.epochs[0]["epoch"]
    if epoch >= first:
        return EpochView(run, min(epoch - first, len(run.epochs) - 1))
    parent = label_parent(run)
    if parent is None:
        return EpochView(run, 0, f"begins at epoch {first}")
    name = Path(run.info["parent"]["run"]).name
    view = _view_at(parent, epoch)
    return EpochView(view.run, view.row, f"before its fork: {name}")


def curve(name: str, short: str) -> Curve:
    """A run's records for a chart, with those of its parents before the fork."""
    run = run_cache.run(name)
    return Curve(short, run.epochs, parent_records(run))


def parent_records(run: RunFolder) -> list[dict[str, Any]]:
    """The records of the epochs before a fork, from those of its parents that still exist."""
    parent = label_parent(run)
    if parent is None:
        return []
    return [
        r for r in [*parent_records(parent), *parent.epochs] if r["epoch"] < run.info["first_epoch"]
    ]


def _phrase(setting: str, values: list[Any]) -> str:
    """ "**K**: A 5, B 15"."""
    by_run = ", ".join(f"{LETTERS[number]} {_text(value)}" for number, value in enumerate(values))
    return f"**{setting}**: {by_run}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else escaping.markdown(registry.in_words(value))
