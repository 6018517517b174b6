"""What the run folder costs: writing an epoch of 50,000 samples, reading one sample's history.

    python tests/benchmarks/bench_store.py [--dataset cifar10] [--out assets/results/store.json]

Trains two epochs (a warm-up and a mixing one) on the data set, then writes the last one 300 times
over, and reads the histories of samples that were not read before. "held": how long training
waits until an epoch is handed over to the thread that writes it; "write": until it is on disk.
"""

import dataclasses
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from common import finish, options

from engine.config import configure
from engine.data import load_data
from engine.hardware import hardware_info
from engine.runs.folder import RunFolder
from engine.runs.write_behind import WriteBehind
from engine.runs.writer import RunWriter
from engine.training.train import prepare_state, train

EPOCHS = 300


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--dataset", default="shapes:50000")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--network", default="resnet9-w16")
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    arguments = parser.parse_args()
    config = configure(
        dataset=arguments.dataset,
        limit=arguments.limit,
        network=arguments.network,
        k=arguments.k,
        epochs=EPOCHS,
        warmup=1,
        correction_start=1,
        device=arguments.device,
    )
    data = load_data(config)
    state = prepare_state(config, data)
    measured_on = hardware_info(state.device)
    folder = Path(tempfile.mkdtemp(dir=arguments.folder)) / "run"
    try:
        writer, held, writing = RunWriter.create(folder, state), [], []
        behind = WriteBehind(writer)
        epochs = train(config, data, state=state)
        next(epochs)
        snapshot = next(epochs)
        epoch_seconds = sum(snapshot.seconds.values())
        for epoch in range(EPOCHS):
            start = time.perf_counter()
            behind.write(dataclasses.replace(snapshot, epoch=epoch), state)
            held.append(time.perf_counter() - start)
            behind.flush()
            writing.append(time.perf_counter() - start)
        writer.close()
        run, reading = RunFolder(folder), []
        for sample in np.random.default_rng(0).choice(data.n, 51, replace=False):
            start = time.perf_counter()
            history = run.sample(int(sample))
            reading.append(time.perf_counter() - start)
        assert history["soft"].shape == (EPOCHS, data.n_classes)
        size = sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file())
    finally:
        shutil.rmtree(folder.parent)
    hold, write = statistics.median(held), statistics.median(writing)
    results = {
        "epoch_seconds": epoch_seconds,
        "stage_seconds": snapshot.seconds,
        "held_seconds_median": hold,
        "held_seconds_largest": max(held),
        "held_share_of_epoch": hold / epoch_seconds,
        "write_seconds_median": write,
        "write_seconds_largest": max(writing),
        "write_share_of_epoch": write / epoch_seconds,
        "history_seconds_median": statistics.median(reading),
        "history_seconds_first": reading[0],
        "history_seconds_largest_after": max(reading[1:]),
        "megabytes_on_disk": size / 1e6,
    }
    settings = {
        "dataset": arguments.dataset,
        "n": data.n,
        "network": state.network,
        "k": arguments.k,
        "precision": state.precision,
        "panel": len(state.noisy_labels.panel),
        "epochs": EPOCHS,
    }
    finish("store", measured_on, settings, results, arguments.out)


if __name__ == "__main__":
    main()
