"""What the headline's runs say: means over seeds, plain values for JSON, lines for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from engine.analysis.statistics import interval, json_ready
from engine.analysis.summary import summary
from engine.experiments.cifar10.configs import Row, configs_of
from engine.experiments.cifar10.runs import sessions
from engine.runs.folder import RunFolder
from engine.runs.naming import run_name

# The abstract of arXiv 2406.16966; the only number of the paper that is at hand.
PAPER = dict(
    source="arXiv 2406.16966",
    dataset="cifar10",
    noise="symmetric0.8",
    method="mixnn",
    network="resnet34",
    epochs=300,
    test_accuracy=0.8608,
)
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
JUDGED = ("test_accuracy_last", "test_accuracy_best", "label_accuracy", "memorized")


def summarize(
    preset: str, rows: Sequence[Row], root: Path, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """What the runs under root say of one preset's rows; plain values, ready for JSON.

    Means and deviations are over the runs that have come to their end, n of them; runs that have
    not stand there as far as they are. Accuracies are shares in [0, 1], times are seconds.
    """
    rows = [row for row in rows if row.preset == preset]
    wholes = {row.noise: row for row in rows if row.kind == "whole"}
    dumps = [c.model_dump(mode="json") for row in wholes.values() for c in row.configs]
    settings = {
        name: value
        for name, value in dumps[0].items()
        if name != "seed" and all(dump[name] == value for dump in dumps)
    }
    runs = {
        name: _one(RunFolder(root / name))
        for name in map(run_name, configs_of(rows))
        if (root / name / "config.json").exists()
    }
    infos = [RunFolder(root / name).info for name in runs]
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
    """What `summarize` said of each preset as lines for a terminal, the head first."""
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


def _one(run: RunFolder) -> dict[str, Any]:
    """One run in numbers; wall_seconds None where not all its epochs belong to known sittings."""
    numbers, records, sat = summary(run), run.epochs, sessions(run.folder)
    whole = sum(sitting["epochs"] for sitting in sat) == len(records) > 0
    spent = accumulate(sum(record["seconds"].values()) for record in records)
    return {
        "seed": run.config.seed,
        "done": len(records) == run.config.epochs,
        "precision": run.info["precision"],
        **{
            name: numbers[name]
            for name in (
                "epochs",
                "epochs_planned",
                "rate_actual",
                "test_accuracy_last",
                "test_accuracy_best",
                "best_epoch",
                "best_chosen_on",
            )
        },
        "label_accuracy": numbers["label_accuracy_corrected"],
        "memorized": numbers["memorized"],
        "seconds": numbers["seconds"],
        "wall_seconds": round(sum(sitting["seconds"] for sitting in sat), 2) if whole else None,
        "sittings": len(sat),
        "curve": {
            "epoch": [record["epoch"] for record in records],
            "seconds": [round(seconds, 3) for seconds in spent],
            "test_accuracy": [record["metrics"].get("test_accuracy") for record in records],
        },
    }


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
            name: value
            for name, value in knobs.items()
            if name != "seed" and (name not in settings or settings[name] != value)
        },
        "n": len(done),
        **{
            name: json_ready(interval([run[name] for run in done]))
            for name in (*JUDGED, "seconds", "wall_seconds")
        },
        "against_whole": None if row.kind == "whole" else json_ready(interval(more)),
        "runs": names,
    }


def _say(numbers: Mapping[str, Any], scale: float, digits: int, unit: str = "") -> str:
    """ "86.31 ± 0.12 %", without deviation where n is 1."""
    if numbers["mean"] is None:
        return "-"
    deviation = "" if numbers["std"] is None else f" ± {scale * numbers['std']:.{digits}f}"
    return f"{scale * numbers['mean']:.{digits}f}{deviation}{unit}"


def _comparable(settings: Mapping[str, Any]) -> bool:
    return settings["dataset"] == PAPER["dataset"] and settings["limit"] is None


def _distinct(values: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
