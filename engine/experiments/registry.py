"""All experiments by name, and one of them from its runs to its files."""

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from engine.config import RunConfig
from engine.errors import ConfigError
from engine.experiments import accuracy, bimodality, detection, representation
from engine.experiments.base import Experiment, Findings, Material, Plan, gather
from engine.experiments.figures import FIGURES, save
from engine.files import write_json
from engine.hardware import choose_device, hardware_info
from engine.runs.table import save_table

_FOUND = (
    accuracy.EXPERIMENTS
    | representation.EXPERIMENTS
    | bimodality.EXPERIMENTS
    | detection.EXPERIMENTS
)
ORDER = (
    "baseline", "mixnn-k1", "full", "representation", "mixture", "ablation", "noise-kinds",
    "methods", "detection",
)  # fmt: skip
EXPERIMENTS: dict[str, Experiment] = {name: _FOUND[name] for name in ORDER}
DIGITS = 5  # of the numbers in a table, after the point
KEPT_ROWS = 5000  # longer tables are pictures of samples: drawn, not written


def named(name: str) -> Experiment:
    """The experiment of this name. Raises ConfigError."""
    if name not in EXPERIMENTS:
        raise ConfigError(f"experiment = {name!r}: allowed are {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def configs_of(name: str, plan: Plan, chosen: Iterable[str]) -> list[RunConfig]:
    """The runs of an experiment. Raises ConfigError, also where it sets a chosen knob itself.

    chosen: names of the plan's knobs that a person asked for.
    """
    asked = named(name)
    if asked.needs and find_spec(asked.needs) is None:
        raise ConfigError(f"experiment {name} needs {asked.needs}: pip install {asked.needs}")
    configs = asked.configs(plan)
    for knob in chosen:
        value = getattr(plan.preset(), knob)
        if not any(getattr(config, knob) == value for config in configs):
            raise ConfigError(
                f"{knob} = {value!r}: the experiment {name} sets it itself, leave it out"
            )
    return configs


def answer(name: str, plan: Plan, configs: list[RunConfig], root: Path, out: Path) -> Findings:
    """Read the runs that stand under root and write what they say into out.

    NAME-DATASET.json: question, answers, settings, machine and commits; NAME-DATASET.TABLE.csv;
    figures beside them. Raises StoreError, and ConfigError where no run has come to its end.
    """
    material = gather(plan, configs, root)
    if not material.runs:
        raise ConfigError(f"experiment {name}: none of its {len(configs)} runs has come to its end")
    findings = named(name).read(material)
    stem = f"{name}-{plan.dataset.partition(':')[0]}"
    written = {}
    for table, frame in findings.tables.items():
        if len(frame) <= KEPT_ROWS:
            path = out / f"{stem}.{table}.csv"
            save_table(_rounded(frame), path)
            written[table] = path.name
    pictures, note = save(FIGURES[name](findings.tables), out, stem)
    if note:
        print(note, file=sys.stderr)
    told = _about(name, plan, material, len(configs))
    told |= {
        "answers": findings.answers,
        "tables": written,
        "figures": [path.name for path in pictures],
    }
    write_json(out / f"{stem}.json", told, indent=1)
    return findings


def _about(name: str, plan: Plan, material: Material, n_asked: int) -> dict[str, Any]:
    infos = [run.info for run in material.runs.values()]
    device = choose_device("cpu" if infos[0]["device"] == "cpu" else "auto")
    commits = sorted({str(info["machine"]["commit"]) for info in infos})
    configs = [run.config.model_dump(mode="json") for run in material.runs.values()]
    values = {knob: _distinct([c[knob] for c in configs]) for knob in configs[0]}
    seconds = material.epochs.groupby("run")["seconds"].sum()
    return {
        "experiment": name,
        "question": named(name).question,
        "form": plan.form,
        "seeds": list(plan.seeds),
        "n_runs": len(configs),
        "n_missing": n_asked - len(configs),
        "n_train": sorted({info["data"]["n"] for info in infos}),
        "networks": sorted({info["network"] for info in infos}),
        "precision": sorted({info["precision"] for info in infos}),
        "seconds_a_run": round(float(seconds.median()), 2),
        "machine": hardware_info(device),
        "trained_on_commits": commits,
        "settings": {knob: v[0] for knob, v in values.items() if len(v) == 1},
        "varied": {knob: v for knob, v in values.items() if len(v) > 1},
    }


def _distinct(values: list[Any]) -> list[Any]:
    return [value for row, value in enumerate(values) if value not in values[:row]]


def _rounded(frame):
    floats = frame.select_dtypes(np.floating).columns
    return frame.assign(**{name: frame[name].round(DIGITS) for name in floats})
