"""What a session on CIFAR-10 measures: ITEMS, in order of worth."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import torch

from engine import models
from engine.config import RunConfig, configure
from engine.data import load_data
from engine.errors import ConfigError
from engine.experiments.cifar10.configs import NOISES
from engine.experiments.cifar10.session import Item, Session, run_session
from engine.hardware import choose_device, hardware_info
from engine.method.neighbors import nearest
from engine.profiling.self_check import self_check
from engine.profiling.steps import fastest, floor, step_times
from engine.training.train import train

EPOCH_SETTINGS = ("warmup", "correction_start")  # points in time: they move with the epochs
TEST_INTERVAL = 5  # epochs: a test of CIFAR-10 takes a tenth of an epoch
SHARE_FOR_EPOCHS = 0.93  # of the time left, when as many epochs as fit are chosen
N_FEATURES, K, N_SEARCHES = 512, 1, 3
METRICS = (
    "test_accuracy", "train_loss", "label_accuracy", "memorized", "fit_clean", "clean_auroc",
    "learning_rate",
)  # fmt: skip


@dataclass(frozen=True)
class Training:
    """A run by preset and method; its last accuracies, and a line of the curves per epoch."""

    preset: str
    noise: str = "symmetric0.8"  # one of NOISES
    method: str = "mixnn"
    sized: bool = False  # as many epochs as fit into the item's seconds, up to the preset's
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, session: Session, result: dict[str, Any]) -> None:
        config = self.config(session)
        result |= {"preset": self.preset, "method": config.method, "noise": self.noise}
        if self.sized:
            result["seconds_an_epoch"] = _seconds_an_epoch(config, session)
            config = _resized(config, result["seconds_an_epoch"], session.left())
        defaults = {name: info.default for name, info in RunConfig.model_fields.items()}
        settings = config.model_dump(mode="json").items()
        result |= {
            "epochs": config.epochs,
            "settings": {name: value for name, value in settings if value != defaults[name]},
        }
        start = time.monotonic()
        for snapshot in train(config, session.data):
            measured = {name: snapshot.metrics.get(name) for name in METRICS}
            spent = round(time.monotonic() - start, 3)
            stages = {name: round(value, 4) for name, value in snapshot.seconds.items()}
            session.add_epoch(
                {"epoch": snapshot.epoch, "phase": snapshot.phase, "wall": spent}
                | measured
                | {"seconds": stages}
            )
            known = {name: value for name, value in measured.items() if value is not None}
            result |= {"epochs_done": snapshot.epoch + 1, "wall": spent, **known}

    def config(self, session: Session) -> RunConfig:
        """The settings of the run, with the fastest way of running its network."""
        named = {"dataset": "cifar10", "test_interval": TEST_INTERVAL, **NOISES[self.noise]}
        changes = {**named, **self.settings, **session.settings}
        config = configure(method=self.method, preset=self.preset, **changes)
        ways = session.ways.get(models.choose(config.network, session.data.shape), {})
        if not ways and session.device.type == "cuda":
            ways = {"deterministic": False}
        return config.changed(**{n: v for n, v in ways.items() if n not in session.settings})


@dataclass(frozen=True)
class Steps:
    """Milliseconds of a step of a preset's network in several ways, against the floor."""

    preset: str

    def __call__(self, session: Session, result: dict[str, Any]) -> None:
        config = Training(self.preset).config(session)
        result["network"] = network = models.choose(config.network, session.data.shape)
        result["floor"] = least = floor(config, session.data)
        result["ways"] = ways = {}
        for name, row in step_times(config, session.data):
            if "step_ms" in row:
                row["times_the_floor"] = row["step_ms"] / least["step_ms"]
                row["tflops"] = least["peak_tflops"] / row["times_the_floor"]
            ways[name] = row
            session.ways[network] = fastest(ways)
        result["fastest"] = session.ways[network]


def check(session: Session, result: dict[str, Any]) -> None:
    """Whether the device computes what the CPU does."""
    config = Training("cifar10-fast").config(session)
    result["pieces"] = []
    for row in self_check(config, session.data, session.device):
        result["pieces"].append(row)
    result["ok"] = all(row["ok"] for row in result["pieces"])


def neighbors(session: Session, result: dict[str, Any]) -> None:
    """Seconds of the search among as many features as there are images, also in TF32."""
    device = session.device
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(100, N_FEATURES, generator=generator)
    spread = torch.randn(session.data.n, N_FEATURES, generator=generator)
    features = (centers[torch.arange(session.data.n) % 100] + spread).to(device)
    result |= {"n": session.data.n, "n_features": N_FEATURES, "k": K}
    found = {}
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        for name in ("float32", "TF32") if device.type == "cuda" else ("float32",):
            torch.backends.cuda.matmul.allow_tf32 = name == "TF32"
            seconds = []
            for _ in range(N_SEARCHES + 1):
                start = time.perf_counter()
                found[name] = nearest(features, K)[0].cpu()
                seconds.append(time.perf_counter() - start)
            result[name] = {"median": median(seconds[1:]), "least": min(seconds[1:])}
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    if "TF32" in found:
        result["same"] = float((found["TF32"] == found["float32"]).float().mean())


def measure(seconds: float, out: Path, settings: Mapping[str, Any], question: str) -> bool:
    """Measure ITEMS within seconds; write out/cifar10.json and out/cifar10-curves.jsonl.

    settings: over those of every item, such as limit, network and device. Returns False
    where the process was asked to end before. Raises ConfigError, DataError, DeviceError, and
    OSError where nothing can be written.
    """
    start = time.monotonic()
    for name in {"noise", "rate", "noise_matrix", "human_labels"} & settings.keys():
        raise ConfigError(f"{name} = {settings[name]!r}: the items set it themselves, leave it out")
    if not seconds > 0:
        raise ConfigError(f"seconds = {seconds:g}: allowed is a number above 0")
    config = configure(**{"dataset": "cifar10", **settings})
    device = choose_device(config.device)
    data = load_data(config)
    about = {
        "experiment": "cifar10",
        "question": question,
        "seconds_allowed": seconds,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": hardware_info(device)
        | {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()},
        "device": device.type,
        "data": {
            "n": data.n,
            "n_test": len(data.test_labels),
            "fingerprint": data.fingerprint(),
            "notes": list(data.notes),
        },
        "settings": dict(settings),
    }
    # the optimizers import it late, and a limit that interrupts an import breaks all later ones
    import_module("torch._dynamo")
    out.mkdir(parents=True, exist_ok=True)
    curves = out / "cifar10-curves.jsonl"
    curves.write_bytes(b"")
    session = Session(data.to(device), device, settings, curves)
    return run_session(ITEMS, session, seconds, out / "cifar10.json", about, start)


def plus(preset: str, noise: str) -> Training:
    """MixNN+ by a preset, in as many epochs as fit: warm-up and correction begin early."""
    epochs = configure(preset=preset).epochs
    early = dict(warmup=epochs // 10, correction_start=epochs // 5)
    settings = early | dict(vote_k=200, randaugment=0.5)
    return Training(preset, noise, "mixnn-plus", sized=True, settings=settings)


# Three epochs of the authors' settings, one of each phase: warm-up, random partners, neighbors and
# correction. Longer than a session, the complete 300 are extrapolated from the curves.
REFERENCE = dict(epochs=3, warmup=1, correction_start=2, correction_interval=1, early_extra=0)
ITEMS = (
    Item("self-check", 10, check),
    Item("steps of ResNet-9", 55, Steps("cifar10-fast")),
    Item("steps of ResNet-18", 45, Steps("cifar10-best")),
    Item("mixnn-plus by cifar10-best, sized", 170, plus("cifar10-best", "symmetric0.8"), 1.15),
    Item("mixnn by cifar10-fast", 85, Training("cifar10-fast"), 1.3),
    Item("asymmetric 0.4", 30, plus("cifar10-fast", "asymmetric0.4"), 1.2),
    Item("worse", 30, plus("cifar10-fast", "worse"), 1.2),
    Item("neighbors", 5, neighbors),
    Item("steps of ResNet-34", 35, Steps("reference")),
    Item("three epochs of reference", 20, Training("reference", settings=REFERENCE), 1.5),
    Item("elr", math.inf, Training("cifar10-fast", method="elr", sized=True)),
)


def _seconds_an_epoch(config: RunConfig, session: Session) -> float:
    """Seconds of an epoch after the warm-up, with a test, measured by a run of two."""
    pilot = config.changed(epochs=2, warmup=0, correction_start=0, test_interval=1)
    ends = []
    for _ in train(pilot, session.data):
        ends.append(time.monotonic())
    return ends[1] - ends[0]


def _resized(config: RunConfig, seconds_an_epoch: float, left: float) -> RunConfig:
    """The same run in as many epochs as fit into the seconds left, 3 at least."""
    fit = int(SHARE_FOR_EPOCHS * left / seconds_an_epoch)
    epochs = min(max(fit, 3), config.epochs)
    times = {name: getattr(config, name) for name in EPOCH_SETTINGS}
    moved = {name: round(value * epochs / config.epochs) for name, value in times.items()}
    return config.changed(epochs=epochs, **moved)
