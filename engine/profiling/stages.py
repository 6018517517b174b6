"""Seconds of the stages of an epoch, measured in turns, and the share of peak performance."""

import copy
import dataclasses
import functools
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine import hardware
from engine.config import RunConfig
from engine.data import load_data
from engine.errors import ConfigError
from engine.method.mixing import mixing_weights
from engine.method.neighbors import nearest
from engine.method.soft_labels import ema_update
from engine.profiling.reference import ReferenceImplementation
from engine.runs.write_behind import WriteBehind
from engine.runs.writer import RunWriter
from engine.training.batches import Partners, find_partners
from engine.training.control import Control
from engine.training.evaluation import estimate_clean_probability, evaluate
from engine.training.state import State
from engine.training.train import make_snapshot, prepare_state, train_epoch

# the stages of an epoch of MixNN; the label update is part of the evaluation pass
EPOCH = ("training", "evaluation", "mixture", "neighbors", "weights", "snapshot")
PEAK_SIZES = {"cpu": (2048, 4096), "cuda": (4096, 8192)}
N_COSTS, N_PROFILED = 3, 10  # operators that a profile lists, steps that it covers


def measure(
    config: RunConfig,
    *,
    images: int | None = None,
    turns: int = 3,
    reference: int = 0,
    profile: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure one configuration; all in one process, stage after stage in turns.

    images: images per pass and turn, by default all; the seconds are scaled linearly to the whole
    set. Everything else is measured at full size, on features of one evaluation of the whole set.
    turns: repetitions, of which medians are reported. reference: images per turn of the reference
    implementation, 0 for none. profile: list the largest costs. say: receives progress messages.

    Returns seconds by stage for an epoch of N samples (median, least, largest of the turns), and
    derived values: `mixnn_over_ce`, an epoch of MixNN over the training pass of plain
    cross-entropy; images_per_second; shares of the machine's peak in a matrix product; memory.
    Raises ConfigError.
    """
    data = load_data(config)
    images = data.n if images is None else images
    _check_counts(images, turns, reference, range(min(config.batch_size, data.n), data.n + 1))
    state = prepare_state(config, data)
    machine = hardware.hardware_info(state.device)
    with (
        hardware.session(state.device, state.compile, deterministic=config.deterministic),
        hardware.threads(state.threads),
        tempfile.TemporaryDirectory() as folder,
    ):
        say("evaluation of the whole set")
        bench = _Bench(state, images, Path(folder) / "run")
        cases = bench.cases()
        if reference:
            other = ReferenceImplementation(
                config, data, state.noisy_labels.given, reference, state.device
            )
            cases |= {
                "reference training": (other.train, data.n / other.n_images),
                "reference evaluation": (other.evaluate, data.n / other.n_images),
            }
        seconds = in_turns(cases, turns, state.device, say)
        result = {
            "machine": machine,
            "network": state.network,
            "precision": state.precision,
            "threads": state.threads,
            "n": data.n,
            "k": config.k,
            "batch_size": config.batch_size,
            "compile": state.compile,
            "images_per_turn": images,
            "turns": turns,
            "seconds": seconds,
            **_derived(seconds, data.n, bench),
        }
        if profile:
            result["largest_costs"] = bench.largest_costs()
        bench.close()
    result["peak_memory_mb"] = round(peak_memory(state.device) / 1e6)
    return result


def _check_counts(images: int, turns: int, reference: int, sizes: range) -> None:
    """Raise ConfigError for a count that is not allowed; sizes: allowed numbers of images."""
    for name, value, allowed in (
        ("images", images, sizes),
        ("turns", turns, range(1, 101)),
        ("reference", reference, (0, *sizes)),
    ):
        if value not in allowed:
            raise ConfigError(f"{name} = {value}: allowed is {allowed[0]} to {allowed[-1]}")


def in_turns(
    cases: dict[str, tuple[Callable[[], Any], float]],
    turns: int,
    device: torch.device,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, dict[str, float]]:
    """Seconds of each case times its factor, measured in turns after one warm-up round.

    In turns, so that a temporarily slow machine is slow for all cases. Returns, by case, median,
    least and largest.
    """
    spent: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(turns + 1):
        for name, (case, factor) in cases.items():
            say(f"turn {turn} of {turns}: {name}")
            start = time.perf_counter()
            case()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:
                spent[name].append((time.perf_counter() - start) * factor)
    return {
        name: {"median": statistics.median(v), "least": min(v), "largest": max(v)}
        for name, v in spent.items()
    }


def rows_of(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """A result as rows of a table, the header first."""
    rows = [("measured", "median", "least to largest")]
    for name, row in result["seconds"].items():
        rows.append(
            (f"{name}, s", f"{row['median']:.4f}", f"{row['least']:.4f} to {row['largest']:.4f}")
        )
    for name in ("mixnn_epoch_seconds", "mixnn_over_ce", "snapshot_share", "times_the_reference"):
        if name in result:
            rows.append((name.replace("_", " "), f"{result[name]:.3f}", ""))
    for name in ("images_per_second", "share_of_peak"):
        for part, value in result[name].items():
            rows.append((f"{name.replace('_', ' ')}: {part}", f"{value:,.3g}", ""))
    for cost in result.get("largest_costs", []):
        rows.append((f"cost: {cost['operator']}", f"{cost['share']:.3f}", ""))
    rows.append(("peak, TFLOP/s", f"{result['peak_tflops']:.3g}", ""))
    rows.append(("peak memory, MB", f"{result['peak_memory_mb']:,}", ""))
    return rows


def comparison(result: dict[str, Any], before: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows of a table: each stage in a stored result, now, and the ratio of the two."""
    rows = [("stage", "stored s", "now s", "now / stored")]
    for name, now in result["seconds"].items():
        then = before["seconds"].get(name)
        if then:
            rows.append(
                (
                    name,
                    f"{then['median']:.4f}",
                    f"{now['median']:.4f}",
                    f"{now['median'] / max(then['median'], 1e-9):.2f}",
                )
            )
    return rows


class _Bench:
    """One state of training, and each stage of its epoch as a function to call."""

    def __init__(self, state: State, images: int, folder: Path):
        self.state, self.images, self.control = state, images, Control()
        self.config = state.config
        network = state.evaluation_network()
        self.evaluation = evaluate(state, network, self.control, 0, correct=False)
        self.scaled_loss, self.fit = estimate_clean_probability(state, self.evaluation)
        self.part = copy.copy(state)  # the same run on the first images only
        first = {name: getattr(state.data, name)[:images] for name in ("images", "labels")}
        self.part.data = dataclasses.replace(state.data, **first)
        self.mixed, self.alone = (
            find_partners(state, mixing, [], self.evaluation) for mixing in ("neighbors", "none")
        )
        order = torch.from_numpy(state.rng.permutation(state.data.n)[:images]).to(state.device)
        self.batches = list(order.tensor_split(-(-images // self.config.batch_size)))
        self.writer = RunWriter.create(folder, state)
        self.behind = WriteBehind(self.writer)
        self.epoch = state.epoch

    def cases(self) -> dict[str, tuple[Callable[[], Any], float]]:
        """Name -> the function to time, and the factor that scales its seconds to the whole set."""
        scale = self.state.data.n / self.images
        state, config, features = self.state, self.config, self.evaluation.features
        neighbors, clean = self.mixed.neighbors, state.clean
        assert neighbors is not None
        assert clean is not None

        def search() -> Any:
            backend = config.neighbor_backend
            return nearest(features, config.k, backend=backend, seed=config.seed)

        weigh = functools.partial(mixing_weights, clean, neighbors)
        return {
            "ce training": (lambda: self.train(self.alone), scale),
            "training": (lambda: self.train(self.mixed), scale),
            "evaluation": (self.evaluate, scale),
            "mixture": (lambda: estimate_clean_probability(state, self.evaluation), 1),
            "neighbors": (search, 1),
            "weights": (weigh, 1),
            "label update": (lambda: ema_update(state.soft, state.soft, config.alpha), 1),
            "snapshot": (self.snapshot, 1),
            "writing behind": (self.behind.flush, 1),
        }

    def train(self, partners: Partners) -> None:
        train_epoch(self.state, self.config.warmup, "ce", self.batches, partners, self.control)

    def evaluate(self) -> None:
        network = self.state.evaluation_network()
        evaluate(self.part, network, self.control, 0, correct=True)

    def snapshot(self) -> None:
        """The work between two epochs: copies and metrics, and the call of the writer."""
        self.epoch = self.state.epoch = self.epoch + 1
        snapshot = make_snapshot(
            self.state, "main", {}, {}, self.evaluation, self.scaled_loss, self.fit, self.mixed
        )
        self.behind.write(snapshot, self.state)

    def close(self) -> None:
        self.behind.flush()
        self.writer.close()

    def largest_costs(self) -> list[dict[str, Any]]:
        """The operators with the largest share of the time of a few training steps."""
        from torch.profiler import ProfilerActivity, profile

        cuda = self.state.device.type == "cuda"
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        batches, self.batches = self.batches, self.batches[:N_PROFILED]
        with profile(activities=kinds) as events:
            self.train(self.mixed)
        self.batches = batches
        field = "self_device_time_total" if cuda else "self_cpu_time_total"
        spent: Counter[str] = Counter()
        for row in events.key_averages():
            # on a CPU each compiled graph is an operator of its own, named by a hash
            compiled = row.key.startswith("## Call CompiledFxGraph")
            spent["compiled kernels" if compiled else row.key] += getattr(row, field)
        return [
            {"operator": name, "share": round(value / spent.total(), 3)}
            for name, value in spent.most_common(N_COSTS)
        ]


def _derived(seconds: dict[str, dict[str, float]], n: int, bench: _Bench) -> dict[str, Any]:
    """Values derived from the medians."""
    spent = {name: row["median"] for name, row in seconds.items()}
    epoch = sum(spent[name] for name in EPOCH)
    state = bench.state
    in_training, in_evaluation = flops_per_image(state.model, state.data.shape, state.device)
    peak = peak_flops(state.device, state.precision)
    images_per_second = {
        "ce training": n / spent["ce training"],
        "mixnn epoch": n / epoch,
    }
    derived = {
        "mixnn_epoch_seconds": epoch,
        "mixnn_over_ce": epoch / spent["ce training"],
        "snapshot_share": spent["snapshot"] / epoch,
        "images_per_second": images_per_second,
        "peak_tflops": peak / 1e12,
        "share_of_peak": {
            "training": in_training * n / spent["training"] / peak,
            "evaluation": in_evaluation * n / spent["evaluation"] / peak,
        },
    }
    if "reference training" in spent:
        reference = spent["reference training"] + spent["reference evaluation"]
        images_per_second["reference epoch"] = n / reference
        derived["times_the_reference"] = reference / epoch
    return derived


def flops_per_image(
    network: torch.nn.Module, shape: tuple[int, int, int], device: torch.device
) -> tuple[int, int]:
    """Floating-point operations of training on one image (C, H, W), and of evaluating one."""
    image = torch.zeros((1, *shape), device=device)
    network = copy.deepcopy(network).eval()
    counted = []
    for backward in (True, False):
        with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(backward):
            logits, _ = network(image)
            if backward:
                logits.sum().backward()
        counted.append(counter.get_total_flops())
    return counted[0], counted[1]


@functools.cache
def peak_flops(device: torch.device, precision: str, n_sizes: int | None = None) -> float:
    """Floating-point operations per second of a device in a matrix product; measured once.

    n_sizes: use only the first so many of PEAK_SIZES; the larger ones take a CPU many seconds.
    """
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    best = 0.0
    for size in PEAK_SIZES[device.type][:n_sizes]:
        a = torch.randn(size, size, device=device).to(kind)
        case = functools.partial(torch.matmul, a, a)
        best = max(best, 2 * size**3 / in_turns({"": (case, 1)}, 3, device)[""]["least"])
    return best


def peak_memory(device: torch.device) -> int:
    """Bytes of GPU memory, or on a CPU the peak memory of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
