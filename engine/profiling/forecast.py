"""What a run would take: time, memory and disk, from a few epochs on a part of its data."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine import hardware
from engine.config import RunConfig
from engine.data.registry import stratified_sample
from engine.profiling.stages import peak_memory
from engine.runs.writer import RunWriter
from engine.training.train import prepare_state, train

if TYPE_CHECKING:
    from engine.data import Data
    from engine.training.snapshot import Snapshot
    from engine.training.state import State

N_TRIED, N_EPOCHS = 2000, 3  # samples, at most; epochs: warm-up, mixing, correction
IN_MEMORY = 3  # arrays of an epoch that are in memory at once: old, new, being written


@dataclass(frozen=True)
class Forecast:
    """A run before it is started. Times and sizes are extrapolated, see `forecast`."""

    n: int  # samples
    shape: tuple[int, ...]  # of a sample, (C, H, W)
    n_classes: int
    n_parameters: int  # of the network
    batches: int  # of an epoch
    n_tried: int  # samples of the trial
    seconds: float  # of the whole run
    memory_bytes: int  # at the most
    folder_bytes: int  # of the run folder in the end

    def rows(self, config: RunConfig) -> list[tuple[str, str]]:
        """Two columns of words."""
        kept = len(range(0, config.epochs, config.state_interval))
        data = f"{self.n:,} samples of {self.shape}, {self.n_classes} classes"
        noise = "" if config.noise == "none" else f", rate {config.rate:g}"
        return [
            ("run", "forecast"),
            ("data", f"{config.dataset}: {data}"),
            ("noise", f"{config.noise}{noise}"),
            ("network", f"{config.network}, {self.n_parameters:,} parameters"),
            ("training", f"{config.epochs} epochs of {self.batches:,} batches"),
            ("time", f"about {_duration(self.seconds)} on this machine as it is now"),
            ("memory", f"about {_size(self.memory_bytes)}"),
            ("run folder", f"about {_size(self.folder_bytes)}, with {kept} states of the network"),
        ]


def forecast(config: RunConfig, data: "Data") -> Forecast:
    """Train up to N_EPOCHS epochs on up to N_TRIED samples, and extrapolate linearly.

    The search for neighbors grows like N^1.5, the test part not at all. Nothing is kept. Raises
    what training raises.
    """
    n = min(data.n, max(N_TRIED, data.n_classes, config.k + 1))
    part = data if n == data.n else data.subset(stratified_sample(data.labels.numpy(), n, 0))
    epochs = min(N_EPOCHS, config.epochs)
    tried = config.changed(
        epochs=epochs,
        warmup=min(config.warmup, 1),
        correction_start=min(config.correction_start, epochs - 1),
        correction_interval=1,
        test_interval=1,
        state_interval=1,
        checkpoint_every=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        state = prepare_state(tried, part)
        writer = RunWriter.create(Path(folder) / "run", state)
        snapshots = []
        try:
            session = hardware.session(
                state.device, state.compile, deterministic=config.deterministic
            )
            with session:
                for snapshot in train(tried, part, state=state):
                    writer.write(snapshot, state.state_dict())
                    snapshots.append(snapshot)
        finally:
            writer.close()
        arrays, states = _sizes(writer.folder, state)
    scale = data.n / part.n
    early, late = (_seconds(snapshots[at], scale) for at in (0, -1))
    warmup = min(config.warmup, config.epochs)
    an_epoch, a_state = arrays * scale / epochs, states[0] + states[1] * scale
    n_states = len(range(0, config.epochs, config.state_interval)) + 1
    more = an_epoch + states[1] * scale if scale > 1 else 0
    return Forecast(
        n=data.n,
        shape=tuple(data.shape),
        n_classes=data.n_classes,
        n_parameters=sum(p.numel() for p in state.model.parameters()),
        batches=-(-data.n // config.batch_size),
        n_tried=part.n,
        seconds=warmup * early + (config.epochs - warmup) * late,
        memory_bytes=round(peak_memory(state.device) + IN_MEMORY * more),
        folder_bytes=round(config.epochs * an_epoch + n_states * a_state),
    )


def _seconds(snapshot: "Snapshot", scale: float) -> float:
    """Of such an epoch on all samples."""
    power = {"neighbors": 1.5, "test": 0.0}
    return sum(spent * scale ** power.get(stage, 1) for stage, spent in snapshot.seconds.items())


def _sizes(folder: Path, state: "State") -> tuple[int, tuple[int, int]]:
    """Bytes of all arrays; of a stored state the part that the network has, and the samples'."""
    arrays = sum(file.stat().st_size for file in (folder / "arrays").iterdir())
    stored = max(file.stat().st_size for file in (folder / "states").iterdir())
    per_sample = state.soft.numel() * state.soft.element_size()
    return arrays, (max(stored - per_sample, 0), per_sample)


def _duration(seconds: float) -> str:
    """Such as 45 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _size(n_bytes: float) -> str:
    """Such as 12 MB, 3.4 GB."""
    return f"{n_bytes / 1e6:,.0f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:,.1f} GB"
