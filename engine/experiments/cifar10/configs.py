"""The runs of the headline benchmark, and the data they share."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from engine.config import METHODS, PRESET_ALIASES, RunConfig, configure, validate_k
from engine.data import Data, load_data
from engine.errors import ConfigError, NoiseError
from engine.hardware import choose_device
from engine.runs.naming import run_name
from engine.training.noisy_labels import make_noisy_labels

PRESETS = ("reference", "cifar10-fast", "cifar10-best")
NOISES: dict[str, dict[str, Any]] = {
    **{f"symmetric{r}": dict(noise="symmetric", rate=r) for r in (0.8, 0.2, 0.4, 0.6)},
    "asymmetric0.4": dict(noise="asymmetric", rate=0.4),
    **{kind: dict(noise="human", human_labels=kind) for kind in ("worse", "aggre")},
}
# settings that the rows determine
ROW_FIELDS = ("seed", "noise", "rate", "noise_matrix", "human_labels")
BASELINES = tuple(name for name in METHODS if name != "mixnn")
# Ingredients that an ablation resets to the plain default where the preset differs.
INGREDIENTS = (
    "loss", "sharpen", "align", "weight_ema", "flip_average", "cutout", "jitter", "nesterov",
    "schedule", "neighbor_scope", "early_mixing", "early_loss", "early_extra", "loss_history",
    "correction_interval", "correction_source", "warmup_shuffle", "warmup_augment",
    "unmixed_forward",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    preset: str
    noise: str
    name: str  # mixnn, a baseline, or mixnn without an ingredient
    kind: str  # "whole", "beside" (a baseline) or "ablation"; stored in the results
    configs: tuple[RunConfig, ...]  # a run per seed


def rows(
    presets: Sequence[Any],
    noises: Sequence[Any],
    *,
    baselines: Sequence[Any] = (),
    ablation: bool = False,
    seeds: Sequence[Any] = (0,),
    **settings: Any,
) -> list[Row]:
    """The table's lines: each preset with each noise, followed by its baselines and ablations.

    baselines: methods with the preset's network and epochs. ablation: the preset without each of
    its ingredients in turn. settings: override preset, method and noise; dataset is cifar10 by
    default. A run keeps its first and its newest checkpoint. Raises ConfigError.
    """
    presets = [PRESET_ALIASES.get(preset, preset) for preset in presets]
    _check("preset", presets, PRESETS)
    _check("noise", noises, [*NOISES, "all"])
    noises = [n for name in noises for n in (NOISES if name == "all" else [name])]
    _check("noise", noises, NOISES)
    _check("baselines", baselines, BASELINES, least=0)
    _check("seed", seeds, seeds)
    settings = {"dataset": "cifar10"} | settings
    table = []
    for preset, noise in product(presets, noises):

        def configs(method: str, preset=preset, noise=noise) -> tuple[RunConfig, ...]:
            own = settings | NOISES[noise]
            seeded = [configure(method=method, preset=preset, **own, seed=seed) for seed in seeds]
            kept = {} if "state_interval" in settings else {"state_interval": seeded[0].epochs}
            return tuple(config.changed(**kept) for config in seeded)

        whole = configs("mixnn")
        table.append(Row(preset, noise, "mixnn", "whole", whole))
        table += [Row(preset, noise, method, "beside", configs(method)) for method in baselines]
        for name, reset in ingredients(whole[0]).items() if ablation else ():
            ablated = tuple(config.changed(**reset) for config in whole)
            table.append(Row(preset, noise, f"mixnn, {name}", "ablation", ablated))
    return table


def ingredients(config: RunConfig) -> dict[str, dict[str, Any]]:
    """What an ablation can remove: name of the ablation -> settings that remove the ingredient.

    Partners become random by an early mixing that lasts to the end, which does not change the early
    loss. Ingredients that these settings do not have are left out.
    """
    default = RunConfig()
    without: dict[str, dict[str, Any]] = {
        "random partners": dict(early_mixing="mixup", early_extra=config.epochs),
        "equal weights": dict(weighting="equal"),
        "no correction": dict(correction="none"),
    }
    for setting in INGREDIENTS:
        value = getattr(default, setting)
        without[f"{setting} {str(value).lower()}"] = {setting: value}
    return {name: reset for name, reset in without.items() if config.changed(**reset) != config}


def load(rows: Sequence[Row], *, lenient: bool = False) -> tuple[Data, list[Row], list[str]]:
    """The data set on its device, the rows that are possible on it, and notes.

    lenient: leave out impossible noise, such as missing human labels, with a note. Raises
    DataError, DeviceError, ConfigError, and NoiseError if not lenient.
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
    """The runs of all rows in the order of training: the first seed of a preset first."""
    presets = list(dict.fromkeys(row.preset for row in rows))
    seeds = range(len(rows[0].configs))
    ordered = [
        row.configs[seed]
        for preset, seed in product(presets, seeds)
        for row in rows
        if row.preset == preset
    ]
    return list({run_name(config): config for config in ordered}.values())


def _check(name: str, given: Sequence[Any], allowed: Collection[Any], least: int = 1) -> None:
    """Raise ConfigError for a value that is not allowed, a duplicate, or too few values."""
    for value in given:
        if value not in allowed:
            raise ConfigError(f"{name} = {value!r}: allowed are {', '.join(map(str, allowed))}")
    if len(given) < least:
        raise ConfigError(f"{name} = []: allowed is one value or more")
    if len(set(given)) < len(given):
        raise ConfigError(f"{name} = {list(given)}: each value once")
