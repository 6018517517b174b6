"""The evaluation of a network: its training set in one pass, the test part, and P(clean)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from engine import metrics
from engine.config import is_tested, registry
from engine.errors import TrainingError
from engine.method.augmentation import normalize
from engine.method.mixture import CleanFit, fit_clean_probability, normalize_losses
from engine.method.noise_estimate import TINY, estimate_noise, n_voters, true_class_probability
from engine.method.soft_labels import align, ema_update, one_hot, refine, relabel, sharpen
from engine.method.votes import neighbor_votes, vote_for
from engine.models import EVALUATION_BATCH
from engine.models.inference import forward
from engine.training.batches import described, nearest_samples

if TYPE_CHECKING:
    from engine.training.control import Control
    from engine.training.state import State

ROWS = 4096  # in a batch of rows of numbers
# The share of labels that have to be wrong for certain before any is corrected. Under asymmetric
# noise between classes that look alike the votes see few of the wrong labels, and changes do harm.
LEAST_WRONG = 0.01


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The outputs of a network in evaluation mode for the whole training set."""

    features: Tensor  # (N, D) float32; of samples that are rows, themselves, float32 or float16
    prediction: Tensor  # (N,) int32
    confidence: Tensor  # (N,) float32, the probability of the prediction
    loss: Tensor  # (N,) float32, cross-entropy against the current hard label
    neighbors: Tensor | None  # (N, k) int64, the nearest by features, where searched
    distances: Tensor | None  # (N, k) float32
    votes: Tensor | None  # (N, C) uint8, of the given labels, see `Snapshot.votes`


def evaluate(
    state: "State", network: nn.Module, control: "Control", epoch: int, *, correct: bool
) -> Evaluation:
    """One pass over the whole training set, which also corrects its labels.

    network: `State.evaluation_network`. correct: correct the soft labels by the predictions;
    losses are then those of the corrected labels. No second table of N x C is made. Raises
    TrainingError where an output is not finite.
    """
    config, parts = state.config, []
    total = torch.zeros(state.data.n_classes, device=state.device)
    goal = _target_shares(state) if correct and config.align != "none" else None
    from_given = correct and config.correction != "ema"  # not from the labels of the epoch before
    if from_given:
        given, labels = _given(state), state.soft.argmax(1)
    mirrored = config.flip_average == "all"
    chunks = predict(state, network, state.data.images, control, epoch, "evaluation", mirrored)
    start = 0
    for logits, features in chunks:
        rows = slice(start, start + len(logits))
        start = rows.stop
        probabilities = logits.softmax(1)
        confidence, prediction = probabilities.max(1)
        total += probabilities.sum(0)
        if state.data.is_rows:
            features = features[:, :0]  # a second table of N x D is not needed
        own = [features, prediction.int(), confidence]
        if correct:
            target = probabilities
            if goal is not None and state.shares is not None:
                target = align(target, state.shares, goal)
            if config.sharpen < 1:
                target = sharpen(target, config.sharpen)
            if from_given:
                state.soft[rows] = target  # completed by _correct_given, which needs all samples
                sure, likeliest = target.max(1)
                own += [_loss(logits, given[rows]), _loss(logits, likeliest), sure, likeliest]
            else:
                state.soft[rows] = ema_update(state.soft[rows], target, config.alpha)
        if not from_given:
            own.append(_loss(logits, state.soft[rows].argmax(1)))
        parts.append(own)
    state.shares = total / state.data.n
    features, prediction, confidence, loss, *rest = (
        torch.cat(column) for column in zip(*parts, strict=True)
    )
    if state.data.is_rows:  # finite, as their loader has checked
        features = state.data.images.flatten(1)
        finite = torch.isfinite(confidence).all()
    else:
        finite = torch.stack([torch.isfinite(part).all() for part in (features, confidence)]).all()
    if not finite:
        raise TrainingError(
            f"the network's outputs are no longer finite in epoch {epoch}: try a learning_rate "
            f"below {config.learning_rate:g}"
        )
    corrected = config.correction != "none" and epoch >= config.correction_start
    neighbors, distances, votes = _neighbors_and_votes(state, features, count=not corrected)
    if from_given:
        loss = _correct_given(state, given, labels, features, neighbors, loss, *rest)
    return Evaluation(features, prediction, confidence, loss, neighbors, distances, votes)


def _neighbors_and_votes(
    state: "State", features: Tensor, *, count: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Neighbors (N, k), distances (N, k) and `Snapshot.votes` (N, C), as far as they are needed.

    count: whether the votes on the given labels are.
    """
    config, n, n_classes = state.config, state.data.n, state.data.n_classes
    linear = config.voter(n) == "linear"
    k = min(config.vote_k, max(1, n // (2 * n_classes))) if config.votes and not linear else 0
    stored = count and not linear and n > len(state.panel)
    voters = min(n_voters(n, n_classes), n - 1) if stored else 0
    neighbors = distances = votes = None
    if k or voters:
        near, apart = nearest_samples(state, features, max(k, voters))
        neighbors, distances = (near[:, :k], apart[:, :k]) if k else (near, apart)
        if voters:
            shares = neighbor_votes(_given(state), near[:, :voters], n_classes, balanced=False)
            votes = (shares * voters).round().to(torch.uint8)
    if count and linear:
        votes = (state.linear_votes() * 255).round().to(torch.uint8)
    return neighbors, distances, votes


def _correct_given(
    state: "State",
    given: Tensor,
    labels: Tensor,
    features: Tensor,
    neighbors: Tensor | None,
    loss: Tensor,
    loss_of_likeliest: Tensor,
    sure: Tensor,
    likeliest: Tensor,
) -> Tensor:
    """Correct the soft labels, which hold the predictions, starting from the given labels.

    given, labels (before this correction), likeliest: (N,) int64. loss: (N,), of the given labels.
    sure: (N,), the probability of the likeliest class. Returns the losses of the new labels (N,).
    """
    config, n_classes = state.config, state.data.n_classes
    if config.correction == "relabel":
        votes = _votes(state, labels, neighbors) if config.relabel_vote else None
        corrected = relabel(given, likeliest, sure, config.relabel_threshold, votes)
        state.soft = one_hot(corrected, n_classes, state.soft.dtype)
    elif config.correction in ("posterior", "soft-posterior"):
        votes = _votes(state, given, neighbors, balanced=False)
        predictions, posterior = state.soft, _posterior(state, votes)
        if config.correction == "posterior":
            sure, best = posterior.max(1)
            changes = (sure > config.relabel_threshold) & (best == likeliest)
            posterior = one_hot(torch.where(changes, best, given), n_classes)
        state.soft = posterior.to(predictions.dtype)
        corrected = state.soft.argmax(1)
        own = predictions.gather(1, corrected[:, None])[:, 0].float()  # neighbors may prefer it
        loss_of_likeliest = torch.where(
            corrected == likeliest, loss_of_likeliest, -own.clamp(min=TINY).log()
        )
    else:
        scaled = normalize_losses(loss)
        mixture = fit_clean_probability(scaled, seed=config.seed).clean
        clean = _clean_probability(state, scaled, mixture, features, neighbors, given)
        state.soft = refine(state.soft, given, clean)
        corrected = state.soft.argmax(1)
    return torch.where(corrected == given, loss, loss_of_likeliest)


def _posterior(state: "State", votes: Tensor) -> Tensor:
    """P(true class) (N, C) by Bayes' rule, from votes (N, C) and the predictions in state.soft.

    The given labels where the interval of the number of wrong ones begins below LEAST_WRONG.
    """
    given = state.noisy_labels.given
    shares, predictions = votes.cpu().numpy(), state.soft.float().cpu().numpy()
    noise = estimate_noise(shares, given, state.config.voter(state.data.n))
    if noise.interval[0] < max(1, LEAST_WRONG * len(given)):
        return one_hot(_given(state), state.data.n_classes)
    found = true_class_probability(shares, predictions, given, noise)
    return torch.from_numpy(found).to(state.device)


def _clean_probability(
    state: "State",
    losses: Tensor,
    mixture: Tensor,
    features: Tensor,
    neighbors: Tensor | None,
    labels: Tensor,
) -> Tensor:
    """P(clean) (N,) of labels (N,) by the setting clean_from. Raises TrainingError.

    losses: (N,), scaled to [0, 1]. mixture: P(clean) (N,) by the mixture fitted to them.
    """
    name, vote = state.config.clean_from, None
    if name in ("vote", "both"):
        vote = vote_for(labels, _votes(state, labels, neighbors))
    clean = registry.function("clean", name)(
        losses, labels=labels, features=features, epoch=state.epoch + 1, mixture=mixture, vote=vote
    )
    if registry.is_custom(name):
        fits = isinstance(clean, Tensor) and clean.shape == losses.shape
        if not (fits and 0 <= clean.min() <= clean.max() <= 1):  # false for nan
            has = f" from {clean.min():g} to {clean.max():g}" if fits else ""
            raise TrainingError(
                f"clean_from = {registry.in_words(name)!r} returns {described(clean)}{has}: "
                f"allowed are probabilities of shape {tuple(losses.shape)} from 0 to 1"
            )
        clean = clean.float()
    return clean


def _votes(
    state: "State", labels: Tensor, neighbors: Tensor | None, *, balanced: bool = True
) -> Tensor:
    """The vote (N, C) on labels (N,), by the setting vote_from; see `neighbor_votes`."""
    if state.config.voter(state.data.n) == "neighbors":
        assert neighbors is not None
        return neighbor_votes(labels, neighbors, state.data.n_classes, balanced=balanced)
    votes = state.linear_votes()
    if balanced:
        votes = votes / _given(state).bincount(minlength=votes.shape[1]).clamp(min=1)
    return votes / votes.sum(1, keepdim=True)


def _given(state: "State") -> Tensor:
    """The given labels (N,) int64 on the device."""
    return torch.from_numpy(state.noisy_labels.given).to(state.device)


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits, labels, reduction="none")


@torch.no_grad()
def predict(
    state: "State",
    network: nn.Module,
    images: Tensor,
    control: "Control",
    epoch: int,
    stage: str,
    mirrored: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (B, C) and features (B, D), float32, of uint8 images, chunk by chunk in their order.

    network: in evaluation mode. stage: its name in the progress of the run. mirrored: average
    over each image and its mirror image.
    """
    height, width = images.shape[-2:]
    # as many pixels in a batch of large images as in one of 64 x 64
    size = EVALUATION_BATCH[state.device.type] * 64 * 64 // max(64 * 64, height * width)
    size = ROWS if state.data.is_rows else size
    chunks = images.split(max(size, 1))
    for number, chunk in enumerate(chunks):
        chunk = normalize(chunk, state.mean, state.std)
        outputs = run_network(state, network, chunk, mirrored)
        control.report_progress(epoch, stage, number + 1, len(chunks))
        yield outputs


def run_network(
    state: "State", network: nn.Module, images: Tensor, mirrored: bool = False
) -> tuple[Tensor, Tensor]:
    """`forward` in the precision of the run. Raises TrainingError where it cannot be compiled."""
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


def estimate_clean_probability(state: "State", evaluation: Evaluation) -> tuple[Tensor, CleanFit]:
    """How likely each current label is clean, by how well the network fits it.

    Where neighbors vote (clean_from), their vote counts, too, or alone. Returns scaled_loss (N,) in
    [0, 1], the loss scaled and averaged over loss_history epochs, and the mixture fitted on it.
    """
    loss = normalize_losses(evaluation.loss)
    state.losses = [*state.losses, loss][-state.config.loss_history :]
    scaled_loss = torch.stack(state.losses).mean(0)
    fit = fit_clean_probability(scaled_loss, seed=state.config.seed)
    state.clean = _clean_probability(
        state,
        scaled_loss,
        fit.clean,
        evaluation.features,
        evaluation.neighbors,
        state.soft.argmax(1),
    )
    return scaled_loss, replace(fit, clean=state.clean)


def measure_part(
    state: "State", network: nn.Module, part: str, control: "Control", epoch: int
) -> dict[str, float | None]:
    """Accuracy and calibration error on the "test" or "val" part; nothing where it is missing.

    Both are None in the epochs that test_interval leaves out.
    """
    images = getattr(state.data, f"{part}_images")
    if images is None or not len(images):
        return {}
    if part == "test" and not is_tested(state.config, epoch):
        return {"test_accuracy": None, "test_calibration_error": None}
    mirrored = state.config.flip_average != "none"
    outputs = predict(state, network, images, control, epoch, part, mirrored)
    logits = [logits for logits, _ in outputs]
    confidence, prediction = torch.cat(logits).softmax(1).max(1)
    hits = (prediction == getattr(state.data, f"{part}_labels")).cpu().numpy()
    return {
        f"{part}_accuracy": metrics.mean_true(hits),
        f"{part}_calibration_error": metrics.calibration_error(confidence.cpu().numpy(), hits),
    }


def _target_shares(state: "State") -> Tensor:
    """The class shares (C,) that the predictions are aligned to, by the setting align."""
    n_classes = state.data.n_classes
    if state.config.align == "uniform":
        return torch.full((n_classes,), 1 / n_classes, device=state.device)
    return _given(state).bincount(minlength=n_classes) / state.data.n
