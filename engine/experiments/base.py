"""An experiment: a question, the runs that answer it, and how their tables are evaluated."""

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
Settings = Mapping[str, Any]
# the default settings of each form
FORMS: dict[str, dict[str, Any]] = {
    "quick": dict(dataset="digits"),  # five seeds, minutes on two cores
    "full": dict(dataset="cifar10", network="resnet18"),  # three seeds, hours on a GPU
}
N_SEEDS = {"cifar10": 3, "cifar100": 3}
DEFAULT_N_SEEDS = 5  # of every other data set
MOST_ROWS = 5000  # longer tables are scatter plots of samples: plotted, not written
QUICK_LIMIT = {"cifar10": 10_000, "cifar100": 10_000}  # images of the quick form, unless limit says


@dataclass(frozen=True)
class Plan:
    """One experiment on one data set: its form, seeds and the settings that all its runs share."""

    form: str = "quick"
    seeds: tuple[int, ...] = ()
    settings: Settings = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether this is the full form, for a GPU."""
        return self.form == "full"

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.settings["dataset"]

    @property
    def family(self) -> str:
        """Name of the data set without its argument: shapes of shapes:500."""
        return self.dataset.partition(":")[0]

    def preset(self) -> RunConfig:
        """The settings of plain MixNN in this plan."""
        return configure(**self.settings)

    def grid(self, **axes: Any) -> list[RunConfig]:
        """Runs of every combination of these axes and the seeds; single values need no list.

        An axis overrides the plan's own setting. Raises ConfigError.
        """
        named = {**self.settings, **axes, "seed": list(self.seeds)}
        return grid({n: v if isinstance(v, list | tuple) else [v] for n, v in named.items()})


def plan(form: str = "quick", seeds: Sequence[Any] = (), **settings: Any) -> Plan:
    """A plan: the form's settings, overridden by those given here. Raises ConfigError."""
    if form not in FORMS:
        raise ConfigError(f"form = {form!r}: allowed are {', '.join(FORMS)}")
    settings = FORMS[form] | settings
    family = settings["dataset"].partition(":")[0]
    if form == "quick" and family in QUICK_LIMIT:
        settings = {"limit": QUICK_LIMIT[family]} | settings
    n_seeds = N_SEEDS.get(family, DEFAULT_N_SEEDS)
    return Plan(form, tuple(seeds) or tuple(range(n_seeds)), settings)


@dataclass(frozen=True, eq=False)
class Results:
    """The finished runs of an experiment."""

    plan: Plan
    runs: dict[str, RunFolder]  # by name
    epochs: pd.DataFrame  # their table, see engine.runs.table

    @property
    def last(self) -> pd.DataFrame:
        """The last epoch of each run."""
        return last_epochs(self.epochs)

    def of(self, configs: Sequence[RunConfig]) -> pd.DataFrame:
        """The last epochs of these runs only."""
        return self.last[self.last["run"].isin([run_name(config) for config in configs])]


@dataclass(frozen=True, eq=False)
class Findings:
    """The outcome: tidy tables, and conclusions that their tests support."""

    tables: dict[str, pd.DataFrame]
    answers: list[str]


@dataclass(frozen=True)
class Experiment:
    """The runs of an experiment, and the evaluation of their results."""

    configs: Callable[[Plan], list[RunConfig]]
    evaluate: Callable[[Results], Findings]


def collect(plan: Plan, configs: Sequence[RunConfig], root: Path) -> Results:
    """The finished ones of these runs under root. Raises StoreError."""
    from engine.runs.table import table

    folders = [root / run_name(config) for config in configs]
    runs = {
        folder.name: RunFolder(folder) for folder in folders if (folder / "config.json").exists()
    }
    runs = {name: run for name, run in runs.items() if run.status["state"] == "done"}
    return Results(plan, runs, table([run.folder for run in runs.values()]))


def last_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last epoch of each run."""
    newest = rows.groupby("run")["epoch"].transform("max")
    return rows[rows["epoch"] == newest].reset_index(drop=True)


def pick(frame: pd.DataFrame, **where: Any) -> pd.Series:
    """The first row with these values."""
    for name, value in where.items():
        frame = frame[frame[name] == value]
    return frame.iloc[0]
