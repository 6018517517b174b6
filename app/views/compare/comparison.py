"""The runs compared: their short names, their differences, and each run at an epoch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.server import escaping, run_cache
from app.server.visible_runs import runs
from engine.analysis import run_changes
from engine.charts.curves import Curve
from engine.charts.theme import METHODS
from engine.config import METHOD_DEFAULTS
from engine.runs.folder import RunFolder
from engine.runs.lineage import label_parent, records_before

MAX_RUNS = 6  # that color, dash and symbol distinguish
LETTERS = "ABCDEFGH"
IN_SHORT_NAMES = ("k", "alpha", "rate", "seed", "dataset", "noise")  # settings, by importance


SETTING_NAMES = {"dataset": "data set", "noise": "noise model", "rate": "noise rate"}


@dataclass(frozen=True)
class EpochView:
    """A run at an epoch: the run to read, the row of its arrays, and a note if that may surprise.

    Before a fork that is its parent; after the last epoch of a run it is its last row.
    """

    run: RunFolder
    row: int
    note: str = ""


def short_names(names: list[str]) -> list[str]:
    """ "A MixNN, K 5": a letter, the method, and settings that differ among its runs.

    A fork, and a run that was changed while it trained, says so.
    """
    opened = [run_cache.run(name) for name in names]
    methods = [METHODS.get(run.config.method, run.config.method) for run in opened]
    used = [run_changes.settings_in_use(run) for run in opened]
    short = []
    for number, (run, method, settings) in enumerate(zip(opened, methods, used, strict=True)):
        same = [other for other, m in zip(used, methods, strict=True) if m == method]
        differing = run_changes.differing_settings(same)
        words = [
            run_changes.in_words("" if name in ("dataset", "noise") else name, settings[name])
            for name in IN_SHORT_NAMES
            if name in differing and name in settings
        ][:2]
        words += ["fork"] if run.info["parent"] else []
        words += ["changed"] if run_changes.live_changes(run.config, run.epochs) else []
        short.append(f"{LETTERS[number]} {', '.join([method, *words])}")
    return short


def differences(names: list[str]) -> list[str]:
    """What differs, one phrase of Markdown each: "**K**: A 5, B 15".

    Only settings that have an effect on a run, of at least two runs; then forks, and settings that
    were changed during the training.
    """
    opened = [run_cache.run(name) for name in names]
    used = [run_changes.settings_in_use(run) for run in opened]
    differing = run_changes.differing_settings(used)
    phrases = []
    methods = [METHODS.get(run.config.method, run.config.method) for run in opened]
    if len(set(methods)) > 1 or METHOD_DEFAULTS.keys() & differing.keys():
        phrases.append(_phrase("method", dict(enumerate(methods))))
    for name in differing:
        if name == "noise_matrix":
            phrases.append("**noise matrix**: different")
        elif name not in METHOD_DEFAULTS:
            values = {n: _text(one[name]) for n, one in enumerate(used) if name in one}
            title = SETTING_NAMES.get(name, run_changes.in_words(name))
            phrases.append(_phrase(title, values))
    forks = {n: run_changes.fork_of(run) for n, run in enumerate(opened)}
    words = {n: f"after epoch {fork.epoch}" for n, fork in forks.items() if fork}
    changes = {
        n: ", ".join(map(run_changes.change_in_words, found))
        for n, run in enumerate(opened)
        if (found := run_changes.live_changes(run.config, run.epochs))
    }
    phrases += [_phrase("forked", words)] if words else []
    phrases += [_phrase("changed while training", changes)] if changes else []
    return phrases


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
    return Curve(short, run.epochs, records_before(run))


def seed_curve(members: dict[int, str], name: str, short: str) -> Curve:
    """The mean over the seeds of a run for a chart; members: seed -> finished run."""
    records = {seed: run_cache.records(run) for seed, run in members.items()}
    return Curve(short, run_cache.records(name), seeds=records)


def _phrase(setting: str, values: dict[int, str]) -> str:
    """ "**K**: A 5, B 15"; values: by the number of the run."""
    by_run = ", ".join(f"{LETTERS[n]} {escaping.markdown(value)}" for n, value in values.items())
    return f"**{setting}**: {by_run}"


def _text(value: Any) -> str:
    return run_changes.in_words("", value)
