"""What a run is about, and where it stands between two epochs: made, packed, unpacked."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine import hardware as machine
from engine import models
from engine.config import RunConfig
from engine.data import Data, load
from engine.errors import ConfigError
from engine.method import optimization
from engine.method.soft_labels import ema_update, one_hot
from engine.models.averaging import WeightAverage
from engine.training.control import Control
from engine.training.noisy_labels import make_noisy_labels

TRAINING_STREAM = 1  # keeps shuffling apart from the noise, whose stream is another one
# Entries of the table of soft labels from which on it is kept in half precision: 1 GB as float32.
HALF_PRECISION_ENTRIES = 2**28


def load_data(config: RunConfig) -> Data:
    """The data set that config names. Raises DataError."""
    return load(
        config.dataset, limit=config.limit, seed=config.data_seed, image_size=config.image_size
    )


def validate_k(config: RunConfig, n: int) -> None:
    """Raise ConfigError where n samples, or a batch of them, hold too few neighbors for K."""
    if config.mixing != "neighbors":
        return
    where, most = f"for {n} samples", n - 1
    if config.neighbor_scope == "batch":
        size = n // -(-n // config.batch_size)  # of the smallest batch, see train.draw_batches
        where, most = f"inside batches of {size}", size - 1
    if config.k > most:
        raise ConfigError(f"k = {config.k}: allowed is 1 to {most} {where}")


class State:
    """Everything that changes while a run trains; written by `train` and, to measure, profiling.

    Between two epochs `state_dict` describes it; a State made with that as packed goes on bit by
    bit as the run it came from would have (same device, same number of threads). control: gets the
    progress of the margin networks, and may stop them. kept: labels to take over if they fit, by
    default packed's, see `problem.make_noisy_labels`.
    """

    def __init__(
        self,
        config: RunConfig,
        data: Data,
        packed: dict[str, Any] | None = None,
        control: Control | None = None,
        kept: Mapping[str, Any] | None = None,
    ):
        validate_k(config, data.n)
        self.config = config
        on_progress = control and partial(control.report_progress, 0, "margins")
        self.noisy_labels = make_noisy_labels(config, data, kept or packed, on_progress)
        self.device = machine.choose_device(config.device)
        self.data = data.to(self.device)
        self.mean, self.std = (v.to(self.device) for v in data.channel_stats())
        self.network = models.choose(config.network, data.shape)
        self.precision = machine.choose_precision(config.precision, self.network, self.device)
        self.threads = machine.choose_threads(config.threads, self.network)
        self.model = models.build(self.network, data.shape, data.n_classes, seed=config.seed)
        # faster for convolutions on CPUs and GPUs alike (tests/benchmarks/bench_precision.py)
        self.layout = torch.channels_last
        self.model.to(self.device, memory_format=self.layout)
        self.compile = machine.choose_compile(
            config.compile, self.network, self.device, data.n * config.epochs
        )
        # for the training step alone; two sizes of batches are two shapes, see train.draw_batches
        self.compiled = models.compiled(self.model, self.compile)
        # the moving average of the weights, in evaluation mode
        self.average = WeightAverage(self.model, config.weight_ema) if config.weight_ema else None
        self.n_steps = 0  # of the optimizer
        self.optimizer = optimization.build(
            config.optimizer,
            self.model.parameters(),
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov,
        )
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        self.rng = np.random.default_rng((config.seed, TRAINING_STREAM))
        self.epoch = -1  # the last epoch done
        given = torch.from_numpy(self.noisy_labels.given).to(self.device)
        half = data.n * data.n_classes > HALF_PRECISION_ENTRIES
        # (N, C) float32, or float16 where it is large: the current soft labels
        self.soft = one_hot(given, data.n_classes, torch.float16 if half else torch.float32)
        self.shares: Tensor | None = None  # (C,) float32, the mean prediction of the last look
        self.clean: Tensor | None = None  # (N,) float32, P(clean) after the last epoch
        self.losses: list[Tensor] = []  # the last loss_history normalized losses, (N,) each
        remembers = "elr" in (config.loss, config.early_loss)
        self.memory = torch.zeros_like(self.soft) if remembers else None  # ELR's targets
        self.panel = torch.from_numpy(self.noisy_labels.panel).to(self.device)
        if packed is not None:
            self.load_state_dict(packed)

    def update_elr_targets(self, batch: Tensor, logits: Tensor) -> None:
        """Move ELR's targets of these samples (B,) toward what the network says of them."""
        prediction = logits.detach().softmax(1).clamp(1e-4, 1 - 1e-4)  # as in the authors' code
        prediction = prediction / prediction.sum(1, keepdim=True)
        moved = ema_update(self.memory[batch], prediction, self.config.elr_beta)
        self.memory[batch] = moved.to(self.memory.dtype)

    def optimizer_step(self) -> None:
        """Move the weights by their gradients, and their moving average after them."""
        self.optimizer.step()
        self.n_steps += 1
        if self.average is not None:
            self.average.update(self.n_steps)

    def evaluation_network(self) -> torch.nn.Module:
        """The network that looks at the set and is tested, as it is now, in evaluation mode."""
        network = self.model if self.average is None else self.average.network
        return models.for_evaluation(network, self.device, self.precision, self.compile)

    def state_dict(self) -> dict[str, Any]:
        """All that training needs to go on: plain values and tensors.

        `torch.load(..., weights_only=True)` reads them back.
        """
        return {
            "epoch": self.epoch,
            "config": self.config.model_dump_json(),
            "device": self.device.type,
            "precision": self.precision,
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "n_steps": self.n_steps,
            "shares": self.shares,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "rng": _to_plain(self.rng.bit_generator.state),
            "given": torch.from_numpy(self.noisy_labels.given),
            "matrix": torch.from_numpy(self.noisy_labels.matrix),
            "rate_requested": self.noisy_labels.rate_requested,
            "soft": self.soft,
            "clean": self.clean,
            "losses": self.losses,
            "memory": self.memory,
        }

    def load_state_dict(self, packed: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, as far as the settings still are the same."""
        before = RunConfig.model_validate_json(packed["config"])
        changed = {
            name
            for name in RunConfig.model_fields
            if getattr(before, name) != getattr(self.config, name)
        }
        self.epoch = packed["epoch"]
        self.model.load_state_dict(packed["model"])
        if self.average is not None:
            self.average.load_state_dict(packed.get("average") or packed["model"])
        self.n_steps = packed.get("n_steps", 0)
        if "optimizer" not in changed:
            self._load_optimizer(packed["optimizer"])
        if packed["device"] != self.device.type:
            changed.add("device")
        if not changed & {"seed", "device"}:
            self.generator.set_state(packed["generator"].cpu())
            self.rng.bit_generator.state = packed["rng"]
        if not changed & {"device", "precision"}:
            self.precision = packed["precision"]
        if not np.array_equal(packed["given"].numpy(), self.noisy_labels.given):
            return  # other noise: soft labels, losses and P(clean) start over
        self.soft = packed["soft"].to(self.device)
        if packed.get("shares") is not None:
            self.shares = packed["shares"].to(self.device)
        self.clean = None if packed["clean"] is None else packed["clean"].to(self.device)
        self.losses = [v.to(self.device) for v in packed["losses"]]
        if self.memory is not None and packed["memory"] is not None:
            self.memory = packed["memory"].to(self.device)

    def _load_optimizer(self, packed: dict[str, Any]) -> None:
        settings = [dict(group) for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(packed)
        for group, own in zip(self.optimizer.param_groups, settings, strict=True):
            group.update({name: own[name] for name in own if name not in ("params", "lr")})


def _to_plain(state: dict[str, Any]) -> dict[str, Any]:
    """NumPy's generator state with its numbers as Python's."""
    return {
        key: _to_plain(value)
        if isinstance(value, dict)
        else value
        if isinstance(value, str)
        else int(value)
        for key, value in state.items()
    }
