"""The headline: CIFAR-10 with 80 % symmetric noise, what stands beside it, what each part brings.

Its runs go one after the other in this process, on data that is on the device already, so that
their wall time is their own. Knows no command line.
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
