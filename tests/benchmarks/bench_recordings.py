"""Size of recordings and of pages, and the seconds that they take.

    python tests/benchmarks/bench_recordings.py --case digits RUN RUN --case photos RUN
        [--case photos-k5 RUN] [--out assets/results/recordings.json]

Each case is the run folders of one recording. Where a case's name ends in -kK, its first run is a
copy with the K neighbors and the weights that follow from its own stored features and P(clean):
what a run with that K would have recorded, without training it. "epoch": the bytes and seconds that
a further epoch of the first run costs while it trains. "bytes_by_array": each array compressed
alone. "open": in Chromium without a network, from the file's address until the player shows an
epoch.
"""

import json
import re
import shutil
import statistics
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import finish, options

from engine.errors import StoreError
from engine.hardware import choose_device, hardware_info
from engine.method.mixing import mixing_weights
from engine.method.neighbors import nearest
from engine.reports import layout
from engine.reports.publish import publish
from engine.reports.reader import read_recording
from engine.reports.recording import RecordingWriter
from engine.runs.folder import RunFolder
from engine.runs.forks import data_of

TURNS = 3


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--case", nargs="+", action="append", required=True, metavar="NAME RUN")
    arguments = parser.parse_args()
    results, settings = {}, {}
    for name, *folders in arguments.case:
        with tempfile.TemporaryDirectory() as temporary:
            first, k = Path(folders[0]), re.search(r"-k(\d+)$", name)
            if k:
                first = with_neighbors(first, int(k[1]), Path(temporary) / first.name)
            runs = [RunFolder(folder) for folder in (first, *folders[1:])]
            results[name], settings[name] = measure(runs), described(runs)
    machine = hardware_info(choose_device(arguments.device))
    finish("recordings", machine, settings | {"turns": TURNS}, results, arguments.out)


def described(runs: list[RunFolder]) -> dict[str, Any]:
    """What a case recorded."""
    return {
        "dataset": runs[0].config.dataset,
        "samples": runs[0].info["data"]["n"],
        "methods": [run.config.method for run in runs],
        "networks": [run.info["network"] for run in runs],
        "epochs": [len(run.epochs) for run in runs],
        "k": [run.epochs[-1]["n_neighbors"] for run in runs],
    }


def with_neighbors(folder: Path, k: int, copy: Path) -> Path:
    """A copy of a run whose panel is all samples, as if it had mixed with k neighbors."""
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("states"))
    run = RunFolder(copy)
    records = [dict(record) for record in run.epochs]
    neighbors, weights = (
        np.load(copy / "arrays" / f"{name}.npy", mmap_mode="r+")
        for name in ("neighbors", "weights")
    )
    for row, record in enumerate(records):
        if not record["n_neighbors"]:
            continue
        features = torch.from_numpy(run.row("panel_features", row - 1).astype(np.float32))
        found = nearest(features, k)[0]
        clean = torch.from_numpy(run.row("clean", row - 1))
        neighbors[row, :k] = found.T.numpy()
        weights[row, : k + 1] = mixing_weights(clean, found).T.numpy()
        record["n_neighbors"] = k
    (copy / "epochs.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return copy


def measure(runs: list[RunFolder]) -> dict[str, Any]:
    """Sizes and median seconds of one recording."""
    try:
        data = data_of(runs[0])
    except StoreError:
        data = None
    recording, seconds = timed(lambda: RecordingWriter(*runs, data=data).to_bytes())
    read, reading = timed(lambda: read_recording(recording))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page_bytes, publishing = timed(lambda: publish(runs, page, data), 1)
        opening = [opened(page) for _ in range(TURNS)]
    bytes_by_block: dict[str, int] = {}
    for kind, payload in layout.blocks(recording):
        name = kind.decode()
        bytes_by_block[name] = bytes_by_block.get(name, 0) + len(payload)
    growth = grown(runs[0].folder)
    return {
        "bytes": len(recording),
        "bytes_by_block": bytes_by_block,
        "bytes_by_array": sizes_of_arrays(read.epochs),
        "page_bytes": page_bytes,
        "record_seconds": seconds,
        "read_seconds": reading,
        "publish_seconds": publishing,
        "open_seconds": statistics.median(opening),
        "epoch_bytes": growth[0],
        "epoch_seconds": growth[1],
    }


def timed(call: Any, turns: int = TURNS) -> tuple[Any, float]:
    """A result and the median seconds of some calls."""
    seconds = []
    for _ in range(turns):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds)


def grown(folder: Path) -> tuple[int, float]:
    """Bytes and median seconds of an epoch that is appended to the recording of a run."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "run"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("states", "maps"))
        lines = (copy / "epochs.jsonl").read_text().splitlines(keepends=True)
        start = max(len(lines) - 10, 1)
        (copy / "epochs.jsonl").write_text("".join(lines[:start]))
        recorder, sizes, seconds = RecordingWriter(RunFolder(copy)), [], []
        for line in lines[start:]:
            with open(copy / "epochs.jsonl", "a") as file:
                file.write(line)
            begin = time.perf_counter()
            sizes.append(len(recorder.update()))
            seconds.append(time.perf_counter() - begin)
    return round(statistics.median(sizes)), statistics.median(seconds)


def sizes_of_arrays(epochs: list[list[Any]]) -> dict[str, int]:
    """Compressed bytes of each array over all epochs, each compressed alone."""
    sizes: dict[str, int] = {}
    for run in epochs:
        before: dict[str, np.ndarray] = {}
        for epoch in run:
            for name, codes in epoch.codes.items():
                last = before.get(name)
                xor = name != "map" and last is not None and last.shape == codes.shape
                stored = codes ^ last if xor else codes
                sizes[name] = sizes.get(name, 0) + len(zlib.compress(stored.tobytes()))
            before = epoch.codes
    return sizes


def opened(page: Path) -> float:
    """Seconds until the player of a page shows its first epoch."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            tab = browser.new_context(offline=True).new_page()
            start = time.perf_counter()
            tab.goto(page.as_uri())
            tab.locator("#player [data-epoch]").first.wait_for(state="attached")
            return time.perf_counter() - start
        finally:
            browser.close()


if __name__ == "__main__":
    main()
