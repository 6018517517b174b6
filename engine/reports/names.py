"""How runs and data sets are called where others read it."""

from pathlib import Path

from engine.charts.theme import METHODS
from engine.runs.folder import RunFolder

NAMED = ("k", "alpha", "rate", "noise", "network", "epochs", "seed", "noise_seed")


def titles(*runs: RunFolder) -> list[str]:
    """A title for each run: its method. Where methods are equal, with the first two settings of
    NAMED that differ, such as "MixNN, K 5"; without one, with the names of the folders.
    """
    configs = [run.config for run in runs]
    methods = [METHODS.get(config.method, config.method) for config in configs]
    if len({*methods}) == len(runs):
        return methods
    differing = [name for name in NAMED if len({getattr(config, name) for config in configs}) > 1]
    if not differing:
        pairs = zip(methods, runs, strict=True)
        return [f"{method}, {run.folder.name}" for method, run in pairs]
    return [
        ", ".join([method, *(f"{_words(name)} {getattr(config, name)}" for name in differing[:2])])
        for method, config in zip(methods, configs, strict=True)
    ]


def public_name(dataset: str) -> str:
    """The name of a data set without the folders of its path, which are nobody else's business."""
    family, colon, path = dataset.partition(":")
    return family + colon + Path(path).name


def _words(setting: str) -> str:
    return "K" if setting == "k" else setting.replace("_", " ")
