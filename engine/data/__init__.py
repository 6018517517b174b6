"""Data sets by name: load("cifar10"), load("folder:my/photos"). See DATASETS for all of them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.data.base import Data
    from engine.data.registry import DATASETS, is_here, load

__all__ = ["DATASETS", "Data", "is_here", "load"]


def __getattr__(name: str) -> Any:
    """The rest needs torch: a second and 500 MB, which a process that only reads files spares."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Data":
        from engine.data.base import Data

        return Data
    from engine.data import registry

    return getattr(registry, name)
