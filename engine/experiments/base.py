"""What an experiment is: a question, the runs that answer it, and how their tables are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from engine.config import RunConfig, configure
from engine.errors import ConfigError
from engine.runs.folder import RunFolder
from engine.runs.grid import grid
from engine.runs.naming import run_name

RATES = (0.2, 0.4, 0.6, 0.8)
Knobs = Mapping[str, Any]
# What each form trains on if nothing else is asked for.
FORMS: dict[str, dict[str, Any]] = {
    "quick": dict(dataset="digits"),  # five seeds, minutes on two cores
    "full": dict(dataset="cifar10", network="resnet18"),  # three seeds, hours on a GPU
}
N_SEEDS = {"cifar10": 3, "cifar100": 3}
SMALL = 5  # seeds of every other data set


@dataclass(frozen=True)
class Plan:
    """One experiment on one data set: its form, seeds and the knobs that all its runs share."""

    form: str = "quick"
    seeds: tuple[int, ...] = ()
    knobs: Knobs = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return self.form == "full"

    @property
    def dataset(self) -> str:
        return self.knobs["dataset"]

    def preset(self) -> RunConfig:
        """The settings of plain MixNN in this plan."""
        return configure(**self.knobs)

    def grid(self, **axes: Any) -> list[RunConfig]:
        """Runs of every combination of these axes and the seeds; single values need no list.

        The plan's own knobs hold wherever an axis does not name them.
        """
        named = {**self.knobs, **axes, "seed": list(self.seeds)}
        return grid({n: v if isinstance(v, list | tuple) else [v] for n, v in named.items()})


def plan(form: str = "quick", seeds: Sequence[int] = (), **knobs: Any) -> Plan:
    """A plan: the form's knobs, over them those named here. Raises ConfigError."""
    if form not in FORMS:
        raise ConfigError(f"form = {form!r}: allowed are {', '.join(FORMS)}")
    knobs = FORMS[form] | knobs
    n_seeds = N_SEEDS.get(knobs["dataset"].partition(":")[0], SMALL)
    return Plan(form, tuple(seeds) or tuple(range(n_seeds)), knobs)


@dataclass(frozen=True, eq=False)
class Material:
    """What an experiment is answered from."""

    plan: Plan
    runs: dict[str, RunFolder]  # by name
    epochs: pd.DataFrame  # `sweep.table` of them

    @property
    def last(self) -> pd.DataFrame:
        """The last epoch of each run that has come to its end."""
        return lasting(self.epochs)

    def of(self, configs: Sequence[RunConfig]) -> pd.DataFrame:
        """Last epochs of these runs alone."""
        return self.last[self.last["run"].isin([run_name(config) for config in configs])]


@dataclass(frozen=True, eq=False)
class Findings:
    """What came out: tidy tables, and sentences that their intervals carry."""

    tables: dict[str, pd.DataFrame]
    answers: list[str]


@dataclass(frozen=True)
class Experiment:
    """One question. `configs` says which runs it needs, `read` what they say."""

    question: str
    configs: Callable[[Plan], list[RunConfig]]
    read: Callable[[Material], Findings]
    needs: str | None = None  # a library that a machine may lack


def gather(made: Plan, configs: Sequence[RunConfig], root: Path) -> Material:
    """The material that these runs left under root; a run that failed is left out."""
    from engine.runs.table import table

    folders = [root / run_name(config) for config in configs]
    runs = {
        folder.name: RunFolder(folder) for folder in folders if (folder / "config.json").exists()
    }
    runs = {name: run for name, run in runs.items() if run.status["state"] == "done"}
    return Material(made, runs, table([run.folder for run in runs.values()]))


def lasting(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last epoch of each run."""
    newest = rows.groupby("run")["epoch"].transform("max")
    return rows[rows["epoch"] == newest].reset_index(drop=True)


def pick(frame: pd.DataFrame, **where: Any) -> pd.Series:
    """The first row with these values."""
    for name, value in where.items():
        frame = frame[frame[name] == value]
    return frame.iloc[0]
