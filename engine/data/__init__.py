"""Data sets by name: load("cifar10"), load("folder:my/photos"). See DATASETS for all of them."""

from engine.data.base import Data, DataError
from engine.data.registry import DATASETS, is_here, load

__all__ = ["DATASETS", "Data", "DataError", "is_here", "load"]
