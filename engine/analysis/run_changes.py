"""What sets a run apart: changes while it trained, its fork, and settings beside the preset's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import LIVE, METHOD_DEFAULTS, METHODS, RunConfig, configure, registry
from engine.config.rules import unused_settings
from engine.errors import ConfigError, StoreError
from engine.runs.folder import NOT_RECORDED, RECORDED_SETTINGS, RunFolder

# settings that say where a run is computed and what it keeps
MACHINE_SETTINGS = {
    "device", "precision", "compile", "threads", "state_interval", "checkpoint_every", "panel_size",
    "deterministic", "test_interval",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A setting that was changed while a run trained: the first epoch with the new value."""

    epoch: int
    setting: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Fork:
    """Where a fork began: its parent's name, the last epoch they share, and what it changed."""

    parent: str
    epoch: int
    settings: dict[str, tuple[Any, Any]]  # setting -> the parent's value in that epoch, the fork's


def first_settings(config: RunConfig, records: Sequence[dict[str, Any]]) -> RunConfig:
    """The settings of a run's first epoch; a live one may have been changed before it."""
    if not records:
        return config
    try:
        return config.changed(**_live(records[0]))
    except ConfigError:  # of a recorded loop
        return config


def live_changes(config: RunConfig, records: Sequence[dict[str, Any]]) -> list[Change]:
    """The live settings that were changed after a run's first epoch, as far as it uses them."""
    unused = unused_settings(config)
    return [
        Change(after["epoch"], name, old, new)
        for before, after in zip(records, records[1:], strict=False)
        for name, new in _live(after).items()
        if name not in unused and (old := before["settings"].get(name, new)) != new
    ]


def fork_of(run: RunFolder) -> Fork | None:
    """Where a fork began; None for other runs. Without its parent's folder no change is known."""
    recorded = run.info["parent"]
    if recorded is None:
        return None
    changed: dict[str, tuple[Any, Any]] = {}
    if (parent := run.parent) is not None:
        try:
            before = settings_at(parent, recorded["epoch"])
            changed = {
                name: (values[0], values[1])
                for name, values in differing_settings(
                    [settings_of(before), settings_of(run.config)]
                ).items()
            }
        except (ConfigError, StoreError):  # a damaged parent
            changed = {}
    return Fork(Path(recorded["run"]).name, recorded["epoch"], changed)


def settings_at(run: RunFolder, epoch: int) -> RunConfig:
    """The settings that held in an epoch of a run. Raises StoreError, ConfigError."""
    for record in run.epochs:
        if record["epoch"] == epoch:
            return run.config.changed(**_live(record))
    raise StoreError(f"epoch = {epoch}: {run.folder.name} has no such epoch")


def beside_preset(config: RunConfig) -> dict[str, Any]:
    """The settings of a known method that are not those of its data set's preset.

    Data, noise, seed and where it is computed are left out, and so is what has no effect.
    """
    if config.method not in METHODS:
        return {}
    named = dict(dataset=config.dataset, noise=config.noise, noise_matrix=config.noise_matrix)
    try:
        usual = configure(method=config.method, rate=config.rate, **named)  # type: ignore[arg-type]
    except ConfigError:
        return {}
    skip = {"limit", "seed", "noise_seed", "data_seed", *METHOD_DEFAULTS, *MACHINE_SETTINGS}
    skip |= unused_settings(config)
    own, values = config.model_dump(), usual.model_dump()
    return {name: own[name] for name in own if name not in skip and own[name] != values[name]}


def settings_of(config: RunConfig) -> dict[str, Any]:
    """All settings by name; an unset noise_seed is resolved to the seed."""
    settings = config.model_dump()
    if settings["noise_seed"] is None:
        settings["noise_seed"] = settings["seed"]
    return settings


def settings_in_use(run: RunFolder) -> dict[str, Any]:
    """The settings that have an effect on a run; of a recorded loop those passed to the recorder.

    What a recorded loop did not say is NOT_RECORDED.
    """
    settings = settings_of(run.config)
    if run.is_recorded:
        usual = RunConfig().model_dump() | RECORDED_SETTINGS
        for name in settings.keys() - {"dataset", "noise", "epochs", "loss", "seed"}:
            if settings[name] == usual.get(name):
                settings[name] = NOT_RECORDED
        return settings
    unused = unused_settings(run.config)
    return {name: value for name, value in settings.items() if name not in unused}


def differing_settings(
    settings: list[dict[str, Any]], *, ignore: Iterable[str] = ()
) -> dict[str, list[Any]]:
    """Settings that differ between runs: name -> their values, in the order of the runs.

    Only runs that have a setting are compared in it: the others' value is None, and a setting that
    fewer than two runs have is left out.
    """
    skip = MACHINE_SETTINGS | set(ignore)
    names = dict.fromkeys(name for one in settings for name in one if name not in skip)
    differing = {}
    for name in names:
        values = [one[name] for one in settings if name in one]
        if any(value != values[0] for value in values):
            differing[name] = [one.get(name) for one in settings]
    return differing


def _live(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record["settings"][name] for name in LIVE if name in record["settings"]}


def in_words(setting: str, value: Any = "") -> str:
    """A setting, and its value if given, in words: "K 20", "learning rate 0.05", "24 epochs"."""
    if isinstance(value, bool) or value is None:
        value = {True: "on", False: "off", None: "none"}[value]
    elif isinstance(value, float):
        value = f"{value:g}"
    elif isinstance(value, list | tuple):
        value = "of its own"
    name = "K" if setting == "k" else setting.replace("_", " ")
    words = registry.in_words(str(value))
    return f"{words} {name}".strip() if setting == "epochs" else f"{name} {words}".strip()


def change_in_words(change: Change) -> str:
    """A change during the training: "alpha 0.8 → 0 at epoch 5"."""
    before = in_words(change.setting, change.before)
    after = in_words("", change.after)
    return f"{before} → {after} at epoch {change.epoch}"


def fork_in_words(fork: Fork) -> str:
    """Where a fork began, and with what: "forked after epoch 5: K 20"."""
    words = [in_words(name, new) for name, (_, new) in fork.settings.items()]
    return f"forked after epoch {fork.epoch}" + (f": {', '.join(words)}" if words else "")
