"""What follows from several settings at once."""

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
