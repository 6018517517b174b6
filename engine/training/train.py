"""THE METHOD. Start reading here: MixNN and the methods compared with it, as one loop over epochs.

`train` is a generator of one Snapshot per epoch. It knows nothing of files, threads or pages.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine import metrics
from engine.config import (
    LIVE,
    RunConfig,
    corrects,
    registry,
    validate_k,
    validate_rows,
)
from engine.errors import TrainingError
from engine.hardware import session, threads
from engine.method import optimization
from engine.method.augmentation import distort, normalize, randaugment
from engine.method.mixing import weighted_sum
from engine.method.mixture import CleanFit
from engine.method.neighbors import comparable
from engine.method.soft_labels import ema_update
from engine.training.batches import Partners, described, draw_batches, find_partners
from engine.training.control import Control, Stopwatch
from engine.training.evaluation import (
    Evaluation,
    estimate_clean_probability,
    evaluate,
    measure_part,
    run_network,
)
from engine.training.noisy_labels import make_noisy_labels
from engine.training.snapshot import Snapshot
from engine.training.state import State

if TYPE_CHECKING:
    from engine.data import Data


def train(
    config: RunConfig,
    data: "Data",
    *,
    state: State | None = None,
    control: Control | None = None,
    loss: Callable[..., Tensor] | None = None,
    weights: Callable[..., Tensor] | None = None,
    clean: Callable[..., Tensor] | None = None,
    network: Callable[..., Any] | None = None,
    augment: Callable[..., Tensor] | None = None,
) -> Iterator[Snapshot]:
    """Train by config's method and yield a snapshot of each epoch.

    loss, weights, clean, network, augment: parts of your own in place of those that the settings
    loss, weighting, clean_from, network and augment name; engine/README.md has what they get. They
    are the same as the part itself as the value of that setting, `config.changed(loss=function)`.
    state: where to start from, by default a fresh one; it is updated in place, and between two
    snapshots its `state_dict` may be taken. control: commands from other threads, checked after
    every batch. The generator raises ConfigError or NoiseError at the first `next`, TrainingError
    where the loss is no longer finite, control.Stopped after the command to stop.
    """
    own = {"loss": loss, "weighting": weights, "clean_from": clean}
    own |= {"network": network, "augment": augment}
    config = config.changed(**{name: part for name, part in own.items() if part is not None})
    state = state or prepare_state(config, data)
    if state.config != config:
        raise ValueError("config is not the one that state was made with")
    control = control or Control()
    evaluation = None  # the last one; a resumed run has to evaluate again

    first = state.epoch + 1
    if first < config.epochs and config.voter(state.data.n) == "linear":
        with threads(state.threads):
            state.linear_votes(partial(control.report_progress, first, "votes"))

    for epoch in range(first, state.config.epochs):
        deterministic = state.config.deterministic
        with (
            session(state.device, state.compile, deterministic=deterministic),
            threads(state.threads),
        ):
            control.report_progress(epoch, "neighbors", 0, 1)
            config = state.config = state.config.changed_live(**control.begin_epoch())
            validate_k(config, state.data.n)
            seconds = Stopwatch(state.device, control)
            phase, mixing, criterion = epoch_plan(config, epoch)

            # Which samples are mixed with which, and by what weights
            with seconds.of("neighbors"):
                if mixing == "neighbors" and evaluation is None:
                    network = state.evaluation_network()
                    evaluation = evaluate(state, network, control, epoch, correct=False)
                    if state.clean is None:
                        estimate_clean_probability(state, evaluation)
                batches = draw_batches(state, phase)
                partners = find_partners(state, mixing, batches, evaluation)

            # Train on the synthetic samples
            with seconds.of("training"):
                if epoch == first and state.compile != "none":
                    control.report_progress(epoch, "compiling", 0, 1)
                train_loss = train_epoch(state, epoch, criterion, batches, partners, control)

            # Evaluate the whole set once: features, probabilities, corrected labels, losses
            with seconds.of("evaluation"):
                network = state.evaluation_network()
                moves = corrects(config, epoch) and config.correction_source == "evaluation"
                evaluation = evaluate(state, network, control, epoch, correct=moves)
            with seconds.of("mixture"):
                scaled_loss, fit = estimate_clean_probability(state, evaluation)
            with seconds.of("test"):
                measured = {
                    "train_loss": train_loss,
                    "learning_rate": state.optimizer.param_groups[0]["lr"],
                    **measure_part(state, network, "test", control, epoch),
                    **measure_part(state, network, "val", control, epoch),
                }

            state.epoch = epoch
            with seconds.of("snapshot"):
                snapshot = make_snapshot(
                    state, phase, measured, seconds.spent, evaluation, scaled_loss, fit, partners
                )
        yield snapshot


def prepare_state(
    config: RunConfig,
    data: "Data",
    state_dict: dict[str, Any] | None = None,
    control: Control | None = None,
    kept: Mapping[str, Any] | None = None,
) -> State:
    """The state that a run starts or continues from, with its noisy labels.

    state_dict: of an earlier state, to continue from. control: gets the progress of the networks
    behind margin noise, and may stop them. kept: labels to reuse if they fit, by default those of
    state_dict, see `make_noisy_labels`. Raises ConfigError or NoiseError.
    """
    validate_k(config, data.n)
    if data.is_rows:
        validate_rows(config)
    registry.require(config.model_dump())
    on_progress = partial(control.report_progress, 0, "margins") if control else None
    return State(
        config, data, make_noisy_labels(config, data, kept or state_dict, on_progress), state_dict
    )


def epoch_plan(config: RunConfig, epoch: int) -> tuple[str, str, str]:
    """What an epoch does: its phase ("warmup", "early" or "main"), its mixing and its loss."""
    if epoch < config.warmup:
        return "warmup", "none", "ce"
    mixing: str = config.mixing
    loss: str = config.loss
    phase = "early" if epoch < config.correction_start else "main"
    if config.mixing == "neighbors":
        if epoch < config.correction_start + config.early_extra:
            mixing = config.early_mixing
        if phase == "early" and config.early_loss != "same":
            loss = config.early_loss
    return phase, mixing, loss


def train_epoch(
    state: State,
    epoch: int,
    criterion: str,
    batches: list[Tensor],
    partners: Partners,
    control: Control,
) -> float:
    """One pass over the synthetic samples; returns the mean training loss. Raises TrainingError."""
    config = state.config
    total = torch.zeros((), device=state.device)
    state.model.train()
    for number, batch in enumerate(batches):
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(config, epoch + number / len(batches))
        total += train_step(state, epoch, criterion, batch, partners).sum()
        control.report_progress(epoch, "training", number + 1, len(batches))
    mean = float(total) / state.data.n
    if not math.isfinite(mean):
        raise TrainingError(
            f"the training loss became {mean} in epoch {epoch}: try a learning_rate below "
            f"{config.learning_rate:g}"
        )
    return mean


def train_step(
    state: State, epoch: int, criterion: str, batch: Tensor, partners: Partners
) -> Tensor:
    """One optimizer step on the rows of batch (B,) int64; returns their losses (B,)."""
    config = state.config
    kind = "none" if epoch < config.warmup and not config.warmup_augment else config.augment
    # the sample itself and its neighbors, each augmented independently
    parts = torch.cat([batch[:, None], partners.neighbors[batch]], dim=1)  # (B, K+1)
    weights = partners.weights[batch]
    augment = registry.function("augment", kind)
    images = augment(state.data.take(parts.flatten()), state.generator, padding=config.padding)
    if registry.is_custom(kind):
        _check_shape("augment", kind, images, (parts.numel(), *state.data.shape))
    images = randaugment(images, config.randaugment, state.generator)
    images = images.unflatten(0, parts.shape)
    moves = corrects(config, epoch) and config.correction_source == "batch"
    if moves or (config.unmixed_forward and weights.shape[1] > 1):
        with torch.no_grad():  # in training mode: it also updates the batch statistics
            unmixed = normalize(images[:, 0], state.mean, state.std)
            logits, _ = run_network(state, state.compiled, unmixed)
    if moves:
        moved = ema_update(state.soft[batch], logits.softmax(1), config.alpha)
        state.soft[batch] = moved.to(state.soft.dtype)
    # weights sum to 1, so that mixed images may be normalized after mixing
    mixed = normalize(weighted_sum(images, weights), state.mean, state.std)
    mixed = distort(mixed, cutout=config.cutout, jitter=config.jitter, generator=state.generator)
    logits, _ = run_network(state, state.compiled, mixed)
    targets = weighted_sum(state.soft[parts], weights)
    if criterion == "elr":
        state.update_elr_targets(batch, logits)
    values = registry.function("losses", criterion)(
        logits,
        targets,
        indices=batch,
        epoch=epoch,
        q=config.gce_q,
        a=config.sce_a,
        b=config.sce_b,
        memory=None if state.memory is None else state.memory[batch],
        strength=config.elr_lambda,
    )
    if registry.is_custom(criterion):
        _check_shape("loss", criterion, values, (len(batch),))
    state.optimizer.zero_grad(set_to_none=True)
    values.mean().backward()
    state.optimizer_step()
    return values.detach()


def _check_shape(setting: str, name: str, values: Any, shape: tuple[int, ...]) -> None:
    """Raise TrainingError where a part of one's own returns another shape."""
    if not isinstance(values, Tensor) or values.shape != shape:
        raise TrainingError(
            f"{setting} = {registry.in_words(name)!r} returns {described(values)}: allowed is a "
            f"tensor of shape {shape}"
        )


def learning_rate(config: RunConfig, epoch: float) -> float:
    """The learning rate of a run at a point in time, in epochs."""
    return optimization.learning_rate(
        config.schedule,
        epoch,
        epochs=config.epochs,
        high=config.learning_rate,
        low=config.learning_rate_min,
        period=config.schedule_period,
    )


def make_snapshot(
    state: State,
    phase: str,
    measured: dict[str, float | None],
    seconds: dict[str, float],
    evaluation: Evaluation,
    scaled_loss: Tensor,
    fit: CleanFit,
    partners: Partners,
) -> Snapshot:
    """The snapshot of an epoch: copies of its tensors, and the metrics that need the truth.

    measured: the other metrics of the epoch. seconds: by stage; kept as the object it is, so that
    the stage of the snapshot itself may still be added.
    """
    tensors = dict(
        loss=evaluation.loss,
        scaled_loss=scaled_loss,
        clean=fit.clean,
        prediction=evaluation.prediction,
        confidence=evaluation.confidence,
        soft=state.soft,
        neighbors=partners.neighbors.int(),
        distances=partners.distances,
        weights=partners.weights,
        panel_features=comparable(evaluation.features[state.panel], state.config.neighbor_metric),
    )
    arrays = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format).numpy()
        for name, tensor in tensors.items()
    }
    labels = state.noisy_labels
    measured |= metrics.label_metrics(
        labels.given, labels.true, arrays["prediction"], arrays["soft"], arrays["clean"]
    )
    return Snapshot(
        epoch=state.epoch,
        settings={name: getattr(state.config, name) for name in LIVE},
        phase=phase,
        metrics=measured,
        mixture=fit.parameters(),
        seconds=seconds,
        **arrays,
        votes=None if evaluation.votes is None else evaluation.votes.cpu().numpy(),
    )
