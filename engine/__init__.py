"""Learning with noisy labels by mixing with nearest neighbors (MixNN, arXiv 2406.16966).

>>> from engine import RunFolder, configure, load, train

`configure` makes the settings of a run, `load` loads a data set by its name, `train` yields a
snapshot of each epoch, `RunFolder` reads a run folder, and `play` shows one in a notebook. Each is
imported when it is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["RunFolder", "__version__", "configure", "load", "load_data", "play", "train"]

_MODULES = {
    "RunFolder": "engine.runs.folder",
    "configure": "engine.config",
    "load": "engine.data",
    "load_data": "engine.data",
    "play": "engine.reports.notebook",
    "train": "engine.training.train",
}


def __getattr__(name: str) -> Any:
    """A name of __all__, imported now: training needs PyTorch, reading a run folder does not."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
