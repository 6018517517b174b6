"""The state of a run between two epochs, and how it is stored and restored."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from engine import hardware, models
from engine.config import RunConfig, registry
from engine.errors import ConfigError
from engine.method import optimization
from engine.method.leave_one_out import leave_one_out
from engine.method.patch_features import patch_features, standardized
from engine.method.soft_labels import ema_update, one_hot
from engine.models.averaging import WeightAverage

if TYPE_CHECKING:
    from engine.data import Data
    from engine.training.noisy_labels import NoisyLabels

TRAINING_STREAM = 1  # keeps shuffling apart from the noise, whose stream is another one
# Entries of the table of soft labels from which on it is kept in half precision: 1 GB as float32.
HALF_PRECISION_ENTRIES = 2**28


class State:
    """Everything that changes while a run trains; written by training and by profiling.

    Between two epochs `state_dict` describes it; a State made from that continues bit by bit as
    the run it came from would have (same device, same number of threads). noisy_labels: of config
    and data, see `train.prepare_state`.
    """

    def __init__(
        self,
        config: RunConfig,
        data: "Data",
        noisy_labels: "NoisyLabels",
        state_dict: dict[str, Any] | None = None,
    ):
        self.config = config
        self.noisy_labels = noisy_labels
        self.device = hardware.choose_device(config.device)
        self.data = data.to(self.device)
        self.mean, self.std = (v.to(self.device) for v in data.channel_stats())
        self.network = models.choose(config.network, data.shape)
        self.precision = hardware.choose_precision(config.precision, self.network, self.device)
        self.threads = hardware.choose_threads(config.threads, self.network)
        factory = registry.function("networks", self.network)
        try:
            self.model = models.build(factory, data.shape, data.n_classes, seed=config.seed)
        except (ValueError, TypeError) as error:
            if not registry.is_custom(self.network):
                raise
            name = registry.in_words(self.network)
            raise ConfigError(f"network = {name!r}: {error}") from error
        if registry.is_pretrained(self.network) and state_dict is None:
            cast(Any, self.model).load_weights(config.backbone_weights)
        # faster for convolutions on CPUs and GPUs alike (tests/benchmarks/bench_precision.py)
        self.model.to(self.device).to(memory_format=torch.channels_last)
        self.compile = hardware.choose_compile(
            config.compile, self.network, self.device, data.n * config.epochs
        )
        # for the training step alone; two batch sizes are two shapes, see batches.draw_batches
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
        given = torch.from_numpy(noisy_labels.given).to(self.device)
        half = data.n * data.n_classes > HALF_PRECISION_ENTRIES
        # (N, C) float32, or float16 where it is large: the current soft labels
        self.soft = one_hot(given, data.n_classes, torch.float16 if half else torch.float32)
        # (C,) float32, the mean prediction of the last evaluation
        self.shares: Tensor | None = None
        self.clean: Tensor | None = None  # (N,) float32, P(clean) after the last epoch
        # neighbors (N, k) and distances of samples that are rows, the same in every epoch
        self.nearest_rows: tuple[Tensor, Tensor] | None = None
        self._linear_votes: Tensor | None = None
        self.losses: list[Tensor] = []  # the last loss_history normalized losses, (N,) each
        uses_elr = "elr" in (config.loss, config.early_loss)
        self.memory = torch.zeros_like(self.soft) if uses_elr else None  # ELR's targets
        self.panel = torch.from_numpy(noisy_labels.panel).to(self.device)
        if state_dict is not None:
            self.load_state_dict(state_dict)

    def update_elr_targets(self, batch: Tensor, logits: Tensor) -> None:
        """Move ELR's targets of the rows of batch (B,) toward the predictions.

        logits: (B, C) of these rows. Only where the loss is ELR.
        """
        assert self.memory is not None
        prediction = logits.detach().softmax(1).clamp(1e-4, 1 - 1e-4)  # as in the authors' code
        prediction = prediction / prediction.sum(1, keepdim=True)
        moved = ema_update(self.memory[batch], prediction, self.config.elr_beta)
        self.memory[batch] = moved.to(self.memory.dtype)

    def linear_votes(self, on_progress: Callable[[int, int], None] | None = None) -> Tensor:
        """The vote of a linear classifier on the given labels, see `leave_one_out` (N, C).

        on_progress: of `patch_features`, for the first call.
        """
        if self._linear_votes is None:
            images = self.data.images
            features = (
                standardized(images.flatten(1).float())
                if self.data.is_rows
                else patch_features(images, seed=self.config.seed, on_progress=on_progress)
            )
            given = torch.from_numpy(self.noisy_labels.given).to(self.device)
            self._linear_votes = leave_one_out(features, given, self.data.n_classes)
        return self._linear_votes

    def optimizer_step(self) -> None:
        """Update the weights by their gradients, then their moving average."""
        self.optimizer.step()
        self.n_steps += 1
        if self.average is not None:
            self.average.update(self.n_steps)

    def evaluation_network(self) -> torch.nn.Module:
        """The network that is evaluated and tested, as it is now, in evaluation mode."""
        network = self.model if self.average is None else self.average.network
        return models.for_evaluation(network, self.device, self.precision, self.compile)

    def state_dict(self) -> dict[str, Any]:
        """All that training needs to continue: plain values and tensors.

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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, except for what changed settings make invalid.

        Another seed or device keeps the fresh random generators, other noise the fresh soft
        labels, losses and P(clean), another optimizer its fresh buffers.
        """
        before = RunConfig.model_validate_json(state_dict["config"])
        changed = {
            name
            for name in RunConfig.model_fields
            if getattr(before, name) != getattr(self.config, name)
        }
        self.epoch = state_dict["epoch"]
        self.model.load_state_dict(state_dict["model"])
        if self.average is not None:
            self.average.load_state_dict(state_dict.get("average") or state_dict["model"])
        self.n_steps = state_dict.get("n_steps", 0)
        if "optimizer" not in changed:
            self._load_optimizer(state_dict["optimizer"])
        if state_dict["device"] != self.device.type:
            changed.add("device")
        if not changed & {"seed", "device"}:
            self.generator.set_state(state_dict["generator"].cpu())
            self.rng.bit_generator.state = state_dict["rng"]
        if not changed & {"device", "precision"}:
            self.precision = state_dict["precision"]
        if not np.array_equal(state_dict["given"].numpy(), self.noisy_labels.given):
            return  # other noise: soft labels, losses and P(clean) start over
        self.soft = state_dict["soft"].to(self.device)
        if state_dict.get("shares") is not None:
            self.shares = state_dict["shares"].to(self.device)
        self.clean = None if state_dict["clean"] is None else state_dict["clean"].to(self.device)
        self.losses = [v.to(self.device) for v in state_dict["losses"]]
        if self.memory is not None and state_dict["memory"] is not None:
            self.memory = state_dict["memory"].to(self.device)

    def _load_optimizer(self, state_dict: dict[str, Any]) -> None:
        settings = [dict(group) for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state_dict)
        for group, own in zip(self.optimizer.param_groups, settings, strict=True):
            group.update({name: own[name] for name in own if name not in ("params", "lr")})


def _to_plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """NumPy's generator state with its numbers as Python's."""
    return {
        key: _to_plain(value)
        if isinstance(value, dict)
        else value
        if isinstance(value, str)
        else int(value)
        for key, value in state.items()
    }
