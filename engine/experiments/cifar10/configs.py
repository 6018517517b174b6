"""Which runs the headline asks for, and the data they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from engine.config import METHODS, PRESET_ALIASES, RunConfig, configure
from engine.data import Data
from engine.errors import ConfigError, NoiseError
from engine.hardware import choose_device
from engine.runs.naming import run_name
from engine.training.noisy_labels import make_noisy_labels
from engine.training.state import load_data, validate_k

PRESETS = ("reference", "cifar10-fast", "cifar10-best")
NOISES: dict[str, dict[str, Any]] = {
    **{f"symmetric{r}": dict(noise="symmetric", rate=r) for r in (0.8, 0.2, 0.4, 0.6)},
    "asymmetric0.4": dict(noise="asymmetric", rate=0.4),
    **{kind: dict(noise="human", human_labels=kind) for kind in ("worse", "aggre")},
}
# settings that rows choose themselves
ROW_FIELDS = ("seed", "noise", "rate", "noise_matrix", "human_labels")
BASELINES = tuple(name for name in METHODS if name != "mixnn")
# Ingredients that an ablation sets back to the plain default where a preset has them otherwise.
INGREDIENTS = (
    "loss", "sharpen", "align", "weight_ema", "flip_average", "cutout", "jitter", "nesterov",
    "schedule", "neighbor_scope", "early_mixing", "early_loss", "early_extra", "loss_history",
    "correction_interval", "correction_source", "warmup_shuffle", "warmup_augment",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    preset: str
    noise: str
    name: str  # mixnn, a method beside it, or mixnn and what it lacks
    kind: str  # whole, beside or ablation
    configs: tuple[RunConfig, ...]  # a run per seed


def rows(
    presets: Sequence[str],
    noises: Sequence[str],
    *,
    baselines: Sequence[str] = (),
    ablation: bool = False,
    seeds: Sequence[int] = (0,),
    **knobs: Any,
) -> list[Row]:
    """The table's lines: each preset at each noise, whole, then what is compared with it.

    baselines: methods on the preset's network and budget. ablation: the preset without each of its
    ingredients in turn. knobs: over what preset, method and noise say; dataset is cifar10 without
    one. Of a run's networks the first and the newest are kept. Raises ConfigError.
    """
    presets = [PRESET_ALIASES.get(preset, preset) for preset in presets]
    _check("preset", presets, PRESETS)
    _check("noise", noises, [*NOISES, "all"])
    noises = [n for name in noises for n in (NOISES if name == "all" else [name])]
    _check("noise", noises, NOISES)
    _check("beside", baselines, BASELINES, least=0)
    _check("seed", seeds, seeds)
    knobs = {"dataset": "cifar10"} | knobs
    made = []
    for preset, noise in product(presets, noises):

        def configs(method: str, preset=preset, noise=noise) -> tuple[RunConfig, ...]:
            own = knobs | NOISES[noise]
            found = [configure(method=method, preset=preset, **own, seed=seed) for seed in seeds]
            kept = {} if "state_interval" in knobs else {"state_interval": found[0].epochs}
            return tuple(config.changed(**kept) for config in found)

        whole = configs("mixnn")
        made.append(Row(preset, noise, "mixnn", "whole", whole))
        made += [Row(preset, noise, method, "beside", configs(method)) for method in baselines]
        for name, lost in ingredients(whole[0]).items() if ablation else ():
            less = tuple(config.changed(**lost) for config in whole)
            made.append(Row(preset, noise, f"mixnn, {name}", "ablation", less))
    return made


def ingredients(config: RunConfig) -> dict[str, dict[str, Any]]:
    """What can be taken from these settings, one thing at a time: its name -> the knobs without it.

    Partners are made random by the early mixing's lasting to the end, which leaves the early loss
    as it is. Only what changes the settings is named.
    """
    default = RunConfig()
    less = {
        "random partners": dict(early_mixing="mixup", early_extra=config.epochs),
        "equal weights": dict(weighting="equal"),
        "no correction": dict(correction="none"),
    }
    for knob in INGREDIENTS:
        value = getattr(default, knob)
        less[f"{knob} {str(value).lower()}"] = {knob: value}
    return {name: knobs for name, knobs in less.items() if config.changed(**knobs) != config}


def load(rows: Sequence[Row], *, lenient: bool = False) -> tuple[Data, list[Row], list[str]]:
    """The data set of all rows on its device, the rows that can be run on it, and notes.

    lenient: leave out, with a note, noise that the data set cannot have, such as labels of people
    that are not there. Raises DataError, DeviceError, ConfigError, and NoiseError if not lenient.
    """
    first = rows[0].configs[0]
    device = choose_device(first.device)
    data = load_data(first)
    notes, missing = [], set()
    for noise, row in {row.noise: row for row in rows}.items():
        try:
            make_noisy_labels(row.configs[0], data)
        except NoiseError as error:
            if not lenient:
                raise
            missing.add(noise)
            notes.append(f"{noise} is left out: {error}")
    rows = [row for row in rows if row.noise not in missing]
    for row in rows:
        validate_k(row.configs[0], data.n)
    return data.to(device), rows, notes


def configs_of(rows: Sequence[Row]) -> list[RunConfig]:
    """The runs of all rows in the order in which they are made: each preset's first seed first."""
    presets = list(dict.fromkeys(row.preset for row in rows))
    seeds = range(len(rows[0].configs))
    ordered = [
        row.configs[seed]
        for preset, seed in product(presets, seeds)
        for row in rows
        if row.preset == preset
    ]
    return list({run_name(config): config for config in ordered}.values())


def _check(name: str, given: Sequence[Any], allowed: Sequence[Any], least: int = 1) -> None:
    """Raise ConfigError for a value that is not allowed, one given twice, or too few."""
    for value in given:
        if value not in allowed:
            raise ConfigError(f"{name} = {value!r}: allowed are {', '.join(map(str, allowed))}")
    if len(given) < least:
        raise ConfigError(f"{name} = []: allowed is one value or more")
    if len(set(given)) < len(given):
        raise ConfigError(f"{name} = {list(given)}: each value once")
