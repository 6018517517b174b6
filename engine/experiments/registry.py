"""All experiments by name, and one of them from its runs to its files.

The modules of the experiments are imported by name when they are needed.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import RunConfig
from engine.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from engine.experiments.base import Experiment, Findings, Plan, Results

N_DIGITS = 5  # of the numbers in a table, after the decimal point


@dataclass(frozen=True)
class Entry:
    """A question and the module whose EXPERIMENTS answer it."""

    question: str
    module: str
    needs: str | None = None  # a library that may be missing


EXPERIMENTS: dict[str, Entry] = {
    "baseline": Entry("What does plain cross-entropy do as labels get noisier?", "accuracy"),
    "mixnn-k1": Entry(
        "Does mixing with one neighbor help by itself, without correction?", "accuracy"
    ),
    "full": Entry(
        "How much do K and alpha matter, and what is best at each noise rate?", "accuracy"
    ),
    "representation": Entry(
        "Do classes stay together in feature space although labels are wrong?", "representation"
    ),
    "mixture": Entry(
        "Are the losses bimodal, as the mixture assumes, and what if they are not?",
        "bimodality",
        needs="diptest",
    ),
    "ablation": Entry(
        "What does each part of the method, and each quirk of the reference code, contribute?",
        "accuracy",
    ),
    "noise-kinds": Entry(
        "Against which kind of noise does mixing with neighbors help least?", "accuracy"
    ),
    "methods": Entry("Which method is best on the same network, data and epochs?", "accuracy"),
    "detection": Entry(
        "Which score finds wrong labels best: MixNN, cleanlab or the plain loss?",
        "detection",
        needs="cleanlab",
    ),
}


# Measured in one process within a number of seconds, not by the runs of a plan: its module and
# function. `all` leaves them out.
TIMED = {
    "cifar10": Entry(
        "How far does MixNN get on CIFAR-10 within minutes of one machine, and how fast?",
        "cifar10.items",
    )
}


def load(name: str) -> "Experiment":
    """The experiment of this name. Raises ConfigError for an unknown name or a missing library."""
    if name not in EXPERIMENTS:
        raise ConfigError(f"experiment = {name!r}: allowed are {', '.join(EXPERIMENTS)}")
    entry = EXPERIMENTS[name]
    if entry.needs and find_spec(entry.needs) is None:
        raise ConfigError(f"experiment {name} needs {entry.needs}: pip install {entry.needs}")
    experiment: Experiment = import_module(f"engine.experiments.{entry.module}").EXPERIMENTS[name]
    return experiment


def configs_of(name: str, plan: "Plan", changed: Iterable[str]) -> list[RunConfig]:
    """The runs of an experiment. Raises ConfigError, also if it varies a changed setting itself.

    changed: names of the plan's settings that differ from the defaults.
    """
    configs = load(name).configs(plan)
    for setting in changed:
        value = getattr(plan.preset(), setting)
        if not any(getattr(config, setting) == value for config in configs):
            raise ConfigError(
                f"{setting} = {value!r}: the experiment {name} sets it itself, leave it out"
            )
    return configs


def answer(name: str, plan: "Plan", configs: list[RunConfig], root: Path, out: Path) -> "Findings":
    """Evaluate the runs under root and write the findings to out.

    NAME-DATASET.json (NAME-DATASET-NOISE.json if the plan sets the noise): question, answers,
    settings, machine and commits; NAME-DATASET.TABLE.csv; figures next to them. Raises StoreError,
    and ConfigError if no run is finished.
    """
    from engine.experiments.base import collect
    from engine.experiments.figures import FIGURES
    from engine.experiments.image_files import save
    from engine.files import write_json

    results = collect(plan, configs, root)
    if not results.runs:
        raise ConfigError(f"experiment {name}: none of its {len(configs)} runs is finished")
    findings = load(name).evaluate(results)
    stem = "-".join([name, plan.family, *filter(None, [plan.settings.get("noise")])])
    tables = _write_tables(findings.tables, out, stem)
    images, note = save(FIGURES[name](findings.tables), out, stem)
    if note:
        print(note, file=sys.stderr)
    summary = _summary(name, results, len(configs)) | {
        "answers": findings.answers,
        "tables": tables,
        "figures": [path.name for path in images],
    }
    write_json(out / f"{stem}.json", summary, indent=1)
    return findings


def _write_tables(tables: "dict[str, pd.DataFrame]", out: Path, stem: str) -> dict[str, str]:
    """Write the short tables; returns table -> file name."""
    import numpy as np

    from engine.experiments.base import MOST_ROWS
    from engine.runs.table import save_table

    names = {}
    for table, frame in tables.items():
        if len(frame) <= MOST_ROWS:
            floats = frame.select_dtypes(np.floating).columns
            rounded = {column: frame[column].round(N_DIGITS) for column in floats}
            path = out / f"{stem}.{table}.csv"
            save_table(frame.assign(**rounded), path)
            names[table] = path.name
    return names


def _summary(name: str, results: "Results", n_planned: int) -> dict[str, Any]:
    from engine.hardware import choose_device, hardware_info

    plan = results.plan
    infos = [run.info for run in results.runs.values()]
    device = choose_device("cpu" if infos[0]["device"] == "cpu" else "auto")
    configs = [run.config.model_dump(mode="json") for run in results.runs.values()]
    values = {setting: _distinct([c[setting] for c in configs]) for setting in configs[0]}
    seconds = results.epochs.groupby("run")["seconds"].sum()
    return {
        "experiment": name,
        "question": EXPERIMENTS[name].question,
        "form": plan.form,
        "seeds": list(plan.seeds),
        "n_runs": len(configs),
        "n_missing": n_planned - len(configs),
        "n_train": sorted({info["data"]["n"] for info in infos}),
        "networks": sorted({info["network"] for info in infos}),
        "precision": sorted({info["precision"] for info in infos}),
        "seconds_a_run": round(float(seconds.median()), 2),
        "machine": hardware_info(device),
        "trained_on_commits": sorted({str(info["machine"]["commit"]) for info in infos}),
        "settings": {setting: v[0] for setting, v in values.items() if len(v) == 1},
        "varied": {setting: v for setting, v in values.items() if len(v) > 1},
    }


def _distinct(values: list[Any]) -> list[Any]:
    return [value for row, value in enumerate(values) if value not in values[:row]]
