"""Settings from the command line: text, files and matrices, converted for `configure`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from engine.config import RunConfig
    from engine.errors import ConfigError

BENCH_DATASET = "shapes:50000"  # as many images as CIFAR-10 has


def named(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given; "none" means no value, a matrix is read from its file."""
    from engine.config import RunConfig

    settings = {name: value for name, value in options.items() if value is not None}
    for name, value in settings.items():
        optional = name in RunConfig.model_fields and RunConfig.model_fields[name].default is None
        if optional and value == "none":
            settings[name] = None
    if settings.get("noise_matrix"):
        settings["noise_matrix"] = _read_matrix(Path(str(settings["noise_matrix"])))
        settings.setdefault("noise", "matrix")
    return settings


def from_file(file: str, preset: str | None) -> "RunConfig":
    """The settings in a file: the config.json of a run (or its folder), or settings by name.

    Raises ConfigError, and StoreError for a file that cannot be read.
    """
    from engine.config import configure
    from engine.errors import ConfigError
    from engine.files import read_json

    if preset is not None:
        raise ConfigError(f"preset = {preset!r}: allowed without --config, which has them all")
    path = Path(file) / "config.json" if Path(file).is_dir() else Path(file)
    content = read_json(path)
    settings = content.get("config", content) if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise ConfigError(f"config = {file!r}: allowed is a JSON object of settings")
    try:
        return configure(**{"preset": "plain"} | settings)
    except (ConfigError, TypeError) as error:
        raise ConfigError(f"config = {file!r}: {error}") from None


def axes_from_file(file: str | None, axes: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The settings in a file as axes of one value each, except those that the axes replace."""
    if file is None:
        return {}
    from engine.config import METHOD_DEFAULTS

    replaced = {"state_interval", *axes}
    if "method" in axes:
        replaced |= set(METHOD_DEFAULTS)
    if axes.get("noise", ["matrix"]) != ["matrix"]:
        replaced.add("noise_matrix")
    base = from_file(file, next(iter(axes.get("preset", [])), None))
    return {name: [value] for name, value in base.model_dump().items() if name not in replaced}


def probability(option: str, text: str) -> float | None:
    """A number from MIN_PROBABILITY, the least of proposed changes, to 1; None for "none"."""
    from engine.analysis.label_issues import MIN_PROBABILITY

    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not MIN_PROBABILITY <= value <= 1:
        raise refused(option, text, f"{MIN_PROBABILITY:g} to 1, or none")
    return value


def refused(option: str, value: Any, allowed: str) -> "ConfigError":
    """The error of an option that another one excludes."""
    from engine.errors import ConfigError

    return ConfigError(f"{option} = {value!r}: allowed is {allowed}")


def plain(name: str, values: list[Any]) -> list[Any]:
    """Values of one axis, converted for `configure`."""
    return [named({name: value})[name] for value in values]


def _read_matrix(path: Path) -> list[list[float]]:
    """Rows of numbers from a text file, separated by commas or whitespace."""
    from engine.errors import ConfigError

    try:
        lines = [line.replace(",", " ").split() for line in path.read_text().splitlines()]
        return [[float(word) for word in line] for line in lines if line]
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"noise_matrix = {str(path)!r}: allowed is a text file, one row of numbers per line "
            f"({error})"
        ) from None


def labels(
    dataset: str | None, file: str | None, probabilities: str | None
) -> tuple["np.ndarray", Sequence[str], Sequence[str] | None]:
    """Labels (N,) int64, class names, and ids where known, of a data set or a file.

    Raises ConfigError and DataError.
    """
    from engine.errors import ConfigError

    if probabilities is None:
        raise ConfigError("issues needs a RUN, or --probabilities FILE with --dataset or --labels")
    if (dataset is None) == (file is None):
        raise ConfigError("--probabilities without a RUN needs one of --dataset and --labels")
    if dataset is not None:
        from engine.data import load

        data = load(dataset)
        return data.labels.numpy(), data.classes, data.ids
    from engine.data.features import read_labels

    assert file is not None
    return read_labels(Path(file))
