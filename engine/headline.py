"""The headline: CIFAR-10 with 80 % symmetric noise, what stands beside it, what each part brings.

Its runs go one after the other in this process, on data that is on the device already, so that
their wall time is their own. Knows no command line.
"""

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate, product
from pathlib import Path
from typing import Any

from engine.config import METHODS, ConfigError, RunConfig, configure
from engine.data import Data
from engine.device import choose_device
from engine.noise import NoiseError
from engine.problem import pose
from engine.report import summary
from engine.runner import Runner
from engine.state import check_k, load_data
from engine.store import Run, StoreError, read_json, write_json
from engine.sweep import Progress, run_name

PRESETS = ("reference", "fast", "best")
NOISES: dict[str, dict[str, Any]] = {
    **{f"symmetric{r}": dict(noise="symmetric", rate=r) for r in (0.8, 0.2, 0.4, 0.6)},
    "asymmetric0.4": dict(noise="asymmetric", rate=0.4),
    **{kind: dict(noise="human", human_labels=kind) for kind in ("worse", "aggre")},
}
OWN = ("seed", "noise", "rate", "noise_matrix", "human_labels")  # knobs that rows set themselves
BESIDE = tuple(name for name in METHODS if name != "mixnn")
# Ingredients that an ablation sets back to the plain default where a preset has them otherwise.
INGREDIENTS = (
    "loss", "sharpen", "align", "weight_ema", "flip_average", "cutout", "jitter", "nesterov",
    "schedule", "neighbor_scope", "early_mixing", "early_loss", "early_extra", "loss_history",
    "correction_interval", "correction_source", "warmup_shuffle", "warmup_augment",
)  # fmt: skip
# The abstract of arXiv 2406.16966; the only number of the paper that is at hand.
PAPER = dict(
    source="arXiv 2406.16966", dataset="cifar10", noise="symmetric0.8", method="mixnn",
    network="resnet34", epochs=300, test_accuracy=0.8608,
)  # fmt: skip
JPEG_NOTE = (
    "where the images are JPEG re-encodings (a cifar10.npz made from JPEG files), accuracies "
    "differ slightly from published ones"
)
BEST_NOTE = "best: the highest of all epochs, chosen on test data, to compare with published ones"
FLIP_NOTE = "test accuracy is of the mean prediction for each image and its mirror"
WALL_NOTE = (
    "seconds: computing of all epochs, tests too; wall: from the first epoch's start to the last "
    "one on disk, compilation too, loading data and starting Python not, summed over the sittings "
    "of a resumed run; no value where a sitting was killed"
)
SITTINGS = "sittings.json"  # in a run folder: seconds and epochs of each time that it was taken up
JUDGED = ("test_accuracy_last", "test_accuracy_best", "label_accuracy", "memorized")
POLL = 0.5  # seconds between looks at a run
POLL_EARLY = 0.02  # while it is prepared: its wall time begins where that ends


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    preset: str
    noise: str
    name: str  # mixnn, a method beside it, or mixnn and what it lacks
    kind: str  # whole, beside or ablation
    configs: tuple[RunConfig, ...]  # a run per seed


def rows(
    presets: Sequence[str], noises: Sequence[str], *, beside: Sequence[str] = (),
    ablation: bool = False, seeds: Sequence[int] = (0,), **knobs: Any,
) -> list[Row]:  # fmt: skip
    """The table's lines: each preset at each noise, whole, then what is compared with it.

    beside: methods on the preset's network and budget. ablation: the preset without each of its
    ingredients in turn. knobs: over what preset, method and noise say; dataset is cifar10 without
    one. Of a run's networks the first and the newest are kept. Raises ConfigError.
    """
    _check("preset", presets, PRESETS)
    _check("noise", noises, [*NOISES, "all"])
    noises = [n for name in noises for n in (NOISES if name == "all" else [name])]
    _check("noise", noises, NOISES)
    _check("beside", beside, BESIDE, least=0)
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
        made += [Row(preset, noise, method, "beside", configs(method)) for method in beside]
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
            pose(row.configs[0], data)
        except NoiseError as error:
            if not lenient:
                raise
            missing.add(noise)
            notes.append(f"{noise} is left out: {error}")
    rows = [row for row in rows if row.noise not in missing]
    for row in rows:
        check_k(row.configs[0], data.n)
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


def bring(
    configs: Sequence[RunConfig], root: Path, data: Data, *, minutes: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:  # fmt: skip
    """Bring the runs to their end, one after the other in folders under root; yield how far it is.

    What is there is skipped, what was begun is resumed. minutes: after so many by clock (in
    seconds) the run under way is stopped and the generator ends; a later call goes on, as it does
    after closing the generator. data: what `load` gave. Raises ConfigError, StoreError.
    """
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"minutes = {minutes}: allowed is a number above 0")
    end = float("inf") if minutes is None else clock() + 60 * minutes
    wanted = {run_name(config): config for config in configs}
    epochs = {name: _n_records(root / name) for name in wanted}
    failed: dict[str, str] = {}

    def progress(running: str | None = None) -> Progress:
        return Progress(
            n_runs=len(wanted), n_epochs=sum(config.epochs for config in wanted.values()),
            runs_done=sum(epochs[name] == wanted[name].epochs for name in wanted),
            epochs_done=sum(epochs.values()),
            running=() if running is None else (running,), failed=dict(failed),
        )  # fmt: skip

    yield progress()
    for name, config in wanted.items():
        if epochs[name] == config.epochs:
            continue
        if clock() >= end:
            return
        runner = _runner(config, root / name, data)
        with closing(_sit(runner, lambda: clock() >= end)) as looks:
            for _ in looks:
                epochs[name] = max(epochs[name], runner.status.epoch)
                yield progress(name)
        epochs[name] = _n_records(root / name)
        status = runner.status
        if status.state == "failed":
            failed[name] = status.message if status.foreseen else status.error
        yield progress()


def tell(preset: str, rows: Sequence[Row], root: Path, notes: Sequence[str] = ()) -> dict[str, Any]:
    """What the runs under root say of one preset's rows; plain values, ready for JSON.

    Means and deviations are over the runs that have come to their end, n of them; runs that have
    not stand there as far as they are. Accuracies are shares in [0, 1], times are seconds.
    """
    rows = [row for row in rows if row.preset == preset]
    wholes = {row.noise: row for row in rows if row.kind == "whole"}
    dumps = [c.model_dump(mode="json") for row in wholes.values() for c in row.configs]
    settings = {
        name: value for name, value in dumps[0].items()
        if name != "seed" and all(dump[name] == value for dump in dumps)
    }  # fmt: skip
    runs = {
        name: _one(Run(root / name))
        for name in map(run_name, configs_of(rows))
        if (root / name / "config.json").exists()
    }
    infos = [Run(root / name).info for name in runs]
    notes = [
        *notes,
        *(
            f"{name} has {run['epochs']} of its {run['epochs_planned']} epochs and is not counted"
            for name, run in runs.items()
            if not run["done"]
        ),
    ]
    if settings["dataset"] == PAPER["dataset"]:
        notes = [*notes, JPEG_NOTE]
    if settings["flip_average"] != "none":
        notes = [*notes, FLIP_NOTE]
    return {
        "preset": preset,
        "paper": PAPER if _comparable(settings) else None,
        "notes": [*notes, BEST_NOTE, WALL_NOTE],
        "seeds": [config.seed for config in rows[0].configs],
        "settings": settings,
        "data": _distinct(
            {key: info["data"][key] for key in ("n", "n_test", "fingerprint")} for info in infos
        ),
        "machines": _distinct(
            info["machine"] | {"device": info["device"], "version": info["version"]}
            for info in infos
        ),
        "rows": [_row(row, wholes[row.noise], settings, runs) for row in rows],
        "runs": runs,
    }


def table(told: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """What `tell` said of each preset as lines for a terminal, the head first."""
    lines = [
        ("preset", "noise", "method", "n", "last test accuracy", "best (chosen on test)",
         "labels right", "seconds", "wall")
    ]  # fmt: skip
    if any(one["paper"] and PAPER["noise"] in {r["noise"] for r in one["rows"]} for one in told):
        method = f"{PAPER['method']}, {PAPER['network']}, {PAPER['epochs']} epochs"
        claim = f"{100 * PAPER['test_accuracy']:.2f} %"
        lines.append(("paper", PAPER["noise"], method, "-", claim, "-", "-", "-", "-"))
    for one in told:
        for row in one["rows"]:
            shares = [_say(row[name], 100, 2, " %") for name in JUDGED[:3]]
            times = [_say(row[name], 1, 1) for name in ("seconds", "wall_seconds")]
            lines.append(
                (one["preset"], row["noise"], row["method"], str(row["n"]), *shares, *times)
            )
    return lines


# --- a run


def _runner(config: RunConfig, folder: Path, data: Data) -> Runner:
    if (folder / "config.json").exists():
        return Runner.resume(folder, data=data)
    shutil.rmtree(folder, ignore_errors=True)  # killed while it was made: nothing in it counts
    return Runner.new(config, folder, data=data)


def _sit(runner: Runner, is_up: Callable[[], bool]) -> Iterator[None]:
    """Run it to its end, or until time is up; yield at each look, and note how long it took.

    Preparing the run is no part of that; at most one early look too much is.
    """
    path, there = runner.folder / SITTINGS, _n_records(runner.folder)
    begun = time.perf_counter()
    runner.start()
    try:
        while not runner.join(POLL if runner.ready else POLL_EARLY):
            now = time.perf_counter()
            if not runner.ready:
                begun = now
            if is_up():
                runner.stop()
            yield
    finally:
        runner.stop()
        runner.join()
        seconds = time.perf_counter() - begun
        if runner.ready:
            sitting = {"seconds": round(seconds, 3), "epochs": _n_records(path.parent) - there}
            write_json(path, [*_sittings(path.parent), sitting])


def _n_records(folder: Path) -> int:
    """Epochs that a run has on disk. Raises StoreError where its folder holds another one."""
    if not (folder / "config.json").exists():
        return 0
    run = Run(folder)
    if run_name(run.config) != folder.name:
        raise StoreError(f"{folder} holds a run of other settings: move it away")
    return len(run.epochs)


def _sittings(folder: Path) -> list[dict[str, Any]]:
    return read_json(folder / SITTINGS) if (folder / SITTINGS).exists() else []


def _one(run: Run) -> dict[str, Any]:
    """One run in numbers; wall_seconds None where not all its epochs belong to known sittings."""
    numbers, records, sittings = summary(run), run.epochs, _sittings(run.folder)
    whole = sum(sitting["epochs"] for sitting in sittings) == len(records) > 0
    spent = accumulate(sum(record["seconds"].values()) for record in records)
    return {
        "seed": run.config.seed,
        "done": len(records) == run.config.epochs,
        "precision": run.info["precision"],
        **{
            name: numbers[name] for name in (
                "epochs", "epochs_planned", "rate_actual", "test_accuracy_last",
                "test_accuracy_best", "best_epoch", "best_chosen_on",
            )
        },
        "label_accuracy": numbers["label_accuracy_corrected"],
        "memorized": numbers["memorized"],
        "seconds": numbers["seconds"],
        "wall_seconds": round(sum(s["seconds"] for s in sittings), 2) if whole else None,
        "sittings": len(sittings),
        "curve": {
            "epoch": [record["epoch"] for record in records],
            "seconds": [round(seconds, 3) for seconds in spent],
            "test_accuracy": [record["metrics"].get("test_accuracy") for record in records],
        },
    }  # fmt: skip


# --- a row


def _row(
    row: Row, whole: Row, settings: Mapping[str, Any], runs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    names = [run_name(config) for config in row.configs]
    done = [runs[name] for name in names if name in runs and runs[name]["done"]]
    others = {
        runs[name]["seed"]: runs[name]["test_accuracy_last"]
        for name in map(run_name, whole.configs)
        if name in runs and runs[name]["done"]
    }
    # paired by seed: what the row has more than the whole preset
    more = [
        run["test_accuracy_last"] - others[run["seed"]]
        for run in done
        if others.get(run["seed"]) is not None and run["test_accuracy_last"] is not None
    ]
    knobs = row.configs[0].model_dump(mode="json")
    return {
        "noise": row.noise,
        "method": row.name,
        "kind": row.kind,
        "knobs": {
            name: value for name, value in knobs.items()
            if name != "seed" and (name not in settings or settings[name] != value)
        },
        "n": len(done),
        **{
            name: spread([run[name] for run in done])
            for name in (*JUDGED, "seconds", "wall_seconds")
        },
        "against_whole": None if row.kind == "whole" else spread(more),
        "runs": names,
    }  # fmt: skip


def spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """n, mean and standard deviation (of a sample) of the values that are there; None without."""
    found = [value for value in values if value is not None]
    return {
        "n": len(found),
        "mean": statistics.fmean(found) if found else None,
        "std": statistics.stdev(found) if len(found) > 1 else None,
    }


def _say(spread: Mapping[str, Any], scale: float, digits: int, unit: str = "") -> str:
    """ "86.31 ± 0.12 %", without deviation where n is 1."""
    if spread["mean"] is None:
        return "-"
    deviation = "" if spread["std"] is None else f" ± {scale * spread['std']:.{digits}f}"
    return f"{scale * spread['mean']:.{digits}f}{deviation}{unit}"


def _comparable(settings: Mapping[str, Any]) -> bool:
    return settings["dataset"] == PAPER["dataset"] and settings["limit"] is None


def _distinct(values: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _check(name: str, given: Sequence[Any], allowed: Sequence[Any], least: int = 1) -> None:
    """Raise ConfigError for a value that is not allowed, one given twice, or too few."""
    for value in given:
        if value not in allowed:
            raise ConfigError(f"{name} = {value!r}: allowed are {', '.join(map(str, allowed))}")
    if len(given) < least:
        raise ConfigError(f"{name} = []: allowed is one value or more")
    if len(set(given)) < len(given):
        raise ConfigError(f"{name} = {list(given)}: each value once")
