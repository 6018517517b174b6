"""THE METHOD. Start reading here: MixNN and every method beside it, as one loop over epochs.

`train` is a generator of one Snapshot per epoch. It knows nothing of files, threads or pages.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from engine import losses, metrics, optim
from engine.augment import augment, distort, normalize
from engine.clean import CleanFit, fit_clean_probability, normalize_losses
from engine.config import LIVE, RunConfig
from engine.control import Control, Stopwatch
from engine.data import Data
from engine.device import keep_memory, threads
from engine.labels import align, ema_update, sharpen
from engine.mixing import mixing_weights, mixup_partners, weighted_sum
from engine.model import EVALUATION_BATCH
from engine.neighbors import nearest
from engine.snapshot import Snapshot
from engine.state import State, check_k


class TrainingError(RuntimeError):
    """Training that cannot go on, such as a loss that is no longer a number."""


def train(
    config: RunConfig, data: Data, *, state: State | None = None, control: Control | None = None
) -> Iterator[Snapshot]:
    """Train by config's method and yield what each epoch leaves behind.

    state: where to start from, by default a fresh one; it is brought forward in place, and between
    two snapshots it may be packed. control: wishes from other threads, looked at after every batch.
    Raises ConfigError or NoiseError before the first epoch, TrainingError where the loss is lost,
    control.Stopped when told to stop.
    """
    state = state or State(config, data)
    if state.config != config:
        raise ValueError("config is not the one that state was made with")
    control = control or Control()
    if state.device.type == "cuda":
        torch.backends.cudnn.deterministic = True  # the same seed shall give the same arrays
    else:
        keep_memory()
    features = None  # (N, D), from the last look at the whole set; a resumed run has to look again

    first = state.epoch + 1

    for epoch in range(first, state.config.epochs):
        with threads(state.threads):
            control.tick(epoch, "neighbors", 0, 1)
            config = state.config = state.config.changed_live(**control.begin_epoch())
            check_k(config, state.data.n)
            seconds = Stopwatch(state.device, control)
            phase, mixing, criterion = plan(config, epoch)

            # Who is mixed with whom, and how much
            with seconds.of("neighbors"):
                if mixing == "neighbors" and features is None:
                    seen = look(state, state.evaluation_network(), control, epoch, correct=False)
                    features = seen.features
                    if state.clean is None:
                        judge(state, seen.loss)
                batches = draw_batches(state, phase)
                partners = find_partners(state, mixing, batches, features)

            # Train on the synthetic samples
            with seconds.of("training"):
                if epoch == first and state.compile != "none":
                    control.tick(epoch, "compiling", 0, 1)
                train_loss = train_epoch(state, epoch, criterion, batches, partners, control)

            # Look at the whole set once: features, probabilities, corrected labels, losses
            with seconds.of("evaluation"):
                network = state.evaluation_network()
                moves = corrects(config, epoch) and config.correction_source == "evaluation"
                seen = look(state, network, control, epoch, correct=moves)
                features = seen.features
            with seconds.of("mixture"):
                scaled_loss, fit = judge(state, seen.loss)
            with seconds.of("test"):
                measured = {
                    "train_loss": train_loss,
                    "learning_rate": state.optimizer.param_groups[0]["lr"],
                    **_measure_part(state, network, "test", control, epoch),
                    **_measure_part(state, network, "val", control, epoch),
                }

            state.epoch = epoch
            snapshot = leave_behind(
                state, phase, measured, seconds.spent, seen, scaled_loss, fit, partners
            )
        yield snapshot


def plan(config: RunConfig, epoch: int) -> tuple[str, str, str]:
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


def corrects(config: RunConfig, epoch: int) -> bool:
    """Whether labels move in this epoch."""
    return (
        config.correction == "ema"
        and epoch >= config.correction_start
        and (epoch + 1) % config.correction_interval == 0
    )


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
    state: State, epoch: int, criterion: str, batches: list[Tensor], partners: Partners,
    control: Control,
) -> float:  # fmt: skip
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
                seen = _forward(state, state.compiled, unmixed)[0].softmax(1)
            moved = ema_update(state.soft[batch], seen, config.alpha)
            state.soft[batch] = moved.to(state.soft.dtype)
        # weights sum to 1, so that what is mixed may be normalized after it
        mixed = normalize(weighted_sum(images, weights), state.mean, state.std)
        mixed = distort(
            mixed, cutout=config.cutout, jitter=config.jitter, generator=state.generator
        )
        logits, _ = _forward(state, state.compiled, mixed)
        targets = weighted_sum(state.soft[parts], weights)
        if criterion == "elr":
            state.remember(batch, logits)
        values = losses.per_sample(
            criterion, logits, targets, q=config.gce_q, a=config.sce_a, b=config.sce_b,
            memory=None if state.memory is None else state.memory[batch],
            strength=config.elr_lambda,
        )  # fmt: skip
        state.optimizer.zero_grad(set_to_none=True)
        values.mean().backward()
        state.step()
        total += values.detach().sum()
        control.tick(epoch, "training", number + 1, len(batches))
    mean = float(total) / state.data.n
    if not torch.isfinite(torch.tensor(mean)):
        raise TrainingError(
            f"the training loss became {mean} in epoch {epoch}: try a learning_rate below "
            f"{config.learning_rate:g}"
        )
    return mean


@dataclass(frozen=True, eq=False)
class Look:
    """What a network says of the whole training set in evaluation mode."""

    features: Tensor  # (N, D) float32
    prediction: Tensor  # (N,) int32
    confidence: Tensor  # (N,) float32, the probability of the prediction
    loss: Tensor  # (N,) float32, cross-entropy against the current hard label


def look(state: State, network: nn.Module, control: Control, epoch: int, *, correct: bool) -> Look:
    """One pass over the whole training set, which corrects its labels on the way.

    network: `State.evaluation_network`. correct: move the soft labels toward what is said of each
    sample; losses are then of the labels as moved. No table of N x C is made. Raises
    TrainingError.
    """
    config, parts = state.config, []
    total = torch.zeros(state.data.n_classes, device=state.device)
    goal = _class_shares(state) if correct and config.align != "none" else None
    doubled = config.flip_average == "all"
    chunks = predict(state, network, state.data.images, control, epoch, "evaluation", doubled)
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
    seen = Look(*(torch.cat(column) for column in zip(*parts, strict=True)))
    if not (torch.isfinite(seen.features).all() and torch.isfinite(seen.confidence).all()):
        raise TrainingError(
            f"what the network says is no longer finite in epoch {epoch}: try a learning_rate "
            f"below {config.learning_rate:g}"
        )
    return seen


@torch.no_grad()
def predict(
    state: State, network: nn.Module, images: Tensor, control: Control, epoch: int, stage: str,
    doubled: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
    """Logits (B, C) and features (B, D), float32, of uint8 images, chunk by chunk in their order.

    network: in evaluation mode. doubled: the mean over each image and its mirror.
    """
    height, width = images.shape[-2:]
    # as many pixels in a batch of large images as in one of 64 x 64
    size = EVALUATION_BATCH[state.device.type] * 64 * 64 // max(64 * 64, height * width)
    chunks = images.split(max(size, 1))
    for number, chunk in enumerate(chunks):
        chunk = normalize(chunk, state.mean, state.std)
        said = _forward(state, network, chunk)
        if doubled:
            mirrored = _forward(state, network, chunk.flip(3))
            said = tuple((a + b) / 2 for a, b in zip(said, mirrored, strict=True))
        control.tick(epoch, stage, number + 1, len(chunks))
        yield said


def judge(state: State, loss: Tensor) -> tuple[Tensor, CleanFit]:
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
    return optim.learning_rate(
        config.schedule, epoch, epochs=config.epochs, high=config.learning_rate,
        low=config.learning_rate_min, period=config.schedule_period,
    )  # fmt: skip


def _forward(state: State, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    images = images.contiguous(memory_format=state.layout)
    bf16 = state.precision == "bf16"
    with torch.autocast(state.device.type, torch.bfloat16, enabled=bf16):
        try:
            logits, features = network(images)
        except RuntimeError as error:
            compiles = state.compile != "none"
            if not (compiles and isinstance(error, torch._dynamo.exc.TorchDynamoException)):
                raise
            why = " ".join(str(error).partition("\n\n")[0].split())
            raise TrainingError(
                f"the network cannot be compiled on this machine ({why}): "
                'with compile = "none" it trains as well, more slowly'
            ) from error
    return logits.float(), features.float()


def _class_shares(state: State) -> Tensor:
    """What the classes' shares (C,) in the predictions should be, by the knob align."""
    n_classes = state.data.n_classes
    if state.config.align == "uniform":
        return torch.full((n_classes,), 1 / n_classes, device=state.device)
    given = torch.from_numpy(state.problem.given).to(state.device)
    return given.bincount(minlength=n_classes) / len(given)


def _measure_part(
    state: State, network: nn.Module, part: str, control: Control, epoch: int
) -> dict[str, float | None]:
    """Accuracy and calibration on the "test" or "val" part; nothing where it is missing."""
    images = getattr(state.data, f"{part}_images")
    if images is None or not len(images):
        return {}
    doubled = state.config.flip_average != "none"
    logits = [said[0] for said in predict(state, network, images, control, epoch, part, doubled)]
    confidence, prediction = torch.cat(logits).softmax(1).max(1)
    hits = (prediction == getattr(state.data, f"{part}_labels")).cpu().numpy()
    return {
        f"{part}_accuracy": metrics.mean_true(hits),
        f"{part}_calibration_error": metrics.calibration_error(confidence.cpu().numpy(), hits),
    }


def leave_behind(
    state: State, phase: str, measured: dict[str, float | None], seconds: dict[str, float],
    seen: Look, scaled_loss: Tensor, fit: CleanFit, partners: Partners,
) -> Snapshot:  # fmt: skip
    """The snapshot of an epoch: copies of its tensors, and the numbers that need the truth."""
    tensors = dict(
        loss=seen.loss, scaled_loss=scaled_loss, clean=fit.clean, prediction=seen.prediction,
        confidence=seen.confidence, soft=state.soft, neighbors=partners.neighbors.int(),
        distances=partners.distances, weights=partners.weights,
        panel_features=seen.features[state.panel],
    )  # fmt: skip
    arrays = {name: tensor.numpy(force=True).copy() for name, tensor in tensors.items()}
    problem = state.problem
    measured |= metrics.label_metrics(
        problem.given, problem.true, arrays["prediction"], arrays["soft"], arrays["clean"]
    )
    return Snapshot(
        epoch=state.epoch,
        settings={name: getattr(state.config, name) for name in LIVE},
        phase=phase,
        metrics=measured,
        mixture={
            "means": fit.means.tolist(), "stds": fit.stds.tolist(),
            "weights": fit.weights.tolist(), "converged": fit.converged, "n_iter": fit.n_iter,
            "warning": fit.warning,
        },
        seconds=dict(seconds),
        **arrays,
    )  # fmt: skip
