"""THE METHOD. Start reading here: MixNN and every method beside it, as one loop over epochs.

`train` is a generator of one Snapshot per epoch. It knows nothing of files, threads or pages.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from engine import metrics
from engine.config import LIVE, RunConfig, corrects
from engine.data import Data
from engine.errors import TrainingError
from engine.hardware import session, threads
from engine.method import losses, optimization
from engine.method.augmentation import augment, distort, normalize
from engine.method.mixing import mixing_weights, mixup_partners, weighted_sum
from engine.method.mixture import CleanFit, fit_clean_probability, normalize_losses
from engine.method.neighbors import nearest
from engine.method.soft_labels import align, ema_update, sharpen
from engine.models import EVALUATION_BATCH
from engine.models.inference import forward
from engine.training.control import Control, Stopwatch
from engine.training.snapshot import Snapshot
from engine.training.state import State, validate_k


def train(
    config: RunConfig, data: Data, *, state: State | None = None, control: Control | None = None
) -> Iterator[Snapshot]:
    """Train by config's method and yield what each epoch leaves behind.

    state: where to start from, by default a fresh one; it is brought forward in place, and between
    two snapshots its `state_dict` may be taken. control: commands from other threads, checked after
    every batch. The generator raises ConfigError or NoiseError at the first `next`, TrainingError
    where the loss is no longer finite, control.Stopped after the command to stop.
    """
    state = state or State(config, data)
    if state.config != config:
        raise ValueError("config is not the one that state was made with")
    control = control or Control()
    features = None  # (N, D), of the last evaluation; a resumed run has to evaluate again

    first = state.epoch + 1

    for epoch in range(first, state.config.epochs):
        with session(state.device, state.compile), threads(state.threads):
            control.report_progress(epoch, "neighbors", 0, 1)
            config = state.config = state.config.changed_live(**control.begin_epoch())
            validate_k(config, state.data.n)
            seconds = Stopwatch(state.device, control)
            phase, mixing, criterion = epoch_plan(config, epoch)

            # Who is mixed with whom, and how much
            with seconds.of("neighbors"):
                if mixing == "neighbors" and features is None:
                    network = state.evaluation_network()
                    evaluation = evaluate(state, network, control, epoch, correct=False)
                    features = evaluation.features
                    if state.clean is None:
                        estimate_clean_probability(state, evaluation.loss)
                batches = draw_batches(state, phase)
                partners = find_partners(state, mixing, batches, features)

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
                features = evaluation.features
            with seconds.of("mixture"):
                scaled_loss, fit = estimate_clean_probability(state, evaluation.loss)
            with seconds.of("test"):
                measured = {
                    "train_loss": train_loss,
                    "learning_rate": state.optimizer.param_groups[0]["lr"],
                    **_measure_part(state, network, "test", control, epoch),
                    **_measure_part(state, network, "val", control, epoch),
                }

            state.epoch = epoch
            with seconds.of("snapshot"):
                snapshot = make_snapshot(
                    state, phase, measured, seconds.spent, evaluation, scaled_loss, fit, partners
                )
        yield snapshot


def epoch_plan(config: RunConfig, epoch: int) -> tuple[str, str, str]:
    """What an epoch does: its phase ("warmup", "early" or "main"), its mixing and its loss."""
    if epoch < config.warmup:
        return "warmup", "none", "ce"
    mixing, loss = config.mixing, config.loss
    phase = "early" if epoch < config.correction_start else "main"
    if config.mixing == "neighbors":
        if epoch < config.correction_start + config.early_extra:
            mixing = config.early_mixing
        if phase == "early" and config.early_loss != "same":
            loss = config.early_loss
    return phase, mixing, loss


def draw_batches(state: State, phase: str) -> list[Tensor]:
    """The epoch's batches: rows of the data set, of nearly equal number, on the device."""
    n, config = state.data.n, state.config
    shuffled = phase != "warmup" or config.warmup_shuffle
    order = state.rng.permutation(n) if shuffled else np.arange(n)
    order = torch.from_numpy(order).to(state.device)
    # nearly equal: batch normalization cannot use a last batch of one
    return list(order.tensor_split(-(-n // config.batch_size)))


@dataclass(frozen=True, eq=False)
class Partners:
    """Whom each sample is mixed with; K is 0 without mixing."""

    neighbors: Tensor  # (N, K) int64, rows of the data set
    distances: Tensor  # (N, K) float32, nan for random partners
    weights: Tensor  # (N, K+1) float32, own weight first


def find_partners(
    state: State, mixing: str, batches: list[Tensor], features: Tensor | None
) -> Partners:
    """Whom each sample is mixed with in this epoch, and by what weights."""
    n, config, device = state.data.n, state.config, state.device
    if mixing == "none":
        neighbors = torch.empty(n, 0, dtype=torch.int64, device=device)
        return Partners(neighbors, neighbors.float(), torch.ones(n, 1, device=device))
    if mixing == "mixup":
        neighbors = torch.empty(n, 1, dtype=torch.int64, device=device)
        weights = torch.empty(n, 2, device=device)
        for batch in batches:
            partners, weights[batch] = mixup_partners(
                len(batch), config.mixup_beta, state.rng, device
            )
            neighbors[batch] = batch[partners]
        return Partners(neighbors, torch.full((n, 1), torch.nan, device=device), weights)
    if config.neighbor_scope == "dataset":
        neighbors, distances = nearest(
            features, config.k, backend=config.neighbor_backend, seed=config.seed
        )
    else:
        neighbors = torch.empty(n, config.k, dtype=torch.int64, device=device)
        distances = torch.empty(n, config.k, device=device)
        for batch in batches:
            found, distances[batch] = nearest(features[batch], config.k, backend="exact")
            neighbors[batch] = batch[found]
    clean = torch.ones_like(state.clean) if config.weighting == "equal" else state.clean
    return Partners(neighbors, distances, mixing_weights(clean, neighbors))


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
    kind = "none" if epoch < config.warmup and not config.warmup_augment else config.augment
    from_batch = corrects(config, epoch) and config.correction_source == "batch"
    total = torch.zeros((), device=state.device)
    state.model.train()
    for number, batch in enumerate(batches):
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(config, epoch + number / len(batches))
        # the sample itself and its neighbors, each augmented on its own
        parts = torch.cat([batch[:, None], partners.neighbors[batch]], dim=1)  # (B, K+1)
        weights = partners.weights[batch]
        images = augment(state.data.take(parts.flatten()), kind, config.padding, state.generator)
        images = images.unflatten(0, parts.shape)
        if from_batch:
            with torch.no_grad():
                unmixed = normalize(images[:, 0], state.mean, state.std)
                probabilities = _forward(state, state.compiled, unmixed)[0].softmax(1)
            moved = ema_update(state.soft[batch], probabilities, config.alpha)
            state.soft[batch] = moved.to(state.soft.dtype)
        # weights sum to 1, so that what is mixed may be normalized after it
        mixed = normalize(weighted_sum(images, weights), state.mean, state.std)
        mixed = distort(
            mixed, cutout=config.cutout, jitter=config.jitter, generator=state.generator
        )
        logits, _ = _forward(state, state.compiled, mixed)
        targets = weighted_sum(state.soft[parts], weights)
        if criterion == "elr":
            state.update_elr_targets(batch, logits)
        values = losses.per_sample(
            criterion,
            logits,
            targets,
            q=config.gce_q,
            a=config.sce_a,
            b=config.sce_b,
            memory=None if state.memory is None else state.memory[batch],
            strength=config.elr_lambda,
        )
        state.optimizer.zero_grad(set_to_none=True)
        values.mean().backward()
        state.optimizer_step()
        total += values.detach().sum()
        control.report_progress(epoch, "training", number + 1, len(batches))
    mean = float(total) / state.data.n
    if not math.isfinite(mean):
        raise TrainingError(
            f"the training loss became {mean} in epoch {epoch}: try a learning_rate below "
            f"{config.learning_rate:g}"
        )
    return mean


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The outputs of a network in evaluation mode for the whole training set."""

    features: Tensor  # (N, D) float32
    prediction: Tensor  # (N,) int32
    confidence: Tensor  # (N,) float32, the probability of the prediction
    loss: Tensor  # (N,) float32, cross-entropy against the current hard label


def evaluate(
    state: State, network: nn.Module, control: Control, epoch: int, *, correct: bool
) -> Evaluation:
    """One pass over the whole training set, which corrects its labels on the way.

    network: `State.evaluation_network`. correct: move the soft labels toward the predictions;
    losses are then of the labels as moved. No table of N x C is made. Raises
    TrainingError.
    """
    config, parts = state.config, []
    total = torch.zeros(state.data.n_classes, device=state.device)
    goal = _class_shares(state) if correct and config.align != "none" else None
    mirrored = config.flip_average == "all"
    chunks = predict(state, network, state.data.images, control, epoch, "evaluation", mirrored)
    start = 0
    for logits, features in chunks:
        rows = slice(start, start + len(logits))
        start = rows.stop
        probabilities = logits.softmax(1)
        confidence, prediction = probabilities.max(1)
        total += probabilities.sum(0)
        if correct:
            toward = probabilities
            if goal is not None and state.shares is not None:
                toward = align(toward, state.shares, goal)
            if config.sharpen < 1:
                toward = sharpen(toward, config.sharpen)
            state.soft[rows] = ema_update(state.soft[rows], toward, config.alpha)
        loss = cross_entropy(logits, state.soft[rows].argmax(1), reduction="none")
        parts.append((features, prediction.int(), confidence, loss))
    state.shares = total / state.data.n
    evaluation = Evaluation(*(torch.cat(column) for column in zip(*parts, strict=True)))
    if not (
        torch.isfinite(evaluation.features).all() and torch.isfinite(evaluation.confidence).all()
    ):
        raise TrainingError(
            f"what the network says is no longer finite in epoch {epoch}: try a learning_rate "
            f"below {config.learning_rate:g}"
        )
    return evaluation


@torch.no_grad()
def predict(
    state: State,
    network: nn.Module,
    images: Tensor,
    control: Control,
    epoch: int,
    stage: str,
    mirrored: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (B, C) and features (B, D), float32, of uint8 images, chunk by chunk in their order.

    network: in evaluation mode. mirrored: the mean over each image and its mirror image.
    """
    height, width = images.shape[-2:]
    # as many pixels in a batch of large images as in one of 64 x 64
    size = EVALUATION_BATCH[state.device.type] * 64 * 64 // max(64 * 64, height * width)
    chunks = images.split(max(size, 1))
    for number, chunk in enumerate(chunks):
        chunk = normalize(chunk, state.mean, state.std)
        outputs = _forward(state, network, chunk, mirrored)
        control.report_progress(epoch, stage, number + 1, len(chunks))
        yield outputs


def estimate_clean_probability(state: State, loss: Tensor) -> tuple[Tensor, CleanFit]:
    """How likely each current label is clean, from how well the network fits it.

    loss: (N,), cross-entropy against the hard label. Returns scaled_loss (N,) in [0, 1], that loss
    scaled and averaged over loss_history epochs, and the mixture fitted on it.
    """
    state.losses = [*state.losses, normalize_losses(loss)][-state.config.loss_history :]
    scaled_loss = torch.stack(state.losses).mean(0)
    fit = fit_clean_probability(scaled_loss, seed=state.config.seed)
    state.clean = fit.clean
    return scaled_loss, fit


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


def _forward(
    state: State, network: nn.Module, images: Tensor, mirrored: bool = False
) -> tuple[Tensor, Tensor]:
    try:
        return forward(network, images, state.precision, mirrored=mirrored)
    except RuntimeError as error:
        compiles = state.compile != "none"
        if not (compiles and isinstance(error, torch._dynamo.exc.TorchDynamoException)):
            raise
        why = " ".join(str(error).partition("\n\n")[0].split())
        raise TrainingError(
            f"the network cannot be compiled on this machine ({why}): "
            'with compile = "none" it trains as well, more slowly'
        ) from error


def _class_shares(state: State) -> Tensor:
    """What the classes' shares (C,) in the predictions should be, by the knob align."""
    n_classes = state.data.n_classes
    if state.config.align == "uniform":
        return torch.full((n_classes,), 1 / n_classes, device=state.device)
    given = torch.from_numpy(state.noisy_labels.given).to(state.device)
    return given.bincount(minlength=n_classes) / len(given)


def _measure_part(
    state: State, network: nn.Module, part: str, control: Control, epoch: int
) -> dict[str, float | None]:
    """Accuracy and calibration on the "test" or "val" part; nothing where it is missing."""
    images = getattr(state.data, f"{part}_images")
    if images is None or not len(images):
        return {}
    mirrored = state.config.flip_average != "none"
    outputs = predict(state, network, images, control, epoch, part, mirrored)
    logits = [logits for logits, _ in outputs]
    confidence, prediction = torch.cat(logits).softmax(1).max(1)
    hits = (prediction == getattr(state.data, f"{part}_labels")).cpu().numpy()
    return {
        f"{part}_accuracy": metrics.mean_true(hits),
        f"{part}_calibration_error": metrics.calibration_error(confidence.cpu().numpy(), hits),
    }


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
    """The snapshot of an epoch: copies of its tensors, and the numbers that need the truth.

    seconds: by stage; kept as the object it is, so that it may still be added to.
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
        panel_features=evaluation.features[state.panel],
    )
    arrays = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format).numpy()
        for name, tensor in tensors.items()
    }
    problem = state.noisy_labels
    measured |= metrics.label_metrics(
        problem.given, problem.true, arrays["prediction"], arrays["soft"], arrays["clean"]
    )
    return Snapshot(
        epoch=state.epoch,
        settings={name: getattr(state.config, name) for name in LIVE},
        phase=phase,
        metrics=measured,
        mixture={
            "means": fit.means.tolist(),
            "stds": fit.stds.tolist(),
            "weights": fit.weights.tolist(),
            "converged": fit.converged,
            "n_iter": fit.n_iter,
            "warning": fit.warning,
        },
        seconds=seconds,
        **arrays,
    )
