"""The headline: CIFAR-10 with 80 % symmetric noise, what stands beside it, what each part brings.

Its runs go one after the other in this process, on data that is on the device already, so that
their wall time is their own. Knows no command line.
"""

from engine.headline.asked import NOISES, OWN, PRESETS, Row, configs_of, load, rows
from engine.headline.runs import bring
from engine.headline.told import PAPER, spread, table, tell

__all__ = [
    "NOISES", "OWN", "PAPER", "PRESETS", "Row", "bring", "configs_of", "load", "rows", "spread",
    "table", "tell",
]  # fmt: skip
