"""What Recorder adds to an epoch of a training loop of one's own.

    python tests/benchmarks/bench_recorder.py [--out assets/results/recorder.json]

A plain loop in PyTorch trains for some epochs and evaluates its training set after each of them, as
a loop that is to be recorded does. "epoch" is the median of its wall seconds without the recorder,
"log" that of `Recorder.log` with losses, probabilities and features, "share" their ratio. The sets
are digits on the small network, and generated shapes, 32 x 32 in color, on a residual one.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import finish, options
from torch.nn.functional import cross_entropy

from engine import Recorder, load
from engine.config import registry
from engine.hardware import hardware_info, threads
from engine.models import build

CASES = {  # data set -> network, epochs
    "digits": ("small", 12),
    "shapes:5000": ("resnet9-w16", 3),
    "shapes:10000": ("resnet9-w16", 3),
}
BATCH = 64


def measure(dataset: str, network: str, epochs: int, folder: Path) -> dict:
    """Seconds of an epoch and of its record."""
    data = load(dataset)
    net = build(registry.function("networks", network), data.shape, data.n_classes, seed=0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    recorder = Recorder(folder, data, epochs=epochs)
    training, logging = [], []
    for epoch in range(epochs):
        start = time.perf_counter()
        net.train()
        for batch in torch.randperm(data.n).split(BATCH):
            optimizer.zero_grad()
            logits, _ = net(data.images[batch] / 255)
            cross_entropy(logits, data.labels[batch]).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            outputs = [net(images / 255) for images in data.images.split(256)]
        logits, features = (torch.cat(part) for part in zip(*outputs, strict=True))
        trained = time.perf_counter()
        recorder.log(
            epoch,
            losses=cross_entropy(logits, data.labels, reduction="none"),
            probabilities=logits.softmax(1),
            features=features,
        )
        training.append(trained - start)
        logging.append(time.perf_counter() - trained)
    epoch_seconds, log_seconds = statistics.median(training), statistics.median(logging)
    return {
        "n": data.n,
        "network": network,
        "epochs": epochs,
        "epoch": epoch_seconds,
        "log": log_seconds,
        "largest_log": max(logging),
        "share": log_seconds / epoch_seconds,
    }


def main() -> None:
    arguments = options(__doc__).parse_args()
    measured_on = hardware_info(torch.device("cpu"))
    results = {}
    with tempfile.TemporaryDirectory() as folder, threads(1):
        for dataset, (network, epochs) in CASES.items():
            results[dataset] = measure(dataset, network, epochs, Path(folder) / network / dataset)
    finish("recorder", measured_on, {"batch": BATCH, "threads": 1}, results, arguments.out)


if __name__ == "__main__":
    main()
