"""From photos in class folders, some in wrong ones, to repaired folders by the command line alone.

    python tests/benchmarks/practitioner.py --dataset cifar10 --images 2000 --out /tmp/journey

Writes images of a data set as PNG files into class folders, moves a share into wrong ones, and runs
the three commands of engine/data/README.md. Prints the time of each, and how many images lie in
the right folder before and after.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from engine.data import load
from engine.data.registry import stratified_sample


def write_photos(dataset: str, n: int, wrong: float, root: Path) -> dict[str, str]:
    """Write n training images to root/train/CLASS/; returns file name -> its true class."""
    data = load(dataset)
    rng = np.random.default_rng(0)
    truth: dict[str, str] = {}
    for row in stratified_sample(data.labels.numpy(), n, seed=0).tolist():
        true = given = int(data.labels[row])
        if rng.random() < wrong:
            given = int((true + rng.integers(1, data.n_classes)) % data.n_classes)
        path = root / "train" / data.classes[given] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = data.images[row].permute(1, 2, 0).numpy()
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path)
        truth[path.name] = data.classes[true]
    (root / "notes.txt").write_text("of the owner\n")
    return truth


def right(root: Path, truth: dict[str, str]) -> int:
    """The number of images that lie in the folder of their true class."""
    files = list((root / "train").rglob("*.png"))
    assert len(files) == len(truth)
    return sum(truth[path.name.partition("-from-")[0].removesuffix(".png") + ".png"]
               == path.parent.name for path in files)  # fmt: skip


def journey(dataset: str, n: int, out: Path, settings: list[str], wrong: float = 0.05) -> dict:
    """The times of the commands in seconds, and the numbers of images in the right folder."""
    photos, run, repaired = out / "photos", out / "run", out / "repaired"
    truth = write_photos(dataset, n, wrong, photos)
    commands = {
        "train": ["train", "--dataset", f"folder:{photos}", "--noise", "none", "--seed", "0",
                  "--out", str(run), *settings],
        "csv": ["export", str(run), "--out", str(out / "labels.csv")],
        "folders": ["export", str(run), "--as", "folders", "--out", str(repaired)],
    }  # fmt: skip
    result: dict = {"images": n, "right_before": right(photos, truth)}
    for name, arguments in commands.items():
        start, used = time.perf_counter(), os.times()
        command = [sys.executable, "-m", "engine", *arguments]
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
        if ended.returncode:
            raise RuntimeError(ended.stderr)
        after = os.times()
        result[f"{name}_seconds"] = round(time.perf_counter() - start, 1)
        result[f"{name}_processor_seconds"] = round(
            after.children_user + after.children_system - used.children_user
            - used.children_system, 1
        )  # fmt: skip
        result[name] = ended.stdout.strip().splitlines()[-1]
    return result | {"right_after": right(repaired, truth)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--out", type=Path, required=True)
    chosen, others = parser.parse_known_args()  # the others are settings of train
    print(json.dumps(journey(chosen.dataset, chosen.images, chosen.out, others), indent=1))
