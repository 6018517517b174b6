"""The ingredients of the preset `cifar10-fast` on a part of CIFAR-10, and other methods.

    python tests/benchmarks/bench_presets.py [--seeds 0 1 2] [--out assets/results/presets.json]

5,000 images with 60 % symmetric noise, the small ResNet-9, 50 epochs: enough for cross-entropy to
memorize what is wrong and to fall back. Tested on every third test image after every epoch.
One thread per run; runs in the file are skipped, so run the same command to continue.
"""

import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace

import torch
from common import CIFAR10_ON_CPU, finish, options

from engine.analysis.statistics import interval, json_ready
from engine.config import configure
from engine.data import load_data
from engine.hardware import choose_device, hardware_info
from engine.training.train import train

SETTINGS = CIFAR10_ON_CPU | dict(
    limit=5000,
    noise="symmetric",
    rate=0.6,
    warmup=10,
    early_mixing="mixup",
    correction_start=40,
    align="uniform",
)
TEST_EVERY, EVERY = 3, 5  # test images, which may be sorted by class, and epochs of the curve
JUDGED = ("last", "best", "label_accuracy", "memorized", "detection_auroc")
ELR = dict(method="mixnn-elr")
NEAR = dict(early_mixing="neighbors")  # right after warm-up
VARIANTS = {
    "cross-entropy": dict(method="ce"),
    "fast": ELR,
    "elr": dict(method="elr"),
    "cross-entropy loss, correction from 15, neighbors": NEAR | dict(correction_start=15),
    "fast, neighbors from warm-up on": ELR | NEAR,
    "fast, no correction, random partners": ELR | dict(correction="none", early_extra=50),
    "fast, correction from 30": ELR | dict(correction_start=30),
    "fast, cross-entropy after correction starts": dict(early_loss="elr"),
}


def run(name: str, seed: int) -> dict:
    """One run in numbers; the last epoch counts. curve: test accuracy of every fifth epoch."""
    torch.set_num_threads(1)
    config = configure(**SETTINGS | VARIANTS[name], seed=seed)
    data = load_data(config)
    some = slice(None, None, TEST_EVERY)
    tested = {f"test_{part}": getattr(data, f"test_{part}")[some] for part in ("images", "labels")}
    curve, seconds = [], 0.0
    for snapshot in train(config, replace(data, **tested)):
        metrics = snapshot.metrics
        curve.append(round(metrics["test_accuracy"], 4))
        seconds += sum(snapshot.seconds.values())
    return {
        "variant": name,
        "seed": seed,
        "knobs": VARIANTS[name],
        "commit": hardware_info(torch.device("cpu"))["commit"],
        "last": curve[-1],
        "best": max(curve),
        "best_epoch": curve.index(max(curve)),
        **{key: round(metrics[key], 4) for key in JUDGED[2:]},
        "seconds": round(seconds),
        "curve": curve[::EVERY],
    }


def over_seeds(runs: list[dict]) -> dict[str, dict]:
    """The metrics of each variant that was run: n, mean and standard deviation."""
    by_variant = {name: [row for row in runs if row["variant"] == name] for name in VARIANTS}
    return {
        name: {key: json_ready(interval([row[key] for row in own])) for key in JUDGED}
        for name, own in by_variant.items()
        if own
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    measured_on = hardware_info(choose_device("cpu"))
    out, runs = arguments.out, []
    if out and out.exists():
        kept = json.loads(out.read_text())["results"]["runs"]
        runs = [row for row in kept if VARIANTS.get(row["variant"]) == row["knobs"]]
    there = {(row["variant"], row["seed"]) for row in runs}
    todo = [(name, seed) for name in VARIANTS for seed in arguments.seeds]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for future in as_completed([pool.submit(run, *one) for one in todo if one not in there]):
            runs.append(future.result())
            runs.sort(key=lambda row: (list(VARIANTS).index(row["variant"]), row["seed"]))
            results = {"over_seeds": over_seeds(runs), "runs": runs}
            finish("presets", measured_on, SETTINGS | {"test_every": TEST_EVERY}, results, out)


if __name__ == "__main__":
    main()
