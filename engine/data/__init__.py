"""Data sets by name: load("cifar10"), load("folder:my/photos"). See DATASETS for all of them."""

from typing import TYPE_CHECKING, Any

from engine.data.registry import DATASETS, is_available, load, load_data

if TYPE_CHECKING:
    from engine.data.base import Data

__all__ = ["DATASETS", "Data", "is_available", "load", "load_data"]


def __getattr__(name: str) -> Any:
    """Data needs torch: a second and 500 MB, which a process that only reads files saves."""
    if name != "Data":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from engine.data.base import Data

    return Data
