"""Milliseconds of a training step, in several ways of running it; the floor by operations."""

import time
from collections.abc import Iterator
from itertools import cycle, islice
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from engine import hardware
from engine.config import RunConfig
from engine.profiling.stages import flops_per_image, peak_flops
from engine.training.batches import draw_batches, find_partners
from engine.training.control import Control
from engine.training.evaluation import evaluate
from engine.training.train import epoch_plan, prepare_state, train_step

if TYPE_CHECKING:
    from engine.data import Data

# name -> settings; on a CPU the second computes what the first does, and compiling takes minutes
WAYS: dict[str, dict[str, Any]] = {
    "eager": dict(compile="none", deterministic=True),
    "not deterministic": dict(compile="none", deterministic=False),
    "compiled": dict(compile="default", deterministic=False),
    "CUDA graphs": dict(compile="reduce-overhead", deterministic=False),
}
ON_CPU = ("eager", "not deterministic")
N_FIRST = 4  # steps before the timed ones: they compile, record graphs and choose algorithms
N_ROUNDS, N_STEPS, ROUND_SECONDS = 3, 20, 1.0  # a round has so many steps, fewer if they are slow
MAX_LOSS_CHANGE = 0.1  # a way whose mean loss differs by more from eager's, relative, is wrong


def step_times(config: RunConfig, data: "Data") -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure each of WAYS on config's device, and yield its name and numbers when it is done.

    step_ms: median of N_ROUNDS rounds of the complete step, augmentation and optimizer included,
    with one partner per sample. first_seconds: the first steps, compiling included. evaluation_s:
    the pass over the whole set. epoch_s: all steps and that pass. loss: mean of the timed steps. A
    way that fails has its error instead.
    """
    ways = ON_CPU if hardware.choose_device(config.device).type == "cpu" else tuple(WAYS)
    for name in ways:
        try:
            yield name, _measure(config.changed(**WAYS[name]), data)
        except Exception as error:  # one of them must not keep the others from being measured
            yield name, {"error": f"{type(error).__name__}: {error}"[:500]}


def floor(config: RunConfig, data: "Data") -> dict[str, float]:
    """The least milliseconds that a step can take, by its floating-point operations.

    peak_tflops is measured by a matrix product in the run's number format.
    """
    state = prepare_state(config, data)
    size = len(draw_batches(state, "main")[0])
    training, evaluation = flops_per_image(state.model, data.shape, state.device)
    with hardware.threads(state.threads):
        peak = peak_flops(state.device, state.precision, 1)
    return {
        "batch": size,
        "training_gflop_an_image": training / 1e9,
        "evaluation_gflop_an_image": evaluation / 1e9,
        "peak_tflops": peak / 1e12,
        "step_ms": 1000 * training * size / peak,
        "epoch_s": data.n * (training + evaluation) / peak,
    }


def fastest(ways: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The settings of the way with the shortest epoch, of those that learn as eager does."""
    right = {name: row["epoch_s"] for name, row in ways.items() if _agrees(row, ways["eager"])}
    return WAYS[min(right, key=right.__getitem__)] if right else {}


def _agrees(row: dict[str, Any], eager: dict[str, Any]) -> bool:
    if "error" in row or "error" in eager:
        return "error" not in row
    allowed = MAX_LOSS_CHANGE * max(abs(eager["loss"]), 1)  # that of ELR may be near 0
    return abs(row["loss"] - eager["loss"]) <= allowed


def _measure(config: RunConfig, data: "Data") -> dict[str, Any]:
    state = prepare_state(config, data)
    device, epoch = state.device, config.warmup
    _, _, criterion = epoch_plan(config, epoch)
    batches = draw_batches(state, "main")
    partners = find_partners(state, "mixup", batches, None)
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate / 10  # wrong gradients show in the loss
    state.model.train()
    same_size = cycle(batch for batch in batches if len(batch) == len(batches[0]))
    losses: list[torch.Tensor] = []

    def seconds_of(n_steps: int) -> float:
        losses.clear()
        start = time.perf_counter()
        for batch in islice(same_size, n_steps):
            losses.append(train_step(state, epoch, criterion, batch, partners).mean())
        _wait(device)
        return time.perf_counter() - start

    with (
        hardware.session(device, state.compile, deterministic=config.deterministic),
        hardware.threads(state.threads),
    ):
        first = seconds_of(1)
        warm = seconds_of(N_FIRST) / N_FIRST
        n_steps = min(max(int(ROUND_SECONDS / warm), 1), N_STEPS)
        rounds, seen = [], []
        for _ in range(N_ROUNDS):
            rounds.append(seconds_of(n_steps) / n_steps)
            seen += losses
        evaluations = []
        for _ in range(2):  # the first may compile
            start = time.perf_counter()
            evaluate(state, state.evaluation_network(), Control(), epoch, correct=False)
            _wait(device)
            evaluations.append(time.perf_counter() - start)
    step = median(rounds)
    return {
        "step_ms": 1000 * step,
        "step_ms_least": 1000 * min(rounds),
        "n_steps": N_ROUNDS * n_steps,
        "first_seconds": first,
        "evaluation_s": evaluations[-1],
        "evaluation_first_s": evaluations[0],
        "epoch_s": step * len(batches) + evaluations[-1],
        "loss": float(torch.stack(seen).mean()),
        "precision": state.precision,
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
