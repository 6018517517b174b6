"""Results of the headline benchmark: means over seeds, for JSON and for a terminal."""

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

# The abstract of arXiv 2406.16966, the only number available from the paper.
PAPER: dict[str, Any] = dict(
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
BEST_NOTE = (
    "best: the highest of all epochs, chosen on test data, for comparison with published numbers"
)
FLIP_NOTE = "test accuracy is of the mean prediction over each image and its horizontal flip"
WALL_NOTE = (
    "seconds: computing time of all epochs, including evaluation; wall: from the start of the "
    "first epoch to the last one on disk, including compilation but not loading data and starting "
    "Python, summed over the sessions of a resumed run; no value if a session was killed"
)
METRICS = ("test_accuracy_last", "test_accuracy_best", "label_accuracy", "memorized")


def summarize(
    preset: str, rows: Sequence[Row], root: Path, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The results of one preset's rows from the runs under root; plain values for JSON.

    Means and deviations are over the n finished runs; unfinished ones are listed with the epochs
    they have. Accuracies are in [0, 1], times in seconds. Raises StoreError.
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


def table(summaries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Results of `summarize`, one per preset, as rows for a terminal, the header first."""
    lines: list[tuple[str, ...]] = [
        ("preset", "noise", "method", "n", "last test accuracy", "best (chosen on test)",
         "labels right", "seconds", "wall")
    ]  # fmt: skip
    noises = {row["noise"] for one in summaries if one["paper"] for row in one["rows"]}
    if PAPER["noise"] in noises:
        method = f"{PAPER['method']}, {PAPER['network']}, {PAPER['epochs']} epochs"
        claim = f"{100 * PAPER['test_accuracy']:.2f} %"
        lines.append(("paper", PAPER["noise"], method, "-", claim, "-", "-", "-", "-"))
    for one in summaries:
        for row in one["rows"]:
            shares = [_say(row[name], 100, 2, " %") for name in METRICS[:3]]
            times = [_say(row[name], 1, 1) for name in ("seconds", "wall_seconds")]
            lines.append(
                (one["preset"], row["noise"], row["method"], str(row["n"]), *shares, *times)
            )
    return lines


def _one(run: RunFolder) -> dict[str, Any]:
    """Summary of one run; wall_seconds is None unless its sessions have all its epochs."""
    numbers, records, timed = summary(run), run.epochs, sessions(run.folder)
    complete = sum(session["epochs"] for session in timed) == len(records) > 0
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
        "wall_seconds": round(sum(s["seconds"] for s in timed), 2) if complete else None,
        "sittings": len(timed),
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
    # paired by seed: difference from the whole preset
    gains = [
        run["test_accuracy_last"] - others[run["seed"]]
        for run in done
        if others.get(run["seed"]) is not None and run["test_accuracy_last"] is not None
    ]
    own = row.configs[0].model_dump(mode="json")
    return {
        "noise": row.noise,
        "method": row.name,
        "kind": row.kind,
        "knobs": {
            name: value
            for name, value in own.items()
            if name != "seed" and (name not in settings or settings[name] != value)
        },
        "n": len(done),
        **{
            name: json_ready(interval([run[name] for run in done]))
            for name in (*METRICS, "seconds", "wall_seconds")
        },
        "against_whole": None if row.kind == "whole" else json_ready(interval(gains)),
        "runs": names,
    }


def _say(numbers: Mapping[str, Any], scale: float, digits: int, unit: str = "") -> str:
    """ "86.31 ± 0.12 %"; without deviation if n is 1."""
    if numbers["mean"] is None:
        return "-"
    deviation = "" if numbers["std"] is None else f" ± {scale * numbers['std']:.{digits}f}"
    return f"{scale * numbers['mean']:.{digits}f}{deviation}{unit}"


def _comparable(settings: Mapping[str, Any]) -> bool:
    return settings["dataset"] == PAPER["dataset"] and settings["limit"] is None


def _distinct(values: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    distinct: list[dict[str, Any]] = []
    for value in values:
        if value not in distinct:
            distinct.append(value)
    return distinct
