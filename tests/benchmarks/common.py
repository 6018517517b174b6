"""What the benchmarks share: interleaved repetitions, and a result that names its machine."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

# a part of CIFAR-10 on the smallest network for photographs, for a CPU
CIFAR10_ON_CPU: dict[str, Any] = dict(
    preset="plain",
    dataset="cifar10",
    network="resnet9-w16",
    augment="crop-flip",
    padding=4,
    cutout=8,
    epochs=50,
    batch_size=128,
    learning_rate=0.1,
    learning_rate_min=0.001,
    nesterov=True,
    weight_decay=5e-4,
    schedule="one-cycle",
    weight_ema=0.99,
    threads=1,
    device="cpu",
)


def options(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="JSON file to write, e.g. under assets/results/")
    return parser


def interleaved(cases: dict[str, Callable[[], Any]], n: int, device: torch.device) -> dict:
    """Seconds of each case, n times in turns after one round to warm up; median, least, largest."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(n + 1):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {
        name: {"n": n, "median": statistics.median(v), "least": min(v), "largest": max(v)}
        for name, v in seconds.items()
    }


def finish(name: str, measured_on: dict, settings: dict, results: Any, out: Path | None) -> None:
    """Print a result, and write it with the machine (see `machine`, read at the start)."""
    report = {
        "benchmark": name,
        "machine": measured_on,
        "settings": settings,
        "results": results,
    }
    print(json.dumps(report))
    if out:
        out.write_text(json.dumps(report) + "\n")
