"""Which runs on digits raise which signs of failure: the runs behind the thresholds of signs.py.

    python tests/benchmarks/bench_diagnostics.py --folder runs/signs --out assets/results/signs.json

Runs that lie in the folder already are read and not trained again, so that a changed threshold is
tried on all of them in a second.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from common import finish, options

from engine.analysis import diagnostics as limits
from engine.analysis.diagnostics import diagnose
from engine.config import configure
from engine.hardware import choose_device, hardware_info
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner

SETTINGS = dict(dataset="digits", device="cpu", threads=1, state_interval=1000)
RATES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
SHOWN = (
    "test_accuracy",
    "label_accuracy",
    "changed_labels",
    "clean_share",
    "memorized",
    "fit_clean",
    "lost_classes",
)
VARIED = (
    "noise", "rate", "seed", "k", "alpha", "warmup", "correction_start", "epochs", "learning_rate",
)  # fmt: skip
NEED_TRUTH = (
    "fit_clean",
    "memorized",
    "train_accuracy",
    "label_accuracy",
    "clean_auroc",
    "detection_auroc",
)


def grid() -> list[dict[str, Any]]:
    """The settings of every run: the usual ones, then one thing wrong at a time."""
    usual = [dict(rate=rate, seed=seed) for rate in RATES for seed in (0, 1)]
    plain = [dict(method="ce", rate=rate, seed=seed) for rate in RATES for seed in (0, 1)]
    others = [dict(method=method) for method in ("selc", "mixnn-no-correction", "mixup")]
    k = [dict(k=k, seed=seed) for k in (1, 10, 20, 50, 100) for seed in (0, 1)]
    k += [dict(k=100, rate=rate) for rate in (0.05, 0.6)]
    alpha = [dict(alpha=a, seed=s) for a in (0.0, 0.5, 0.95, 0.99, 1.0) for s in (0, 1)]
    alpha += [dict(alpha=a, rate=r) for a in (0.0, 0.99) for r in (0.05, 0.8)]
    timing = [
        dict(correction_start=start, warmup=min(start, 2), alpha=a)
        for start, a in ((0, 0.0), (0, 0.8), (15, 0.8), (25, 0.8))
    ]
    timing += [dict(warmup=w, correction_start=w, epochs=e) for w, e in ((15, 30), (28, 30))]
    noise = [dict(noise="pair", rate=rate) for rate in (0.2, 0.45, 0.6)]
    step = [dict(learning_rate=rate) for rate in (0.3, 1.0, 3.0)]
    return usual + plain + others + k + alpha + timing + noise + step


def name(settings: dict[str, Any]) -> str:
    return "-".join(f"{key}{value}" for key, value in sorted(settings.items()))


def measure(folder: Path, settings: dict[str, Any]) -> Path:
    """Train one run into a folder of its own, unless it lies there."""
    path = folder / name(settings)
    if not path.exists():
        Runner.new(configure(**SETTINGS | {"rate": 0.4} | settings), path).run()
    return path


def row(path: Path) -> dict[str, Any]:
    """What a run shows at its end and at its best, and the signs it raises."""
    run = RunFolder(path)
    records, wrong = run.epochs, run.info["rate_actual"]
    last = {name: records[-1]["metrics"].get(name) for name in SHOWN}
    best = {
        name: max(record["metrics"][name] for record in records)
        for name in ("test_accuracy", "label_accuracy")
    }
    return {
        "name": path.name,
        "method": run.config.method,
        **{setting: getattr(run.config, setting) for setting in VARIED},
        "rate_actual": wrong,
        "last": _rounded(last),
        "best": _rounded(best),
        "one_hump": [r["epoch"] for r in records if r["mixture"]["warning"]],
        "seconds": round(sum(sum(r["seconds"].values()) for r in records), 1),
        "signs": {s.name: s.evidence for s in diagnose(run.config, records, rate_actual=wrong)},
        "ever": sorted(
            {
                sign.name
                for n in range(len(records))
                for sign in diagnose(run.config, records[: n + 1], rate_actual=wrong)
            }
        ),
        "signs_without_truth": [s.name for s in diagnose(run.config, _untold(records))],
    }


def _untold(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records as they would be without known true labels."""
    return [r | {"metrics": r["metrics"] | dict.fromkeys(NEED_TRUTH)} for r in records]


def _rounded(values: dict[str, float | None]) -> dict[str, float | None]:
    return {name: None if v is None else round(v, 4) for name, v in values.items()}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, in processes")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    measured_on = hardware_info(choose_device("cpu"))
    rows = []
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for path in pool.map(partial(measure, arguments.folder), grid()):
            rows.append(row(path))
            raised = ", ".join(rows[-1]["signs"])
            print(f"{path.name:36s} {rows[-1]['last']['test_accuracy']:.3f} {raised}", flush=True)
    thresholds = {n: v for n, v in vars(limits).items() if n.isupper()}
    finish(
        "signs",
        measured_on,
        SETTINGS | {"preset": "auto", "jobs": arguments.jobs},
        {"thresholds": thresholds, "runs": rows},
        arguments.out,
    )


if __name__ == "__main__":
    main()
