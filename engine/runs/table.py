"""Runs as one tidy table, a row per run and epoch, and its file."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError, StoreError
from engine.files import frame_csv
from engine.runs.folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

# columns of whole numbers that may be missing
NULLABLE_INTEGERS = ("limit", "image_size", "noise_seed", "epoch")


def table(folders: Sequence[Path | str]) -> "pd.DataFrame":
    """One tidy pandas table of runs: a row per run and epoch.

    Columns: run, state, every setting (k, alpha and the other live ones as the epoch used them),
    rate_actual, n_train, network, epoch, phase, seconds, every metric (learning_rate_used is the
    scheduled value of that setting), and the mixture's means, stds and weights. A run without an
    epoch has one row, whose epoch is missing. Raises StoreError.
    """
    import pandas as pd  # late: training needs none

    frame = pd.DataFrame([row for folder in folders for row in _rows(RunFolder(folder))])
    for name in frame.columns:
        if name in NULLABLE_INTEGERS:
            frame[name] = frame[name].astype("Int64")
        elif frame[name].isna().all():
            frame[name] = frame[name].astype(float)
    return frame


def save_table(frame: "pd.DataFrame", path: Path | str) -> None:
    """Write a table whole, as .parquet or .csv by its name. Raises ConfigError or StoreError."""
    path = Path(path)
    check_table_name(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            frame_csv(frame, temporary)
        else:
            frame.to_parquet(temporary, index=False)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error}") from error


def check_table_name(path: Path | str) -> None:
    """Raise ConfigError for a file name whose format `save_table` does not know."""
    if Path(path).suffix not in (".csv", ".parquet"):
        raise ConfigError(f"table = {str(path)!r}: allowed are names ending in .csv and .parquet")


def _rows(run: RunFolder) -> Iterator[dict[str, Any]]:
    settings = run.config.model_dump(mode="json")
    if settings["noise_matrix"] is not None:
        settings["noise_matrix"] = json.dumps(settings["noise_matrix"])
    of_run = {
        "run": run.folder.name,
        "state": run.status["state"],
        "method": run.config.method,
        **settings,
        "network": run.info["network"],
        "n_train": run.info["data"]["n"],
        "rate_actual": run.info["rate_actual"],
    }
    records = run.epochs
    if not records:
        yield of_run | {"epoch": None}
    for record in records:
        mixture = record["mixture"]
        of_epoch = {
            "epoch": record["epoch"],
            "phase": record["phase"],
            "seconds": sum(record["seconds"].values()),
            # the setting learning_rate differs from the scheduled rate
            **{f"{n}_used" if n in settings else n: v for n, v in record["metrics"].items()},
            **{
                f"mixture_{name}_{part}": value
                for name in ("means", "stds", "weights")
                for part, value in zip(("low", "high"), mixture[name], strict=True)
            },
            "mixture_warning": mixture["warning"],
        }
        yield of_run | record["settings"] | of_epoch
