"""Many runs over a grid of settings: refused before the first starts, or brought to their end.

A run's folder is named after its settings, so a run that is there is not made again, whatever grid
asks for it.
"""

import hashlib
import itertools
import json
import math
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from engine.config import LABEL_SETTINGS, NETWORK_ALIASES, RunConfig, configure, unknown
from engine.errors import ConfigError, StoreError
from engine.runs.executors import BUSY, CLAIMS, Cluster, Processes
from engine.runs.folder import RunFolder, short_name
from engine.runs.opened import open_run
from engine.tables import frame_csv
from engine.training.noisy_labels import make_noisy_labels
from engine.training.state import load_data, validate_k

ATTEMPTS = 2  # a run that dies is tried once more
# settings that say where a run is computed and what is kept of it, but change none of its numbers
ASIDE = ("device", "threads", "state_interval", "checkpoint_every")
DATA_SETTINGS = ("dataset", "limit", "image_size", "data_seed")
SLOW_NOISE = ("instance", "margin")  # takes long to make, and no data set is wrong for it
WHOLE = ("limit", "image_size", "noise_seed", "epoch")  # columns of the table that may miss values
MOST = 10_000  # values of a range, runs of a grid


@dataclass(frozen=True)
class Progress:
    """How far a sweep has come."""

    n_runs: int
    n_epochs: int  # of all runs
    runs_done: int  # those that were there at the start among them
    epochs_done: int
    running: tuple[str, ...] = ()  # names of the folders
    retried: tuple[str, ...] = ()  # died once and were started again
    failed: Mapping[str, str] = field(default_factory=dict)  # name -> why, after the last attempt


def grid(axes: Mapping[str, Sequence[Any]]) -> list[RunConfig]:
    """Settings of every combination of the axes' values, the last axis turning fastest.

    axes: setting -> its values; `method` and `preset` are axes like any other, see
    `config.configure`. Of a run's networks the first and the newest are kept, unless state_interval
    is an axis. Raises ConfigError for an unknown setting, an empty list, a value given twice and a
    combination that is not allowed.
    """
    for name, values in axes.items():
        if name not in (*RunConfig.model_fields, "method", "preset"):
            raise unknown(name, list(values))
        if not len(values):
            raise ConfigError(f"{name} = []: allowed is one value or more")
        if any(value in values[:row] for row, value in enumerate(values)):
            raise ConfigError(f"{name} = {list(values)}: each value once")
    if (n_runs := math.prod(map(len, axes.values()))) > MOST:
        raise ConfigError(f"a grid of {n_runs} runs: allowed are {MOST}")
    made: dict[str, RunConfig] = {}
    for values in itertools.product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        varied = ", ".join(f"{name} {settings[name]}" for name in axes if len(axes[name]) > 1)
        try:
            config = configure(**settings)
            if "state_interval" not in axes:
                config = config.changed(state_interval=config.epochs)
        except ConfigError as error:
            raise ConfigError(f"{error} (at {varied})" if varied else str(error)) from None
        if run_name(config) in made:
            raise ConfigError(f"{varied}: another combination makes the same run")
        made[run_name(config)] = config
    return list(made.values())


def values(text: str) -> list[int | float | str]:
    """The values that a text lists: "1,2,5", "1:20" (whole numbers, 20 too) or "0:0.9:0.3".

    What is no number stays text. Raises ConfigError for a range without end or with a wrong step.

    >>> values("1:3,10")
    [1, 2, 3, 10]
    >>> values("0:0.9:0.3")
    [0, 0.3, 0.6, 0.9]
    """
    found: list[int | float | str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            bounds = [Decimal(word) for word in part.split(":")]
        except InvalidOperation:  # digits, shapes:500, npz:/path
            found.append(part)
            continue
        start, stop, step = (*bounds, *(bounds[0], Decimal(1))[len(bounds) - 1 :])[:3]
        finite = all(bound.is_finite() for bound in bounds)
        if len(bounds) > 3 or not finite or step <= 0 or not start <= stop < start + step * MOST:
            raise ConfigError(
                f"{part!r} is no range: allowed are start:stop and start:stop:step with a step "
                f"above 0, both ends included, and {MOST} values"
            )
        numbers = [start + row * step for row in range(int((stop - start) / step) + 1)]
        found += [int(n) if n == n.to_integral_value() else float(n) for n in numbers]
    return found


def run_name(config: RunConfig) -> str:
    """digits-mixnn-symmetric0.4-seed0-3f2a90c1: what these settings' folder is called.

    The last part changes with every setting but those of ASIDE; values at their default are left
    out, so that a new setting leaves old runs where they are.
    """
    defaults = {name: field.default for name, field in RunConfig.model_fields.items()}
    settings = {
        name: value
        for name, value in config.model_dump(mode="json").items()
        if name not in ASIDE and value != defaults[name]
    }
    older = {name: old for old, name in NETWORK_ALIASES.items()}
    if config.network in older:  # folders of older runs keep their names
        settings["network"] = older[config.network]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return f"{short_name(config)}-{digest[:8]}"


def check(configs: Sequence[RunConfig]) -> None:
    """Raise what the first of these runs that cannot start would raise: no file, K too large, ...

    Each data set is loaded once, and its labels are spoiled once in each way.
    """
    by_data: dict[tuple, list[RunConfig]] = {}
    for config in configs:
        by_data.setdefault(_values(config, DATA_SETTINGS), []).append(config)
    for alike in by_data.values():
        data = load_data(alike[0])
        for config in alike:
            validate_k(config, data.n)
        for config in {_values(config, LABEL_SETTINGS): config for config in alike}.values():
            slow = config.noise in SLOW_NOISE
            make_noisy_labels(config.changed(noise="symmetric") if slow else config, data)


def sweep(
    configs: Sequence[RunConfig],
    root: Path | str,
    *,
    jobs: int | None = None,
    ray: str | None = None,
) -> Iterator[Progress]:
    """Bring every run of `configs` to its end in folders under root, and yield how far it is.

    Runs that are done are skipped, those begun are resumed, those that die are tried once more;
    two sweeps over one root share the work. jobs: runs at once, by default as many as cores and
    threads allow. ray: address of a Ray cluster ("auto", "local" for one on this machine,
    "host:port"), whose machines all have this project and see root; None: runs are processes of
    this machine, so a script calls this under `if __name__ == "__main__"`. Closing the generator
    stops what is under way; a later call goes on. Raises before anything starts what `check`
    raises, ConfigError for jobs or a cluster that cannot be, and StoreError for a root that cannot
    be written or that holds other runs under these names.
    """
    check(configs)
    root = Path(root).resolve()
    wanted = {run_name(config): config for config in configs}
    epochs = {name: _n_epochs(root / name, name) for name in wanted}
    backend = Cluster(ray, jobs, configs) if ray else Processes(jobs, configs)
    waiting = deque((name, 1) for name in wanted if not _is_done(root / name))
    attempts: dict[str, int] = {}
    failed: dict[str, str] = {}
    running: dict[str, Any] = {}

    def progress() -> Progress:
        unfinished = {name for name, _ in waiting} | running.keys() | failed.keys()
        epochs.update({name: _n_epochs(root / name, name) for name in running})
        return Progress(
            n_runs=len(wanted),
            n_epochs=sum(config.epochs for config in wanted.values()),
            runs_done=len(wanted.keys() - unfinished),
            epochs_done=sum(epochs.values()),
            running=tuple(running),
            retried=tuple(name for name, attempt in attempts.items() if attempt > 1),
            failed=dict(failed),
        )

    try:
        _make(root)
        yield progress()
        while waiting or running:
            while waiting and backend.has_room(len(running)):
                name, attempts[name] = waiting.popleft()
                running[name] = backend.start(wanted[name], root / name)
            for name in backend.ended(running):
                message = backend.message(running.pop(name))
                epochs[name] = _n_epochs(root / name, name)
                if _is_done(root / name):
                    continue
                if message == BUSY:
                    waiting.append((name, attempts[name]))
                elif attempts[name] < ATTEMPTS:
                    waiting.append((name, attempts[name] + 1))
                else:
                    failed[name] = message or f"it ended well, but not in {root / name}"
            yield progress()
    finally:
        backend.stop(list(running.values()))


def table(folders: Sequence[Path | str]):
    """One tidy pandas table of runs: a row per run and epoch.

    Columns: run, state, every setting (k, alpha and the other live ones as the epoch used them),
    rate_actual, n_train, network, epoch, phase, seconds, every metric (learning_rate_used is what
    the schedule made of that setting), and the mixture's means, stds and weights. A run without an
    epoch has one row, whose epoch is missing. Raises StoreError.
    """
    import pandas as pd  # late: a run needs none

    frame = pd.DataFrame([row for folder in folders for row in _rows(RunFolder(folder))])
    for name in frame.columns:
        if name in WHOLE:  # numbers that may be missing stay whole
            frame[name] = frame[name].astype("Int64")
        elif frame[name].isna().all():
            frame[name] = frame[name].astype(float)
    return frame


def save_table(frame, path: Path | str) -> None:
    """Write a table whole, as its name ends: .parquet or .csv. Raises ConfigError or StoreError."""
    path = Path(path)
    check_table_name(path)
    beside = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            frame_csv(frame, beside)
        else:
            frame.to_parquet(beside, index=False)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error}") from error


def check_table_name(path: Path | str) -> None:
    """Raise ConfigError where `save_table` would not know the format."""
    if Path(path).suffix not in (".csv", ".parquet"):
        raise ConfigError(f"table = {str(path)!r}: allowed are names ending in .csv and .parquet")


# --- what stands in folders


def _values(config: RunConfig, names: Sequence[str]) -> tuple:
    return tuple(getattr(config, name) for name in names)


def _make(root: Path) -> None:
    try:
        (root / CLAIMS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{root} cannot be written: {error}") from None


def _is_done(folder: Path) -> bool:
    return (folder / "config.json").exists() and open_run(folder).status["state"] == "done"


def _n_epochs(folder: Path, name: str) -> int:
    """Epochs of the run called so; 0 without one. Raises StoreError where it is another one."""
    if not (folder / "config.json").exists():
        return 0
    run = open_run(folder)
    if run_name(run.config) != name:
        raise StoreError(f"{folder} holds a run of other settings: move it away")
    return len(run.epochs)


def _rows(run: RunFolder) -> Iterator[dict[str, Any]]:
    settings = run.config.model_dump(mode="json")
    if settings["noise_matrix"] is not None:
        settings["noise_matrix"] = json.dumps(settings["noise_matrix"])
    info = run.info
    about = {
        "run": run.folder.name,
        "state": run.status["state"],
        "method": run.config.method,
        **settings,
        "network": info["network"],
        "n_train": info["data"]["n"],
        "rate_actual": info["rate_actual"],
    }
    records = run.epochs
    if not records:
        yield about | {"epoch": None}
    for record in records:
        mixture = record["mixture"]
        yield (
            about
            | record["settings"]
            | {
                "epoch": record["epoch"],
                "phase": record["phase"],
                "seconds": sum(record["seconds"].values()),
                # the setting learning_rate is not the rate that its schedule has come to
                **{f"{n}_used" if n in settings else n: v for n, v in record["metrics"].items()},
                **{
                    f"mixture_{name}_{part}": value
                    for name in ("means", "stds", "weights")
                    for part, value in zip(("low", "high"), mixture[name], strict=True)
                },
                "mixture_warning": mixture["warning"],
            }
        )
