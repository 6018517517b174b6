"""Data sets by name: load("cifar10"), load("folder:my/photos"). See DATASETS for all of them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.data.registry import DATASETS, is_available, load, load_data

if TYPE_CHECKING:
    from engine.data.arrays import from_arrays, from_dataset
    from engine.data.base import Data

__all__ = ["DATASETS", "Data", "from_arrays", "from_dataset", "is_available", "load", "load_data"]

_MODULES = {
    "Data": "engine.data.base",
    "from_arrays": "engine.data.arrays",
    "from_dataset": "engine.data.arrays",
}


def __getattr__(name: str) -> Any:
    """These need torch: a second and 500 MB, which a process that only reads files saves."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
