"""Runs of several seeds: which runs differ in the seed alone."""

import json
from collections.abc import Sequence
from typing import Any

from engine.analysis.run_changes import MACHINE_SETTINGS, settings_of
from engine.errors import StoreError
from engine.runs.folder import RunFolder

SEEDS = ("seed", "noise_seed")


def by_seed(runs: Sequence[RunFolder]) -> list[list[RunFolder]]:
    """Runs that differ in the seed alone, together; the first one of each list is shown in full.

    One run, or two, are shown in full each. All others keep their order, except that the lists
    begin with the same seed where they can. Raises StoreError for a seed that occurs twice.
    """
    if len(runs) <= 2:
        return [[run] for run in runs]
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        group = groups.setdefault(_all_but_seeds(run), [])
        twin = next((one for one in group if _seeds(one) == _seeds(run)), None)
        if twin is not None:
            raise StoreError(
                f"{run.folder} and {twin.folder} have the same settings and seed "
                f"({run.config.seed}): allowed are runs of different seeds"
            )
        group.append(run)
    seed = _seeds(runs[0])
    return [sorted(group, key=lambda run: _seeds(run) != seed) for group in groups.values()]


def _seeds(run: RunFolder) -> tuple[Any, ...]:
    settings = settings_of(run.config)
    return tuple(settings[name] for name in SEEDS)


def _all_but_seeds(run: RunFolder) -> str:
    """What the seeds of one method share: settings, also those changed live, and the parent."""
    settings = {
        name: value
        for name, value in settings_of(run.config).items()
        if name not in {*SEEDS, *MACHINE_SETTINGS}
    }
    changed = [
        (record["epoch"], record["settings"])
        for record in run.epochs
        if any(settings.get(name) != value for name, value in record["settings"].items())
    ]
    return json.dumps([settings, changed, run.info["parent"]], sort_keys=True, default=str)
