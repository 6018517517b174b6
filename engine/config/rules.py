"""What follows from several settings at once."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.config import registry
from engine.errors import ConfigError

if TYPE_CHECKING:
    from engine.config.settings import RunConfig

# settings of samples that are rows of numbers
NO_AUGMENTATION = dict(augment="none", randaugment=0, cutout=0, jitter=0, flip_average="none")
FOR_ROWS = ("auto", "linear", "mlp")


def validate_k(config: "RunConfig", n: int) -> None:
    """Raise ConfigError where n samples, or a batch of them, have too few neighbors for K."""
    if config.mixing != "neighbors":
        return
    where, most = f"for {n} samples", n - 1
    if config.neighbor_scope == "batch":
        size = n // -(-n // config.batch_size)  # of the smallest batch, see batches.draw_batches
        where, most = f"inside batches of {size}", size - 1
    if config.k > most:
        raise ConfigError(f"k = {config.k}: allowed is 1 to {most} {where}")


def validate_rows(config: "RunConfig") -> None:
    """Raise ConfigError for settings that need images, for samples that are rows of numbers."""
    for name, value in NO_AUGMENTATION.items():
        given = getattr(config, name)
        if given != value and not registry.is_custom(given):
            raise ConfigError(
                f"{name} = {given!r}: allowed is {value!r} for features, which are no images"
            )
    if config.network not in FOR_ROWS and not registry.is_custom(config.network):
        raise ConfigError(
            f"network = {config.network!r}: allowed are {', '.join(FOR_ROWS)} and networks of your "
            "own for features, which are no images"
        )


def is_tested(config: "RunConfig", epoch: int) -> bool:
    """Whether the test part is measured after this epoch, counted from 0."""
    return (epoch + 1) % config.test_interval == 0 or epoch + 1 == config.epochs


def corrects(config: "RunConfig", epoch: int) -> bool:
    """Whether soft labels are corrected in this epoch, counted from 0."""
    return (
        config.correction != "none"
        and epoch >= config.correction_start
        and (epoch + 1) % config.correction_interval == 0
    )


def unused_settings(config: "RunConfig") -> set[str]:
    """Settings that have no effect on this run, such as K where nothing is mixed with neighbors."""
    return {name for names, used in _USED.items() if not used(config) for name in names.split()}


def _mixes(config: "RunConfig") -> bool:
    return config.mixing == "neighbors"


def _selects(config: "RunConfig") -> bool:
    """Whether P(clean) has an effect on the training."""
    return _mixes(config) or config.sampling != "uniform" or config.correction == "refine"


def _losses(config: "RunConfig") -> tuple[str, str]:
    return config.loss, config.early_loss if _mixes(config) else ""


_USED: dict[str, Callable[["RunConfig"], bool]] = {  # settings -> whether they have an effect
    "rate": lambda c: c.noise not in ("none", "matrix", "human"),
    "noise_seed": lambda c: c.noise not in ("none", "human"),
    "noise_matrix": lambda c: c.noise == "matrix",
    "margin_type": lambda c: c.noise == "margin",
    "human_labels": lambda c: c.noise == "human",
    "k weighting neighbor_scope neighbor_backend early_mixing early_loss early_extra "
    "random_share": _mixes,
    "warmup": lambda c: (
        _selects(c) or c.mixing != "none" or c.correction != "none" or c.loss != "ce"
    ),
    "warmup_shuffle warmup_augment": lambda c: c.warmup > 0,
    "clean_from loss_history": _selects,
    "mixup_beta": lambda c: (
        c.mixing == "mixup" or _mixes(c) and (c.early_mixing == "mixup" or c.random_share > 0)
    ),
    "alpha": lambda c: c.correction == "ema",
    "correction_start": lambda c: c.correction != "none" or _mixes(c) and _early_differs(c),
    "correction_interval correction_source sharpen align": lambda c: c.correction != "none",
    "relabel_threshold": lambda c: c.correction in ("relabel", "posterior"),
    "relabel_vote": lambda c: c.correction == "relabel",
    "vote_k": lambda c: c.votes and c.vote_from == "neighbors",
    "gce_q": lambda c: "gce" in _losses(c),
    "sce_a sce_b": lambda c: "sce" in _losses(c),
    "elr_beta elr_lambda": lambda c: "elr" in _losses(c),
    "padding": lambda c: c.augment != "none",
    "momentum nesterov": lambda c: c.optimizer == "sgd",
    "learning_rate_min": lambda c: c.schedule != "constant",
    "schedule_period": lambda c: c.schedule == "warm-restarts",
}


def _early_differs(config: "RunConfig") -> bool:
    """Whether epochs between warmup and correction_start train in a way of their own."""
    return config.early_mixing != "neighbors" or config.early_loss != "same"
