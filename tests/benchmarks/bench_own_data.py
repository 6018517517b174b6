"""What data of one's own costs by the command line: seconds, processor seconds and peak memory.

    MIXNN_DATA=DIR python tests/benchmarks/bench_own_data.py --folder DIR --parts check features
        [--backbone timm:NAME --weights FILE] [--out assets/results/own-data.json]

check: `check` of the 50,000 training images of CIFAR-10 with the labels aggre of CIFAR-10N.
features: a run of the default settings on 50,000 x 512 numbers in 10 clusters, 20 % wrong labels.
million: the same with 1,000,000 rows in half precision, for --epochs epochs (2).
photos: 10,000 JPEG files of 224 pixels in class folders (CIFAR-10 enlarged, so they show no more
than 32 pixels do) with the labels aggre; by default as the common size of 64 pixels, for --epochs
epochs; a simulated reviewer then follows the order of the wall, see bench_review.py.
photos-backbone: the same files at 224 pixels by the features of --backbone, default settings.

Parts that the JSON file has already are measured again, others kept. Average precision ("ap") is
that of the label quality, wrong labels being the positives; runs do not know the true labels.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parents[2]))

from bench_label_guard import write_case
from bench_review import expected, orders, reached
from common import finish, options

from engine.analysis.label_issues import label_issues
from engine.hardware import choose_device, hardware_info
from engine.runs.folder import RunFolder

DIMS, N_CLASSES, WRONG = 512, 10, 0.2
CHUNK = 50_000  # rows in memory as float32
CASE = "photos10000-aggre"


def command(*arguments: str) -> dict[str, Any]:
    """Run `python -m engine` with arguments; what it cost. Raises RuntimeError if it failed."""
    load, start = os.getloadavg()[0], time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(said[-2000:])
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2),
        "load_average": [round(load, 1), round(os.getloadavg()[0], 1)],
    }


def train(dataset: str, run: Path, *settings: str) -> dict[str, Any]:
    """A run on labels as they are."""
    return command("train", "--dataset", dataset, "--noise", "none", "--out", str(run), *settings)


def precision(run: Path, wrong: np.ndarray) -> float:
    """Average precision of the label quality of a run. wrong: (N,) bool, in the run's order."""
    from sklearn.metrics import average_precision_score

    return round(float(average_precision_score(wrong, -label_issues(RunFolder(run)).quality)), 3)


def check(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    data = Path(os.environ["MIXNN_DATA"])
    with np.load(data / "cifar10.npz") as file, np.load(data / "cifar10n_labels.npz") as labels:
        np.savez(
            folder / "check.npz",
            train_images=file["train_images"],
            train_labels=labels["aggre_label"],
        )
    return command("check", f"npz:{folder / 'check.npz'}", "--out", str(folder / "check.html"))


def write_rows(path: Path, n: int, dtype: type) -> np.ndarray:
    """Write rows (n, DIMS) in N_CLASSES clusters and labels; returns which labels are wrong."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, N_CLASSES, n)
    centers = rng.normal(0, 0.25, (N_CLASSES, DIMS)).astype(np.float32)
    rows = np.lib.format.open_memmap(path, "w+", dtype, (n, DIMS))
    for start in range(0, n, CHUNK):
        own = centers[true[start : start + CHUNK]]
        rows[start : start + CHUNK] = own + rng.standard_normal(own.shape, np.float32)
    rows.flush()
    wrong = rng.random(n) < WRONG
    given = np.where(wrong, (true + rng.integers(1, N_CLASSES, n)) % N_CLASSES, true)
    np.save(path.with_name(f"{path.stem}_labels.npy"), given)
    return wrong


def features(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    wrong = write_rows(folder / "rows.npy", 50_000, np.float32)
    cost = train(f"features:{folder / 'rows.npy'}", folder / "rows")
    return cost | {"ap": precision(folder / "rows", wrong)}


def million(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    wrong = write_rows(folder / "million.npy", 1_000_000, np.float16)
    epochs = ("--epochs", str(arguments.epochs), "--warmup", "1")
    cost = train(f"features:{folder / 'million.npy'}", folder / "million", *epochs)
    return cost | {"epochs": arguments.epochs, "ap": precision(folder / "million", wrong)}


def write_photos(folder: Path) -> dict[str, int]:
    """Write the images of CASE as JPEG files of 224 pixels; id of each -> its true label."""
    true = write_case(folder / f"{CASE}.npz", CASE, 0)
    with np.load(folder / f"{CASE}.npz") as file:
        images, given = file["train_images"], file["train_labels"]
    names = [f"{label}/{row:05d}.jpg" for row, label in enumerate(given.tolist())]

    def write(row: int) -> None:
        path = folder / "photos" / names[row]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            large = Image.fromarray(images[row]).resize((224, 224), Image.Resampling.BICUBIC)
            large.save(path, quality=90)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(len(names))))
    return dict(zip(names, true.tolist(), strict=True))


def judged(run: Path, true_of: dict[str, int]) -> dict[str, Any]:
    """What a run on the photos found, and what a reviewer does with it."""
    opened = RunFolder(run)
    ids, found = opened.labels["ids"].tolist(), label_issues(opened)
    true = np.array([true_of[name.removeprefix("train/")] for name in ids])
    wrong = found.given != true
    changed = found.proposed != found.given
    return {
        "n": len(true),
        "wrong": int(wrong.sum()),
        "epochs": len(opened.epochs),
        "ap": precision(run, wrong),
        "flagged": [len(found.flagged), int(wrong[found.flagged].sum())],
        "proposed": {
            "changes": int(changed.sum()),
            "to_the_truth": int((changed & (found.proposed == true)).sum()),
            "right_ones_broken": int((changed & ~wrong).sum()),
        },
        "reviewer": {name: reached(order, wrong) for name, order in orders(opened, found).items()},
        "expected": expected(found, true),
    }


def photos(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    true_of = write_photos(folder)
    run = folder / "at64"
    cost = train(f"folder:{folder / 'photos'}", run, "--epochs", str(arguments.epochs))
    return cost | judged(run, true_of)


def photos_backbone(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    true_of = write_photos(folder)
    run = folder / "backbone"
    cost = train(
        f"folder:{folder / 'photos'}", run, "--image-size", "224",
        "--backbone", arguments.backbone, "--weights", str(arguments.weights),
    )  # fmt: skip
    return cost | {"backbone": arguments.backbone} | judged(run, true_of)


PARTS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "check": check,
    "features": features,
    "million": million,
    "photos": photos,
    "photos-backbone": photos_backbone,
}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for data and runs")
    parser.add_argument("--parts", nargs="+", required=True, choices=PARTS)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--backbone", help="of timm, as of train")
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    measured_on = hardware_info(choose_device(arguments.device))
    results: dict[str, Any] = {}
    if arguments.out and arguments.out.exists():
        results = json.loads(arguments.out.read_text())["results"]
    for part in arguments.parts:
        results[part] = PARTS[part](arguments.folder, arguments)
        results[part] |= {"commit": measured_on["commit"]}
        finish("own_data", measured_on, {}, results, arguments.out)


if __name__ == "__main__":
    main()
