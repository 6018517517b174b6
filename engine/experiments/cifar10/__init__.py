"""The headline benchmark: CIFAR-10 with 80 % symmetric noise, baselines and ablations.

Its runs are trained one after the other in this process, with the data on the device, so that
their wall times are comparable. `items` measures what a GPU reaches within minutes.
"""

from engine.experiments.cifar10.configs import (
    NOISES,
    PRESETS,
    ROW_FIELDS,
    Row,
    configs_of,
    load,
    rows,
)
from engine.experiments.cifar10.report import PAPER, summarize, table
from engine.experiments.cifar10.runs import run_all

__all__ = [
    "NOISES", "PAPER", "PRESETS", "ROW_FIELDS", "Row", "configs_of", "load", "rows", "run_all",
    "summarize", "table",
]  # fmt: skip
