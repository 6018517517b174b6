"""Learning with noisy labels by mixing with nearest neighbors (MixNN, arXiv 2406.16966).

>>> from engine import RunFolder, configure, load, train

`configure` makes the settings of a run, `load` loads a data set by its name, `train` yields a
snapshot of each epoch, `train_run` makes a run folder, `RunFolder` reads one, and `play` shows one
in a notebook; `make_noisy_labels` gives the labels of a run.
`register` and `load_plugin` bring in a loss, network or other part of your own, `from_arrays` and
`from_dataset` your own data, `Recorder` the results of your own training loop. `MixNNClassifier`
and `find_label_issues` are the method as users of scikit-learn and cleanlab know it. Each is
imported when it is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "MixNNClassifier",
    "Recorder",
    "RunFolder",
    "__version__",
    "configure",
    "find_label_issues",
    "from_arrays",
    "from_dataset",
    "load",
    "load_data",
    "load_plugin",
    "make_noisy_labels",
    "play",
    "prepare_state",
    "register",
    "train",
    "train_run",
]

_MODULES = {
    "MixNNClassifier": "engine.estimator",
    "Recorder": "engine.runs.recorder",
    "RunFolder": "engine.runs.folder",
    "configure": "engine.config",
    "find_label_issues": "engine.estimator",
    "from_arrays": "engine.data",
    "from_dataset": "engine.data",
    "load": "engine.data",
    "load_data": "engine.data",
    "load_plugin": "engine.config.registry",
    "make_noisy_labels": "engine.training.noisy_labels",
    "play": "engine.reports.notebook",
    "prepare_state": "engine.training.train",
    "register": "engine.config.registry",
    "train": "engine.training.train",
    "train_run": "engine.runs.runner",
}


def __getattr__(name: str) -> Any:
    """A name of __all__, imported now: training needs PyTorch, reading a run folder does not."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
