"""Methods on photographs: a part of CIFAR-10 under seven kinds of noise, on the same network.

    python tests/benchmarks/bench_photographs.py [--limit 5000] [--pixels 32]
        [--noises symmetric0.8 worse ...] [--methods ce mixnn-plus ...] [--seeds 0 1 2] [--jobs 2]
        [--ablation] [--out assets/results/photographs.json]

Every method has the same network, augmentation, learning rates, moving average of the weights and
epochs (SETTINGS), tested on all test images after every tenth epoch; the last epoch counts. One
thread per run. --pixels 16 halves the images, padding and cutout, which takes a fifth of the time.
Rows of the file with the same settings are not trained again, so run the same command to continue,
also for other sizes and methods.
"""

import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from common import CIFAR10_ON_CPU, finish, options

from engine.analysis.statistics import differences, means
from engine.config import RunConfig, configure
from engine.config.presets import PLUS_ON_PHOTOGRAPHS
from engine.data import Data, load_data
from engine.experiments.cifar10.configs import NOISES
from engine.hardware import choose_device, hardware_info
from engine.training.train import train

SETTINGS = CIFAR10_ON_CPU | dict(test_interval=10)
# what a method needs besides; the early phase of MixNN as in cifar10-fast
NEEDS: dict[str, dict[str, Any]] = {
    "mixnn": dict(warmup=10, early_mixing="mixup", correction_start=40, align="uniform"),
    "mixnn-elr": dict(warmup=10, early_mixing="mixup", correction_start=40, align="uniform"),
    "mixnn-plus": dict(warmup=8, correction_start=15, vote_from="linear", **PLUS_ON_PHOTOGRAPHS),
    "ssr": dict(correction_start=8),
}
COMPARED = ("ce", "mixup", "elr", "ssr", "mixnn", "mixnn-elr", "mixnn-plus")
BASELINES = ("ce", "mixup", "elr")
# parts that an ablation takes from MixNN+
ABLATIONS: dict[str, dict[str, Any]] = {
    "votes of the nearest neighbors": dict(vote_from="neighbors"),
    "P(clean) of the mixture alone": dict(clean_from="mixture"),
    "P(clean) of the votes alone": dict(clean_from="vote"),
    "samples drawn by P(clean)": dict(sampling="clean"),
    "nearest neighbors alone": dict(random_share=0.0),
    "half of the partners nearest neighbors": dict(random_share=0.5),
    "changed labels instead of probabilities": dict(correction="posterior"),
    "labels as given": dict(correction="none"),
    "relabeled where prediction and votes agree": dict(correction="relabel"),
    "refined labels": dict(correction="refine"),
    "labels by moving average": dict(correction="ema"),
    "ELR's loss": dict(loss="elr"),
    "RandAugment": dict(randaugment=0.5),
}
MEASURES = ("last", "label_accuracy", "memorized", "detection_auroc")
KEY = ["limit", "pixels", "noise", "variant", "seed"]


def settings_of(limit: int, pixels: int, noise: str, variant: str, seed: int) -> RunConfig:
    """The settings of a run; variant: a method, or a part that is taken from MixNN+."""
    method, change = ("mixnn-plus", ABLATIONS[variant]) if variant in ABLATIONS else (variant, {})
    own = SETTINGS | NEEDS.get(method, {}) | NOISES[noise] | change
    own |= {key: own[key] * pixels // 32 for key in ("padding", "cutout")}
    return configure(method=method, **own, limit=limit, seed=seed, state_interval=own["epochs"])


def shrunk(data: Data, pixels: int) -> Data:
    """The same images with `pixels` as their side, by means of squares of pixels."""

    def smaller(images: torch.Tensor) -> torch.Tensor:
        means = torch.nn.functional.avg_pool2d(images.float(), images.shape[-1] // pixels)
        return means.round().to(torch.uint8)

    return replace(data, images=smaller(data.images), test_images=smaller(data.test_images))


def run(limit: int, pixels: int, noise: str, variant: str, seed: int) -> dict[str, Any]:
    """One run in numbers."""
    torch.set_num_threads(1)
    config = settings_of(limit, pixels, noise, variant, seed)
    curve, labels, seconds = [], [], 0.0
    for snapshot in train(config, shrunk(load_data(config), pixels)):
        metrics = snapshot.metrics
        if metrics.get("test_accuracy") is not None:
            curve.append(round(metrics["test_accuracy"], 4))
        labels.append(round(metrics["label_accuracy"], 4))
        seconds += sum(snapshot.seconds.values())
    return {
        "limit": limit,
        "pixels": pixels,
        "noise": noise,
        "variant": variant,
        "seed": seed,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "commit": hardware_info(torch.device("cpu"))["commit"],
        "last": curve[-1],
        "best": max(curve),
        "given_accuracy": labels[0],
        **{key: round(metrics[key], 4) for key in MEASURES[1:]},
        "seconds": round(seconds),
        "curve": curve,
        "labels": labels[9::10],
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and differences paired by seed from the best baseline of each noise."""
    table = pd.DataFrame(runs)
    by = ["limit", "pixels", "noise", "variant"]
    final = means(table, by, [*MEASURES, "given_accuracy", "seconds"])
    against = []
    for _, part in table.groupby(["limit", "pixels", "noise"], sort=False):
        beside = part[part["variant"].isin(BASELINES)].groupby("variant")["last"].mean()
        if beside.empty:
            continue
        best = str(beside.idxmax())
        reference = part[part["variant"] == best].drop(columns="variant")
        others = part[part["variant"] != best]
        if len(others) and len(reference) > 1:
            rows = differences(others, reference, by, ["last", "label_accuracy"])
            rows = json.loads(rows.to_json(orient="records"))  # nan becomes null
            against += [row | {"reference": best} for row in rows]
    return {"means": json.loads(final.to_json(orient="records")), "against_best": against}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--limit", type=int, nargs="+", default=[5000])
    parser.add_argument("--pixels", type=int, default=32, choices=(8, 16, 32))
    parser.add_argument("--noises", nargs="+", default=list(NOISES), choices=list(NOISES))
    parser.add_argument("--methods", nargs="*", default=list(COMPARED))
    parser.add_argument("--ablation", nargs="*", choices=list(ABLATIONS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    measured_on = hardware_info(choose_device("cpu"))
    out, runs = arguments.out, []
    if out and out.exists():
        runs = json.loads(out.read_text())["results"]["runs"]
    parts = arguments.ablation
    variants = [*arguments.methods, *([] if parts is None else parts or ABLATIONS)]
    wanted = [
        (limit, arguments.pixels, noise, variant, seed)
        for limit in arguments.limit
        for seed in arguments.seeds
        for noise in arguments.noises
        for variant in variants
    ]
    done = {tuple(row[key] for key in KEY): row["config"] for row in runs}
    todo = [
        one
        for one in wanted
        if done.get(one) != settings_of(*one).model_dump(mode="json", exclude_defaults=True)
    ]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for future in as_completed([pool.submit(run, *one) for one in todo]):
            row = future.result() | {"machine": measured_on}
            runs = [old for old in runs if [old[k] for k in KEY] != [row[k] for k in KEY]]
            runs = sorted([*runs, row], key=lambda row: [str(row[key]) for key in KEY])
            results = summary(runs) | {"runs": runs}
            finish("photographs", measured_on, SETTINGS, results, out)


if __name__ == "__main__":
    main()
