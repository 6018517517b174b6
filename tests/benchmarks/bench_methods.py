"""Methods side by side on the same noise: rates x methods x seeds, with every epoch's curve.

    python tests/benchmarks/bench_methods.py --out assets/results/digits.json
    python tests/benchmarks/bench_methods.py --dataset cifar10 --limit 5000 --rates 0.4 --seeds 0

Prints a table of means and standard deviations over seeds, of the last epoch.
"""

import json
import statistics
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from common import finish, options

from engine.config import METHODS, configure
from engine.device import choose_device, machine
from engine.state import State, load_data
from engine.train import train

CURVES = ("test_accuracy", "fit_clean", "memorized", "label_accuracy")
SHOWN = ("test_accuracy", "label_accuracy", "memorized")


def measure(knobs: dict[str, Any]) -> dict[str, Any]:
    """One run: its settings, the curves of its epochs and its computing time."""
    config = configure(**knobs)
    data = load_data(config)
    state = State(config, data)
    snapshots = [(s.metrics, sum(s.seconds.values())) for s in train(config, data, state=state)]
    curves = {name: [metrics.get(name) for metrics, _ in snapshots] for name in CURVES}
    return {
        "method": config.method, "rate": config.rate, "seed": config.seed,
        "rate_actual": state.problem.rate_actual, "n": data.n, "network": state.network,
        "precision": state.precision, "seconds": sum(seconds for _, seconds in snapshots),
        "curves": {name: [v and round(v, 4) for v in values] for name, values in curves.items()},
        "settings": config.model_dump(mode="json"),
    }  # fmt: skip


def table(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds, by rate and method."""
    rows = []
    for rate, method in sorted({(r["rate"], list(METHODS).index(r["method"])) for r in runs}):
        name = list(METHODS)[method]
        group = [r for r in runs if r["rate"] == rate and r["method"] == name]
        row: dict[str, Any] = {"rate": rate, "method": name, "n_seeds": len(group)}
        for measure_name in SHOWN:
            values = [r["curves"][measure_name][-1] for r in group]
            row[measure_name] = statistics.mean(values)
            row[f"{measure_name}_std"] = statistics.stdev(values) if len(values) > 1 else None
        row["test_accuracy_best"] = statistics.mean(
            max(r["curves"]["test_accuracy"]) for r in group
        )
        row["seconds"] = statistics.median(r["seconds"] for r in group)
        rows.append(row)
    return rows


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.2, 0.4, 0.6])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["ce", "mixup", "mixnn"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, in processes")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--knobs", type=json.loads, default={}, help='JSON, as {"network": "fast"}')
    arguments = parser.parse_args()
    measured_on = machine(choose_device(arguments.device))
    common = arguments.knobs | {
        "dataset": arguments.dataset, "limit": arguments.limit, "device": arguments.device
    }  # fmt: skip
    jobs = [
        common | {"rate": rate, "method": method, "seed": seed}
        for rate in arguments.rates
        for method in arguments.methods
        for seed in arguments.seeds
    ]
    runs = []
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for run in pool.map(measure, jobs) if arguments.jobs > 1 else map(measure, jobs):
            runs.append(run)
            last = {name: run["curves"][name][-1] for name in SHOWN}
            print(
                run["method"], run["rate"], run["seed"], last, f"{run['seconds']:.0f} s", flush=True
            )
    rows = table(runs)
    finish(
        "methods", measured_on, {"jobs": arguments.jobs} | common,
        {"table": rows, "runs": runs}, arguments.out,
    )  # fmt: skip
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
