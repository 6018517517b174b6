"""Names of run folders: short ones for people, exact ones for sweeps."""

import hashlib
import json
from pathlib import Path

from engine.config import NETWORK_ALIASES, RunConfig, registry
from engine.data.registry import OWN

# settings that say where a run is computed and which checkpoints it keeps, but change no result
NOT_IN_NAME = ("device", "threads", "state_interval", "checkpoint_every")


def short_name(config: RunConfig) -> str:
    """digits-mixnn-symmetric0.4-seed0: the settings that most runs differ in, as a file name."""
    family, _, path = config.dataset.partition(":")
    own = Path(path).stem if family in OWN else path  # shapes:500 keeps its number
    dataset = "".join(c if c.isalnum() else "-" for c in f"{family}:{own}".rstrip(":"))[:40]
    method = "".join(c if c.isalnum() or c in "_-." else "" for c in config.method[:60])
    noise = registry.in_words(config.noise).removeprefix("custom: ")
    return f"{dataset}-{method}-{noise}{config.rate:g}-seed{config.seed}"


def free_folder(config: RunConfig, root: Path) -> Path:
    """root/digits-mixnn-symmetric0.4-seed0, or the next free folder: ...-2, ...-3."""
    name = short_name(config)
    folder, number = root / name, 2
    while folder.exists():
        folder, number = root / f"{name}-{number}", number + 1
    return folder


def run_name(config: RunConfig) -> str:
    """digits-mixnn-symmetric0.4-seed0-3f2a90c1: the folder of exactly these settings.

    The last part is a hash of every setting but those of NOT_IN_NAME. Values at their default are
    left out, so that a new setting does not rename older runs.
    """
    defaults = {name: field.default for name, field in RunConfig.model_fields.items()}
    settings = {
        name: value
        for name, value in config.model_dump(mode="json").items()
        if name not in NOT_IN_NAME and value != defaults[name]
    }
    older = {name: old for old, name in NETWORK_ALIASES.items()}
    if config.network in older:  # folders of older runs keep their names
        settings["network"] = older[config.network]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return f"{short_name(config)}-{digest[:8]}"
