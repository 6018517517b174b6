"""Grids of settings: the values that a text lists, and one run for each combination."""

import itertools
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from engine.config import RunConfig, configure, unknown
from engine.errors import ConfigError
from engine.runs.naming import run_name

MOST = 10_000  # values of a range, runs of a grid


def grid(axes: Mapping[str, Sequence[Any]]) -> list[RunConfig]:
    """Settings of every combination of the axes' values; the last axis varies fastest.

    axes: setting -> its values; `method` and `preset` are axes like any other, see
    `config.configure`. A run keeps its first and its newest checkpoint, unless state_interval is an
    axis. Raises ConfigError for an unknown setting, an empty list, a duplicate value and a
    combination that is not allowed.
    """
    for name, values in axes.items():
        if name not in (*RunConfig.model_fields, "method", "preset"):
            raise unknown(name, list(values))
        if not len(values):
            raise ConfigError(f"{name} = []: allowed is one value or more")
        if any(value in values[:row] for row, value in enumerate(values)):
            raise ConfigError(f"{name} = {list(values)}: each value once")
    if (n_runs := math.prod(map(len, axes.values()))) > MOST:
        raise ConfigError(f"a grid of {n_runs} runs: allowed are {MOST}")
    configs: dict[str, RunConfig] = {}
    for values in itertools.product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        varied = ", ".join(f"{name} {settings[name]}" for name in axes if len(axes[name]) > 1)
        try:
            config = configure(**settings)
            if "state_interval" not in axes:
                config = config.changed(state_interval=config.epochs)
        except ConfigError as error:
            raise ConfigError(f"{error} (at {varied})" if varied else str(error)) from None
        if run_name(config) in configs:
            raise ConfigError(f"{varied}: another combination makes the same run")
        configs[run_name(config)] = config
    return list(configs.values())


def values(text: str) -> list[int | float | str]:
    """The values that a text lists: "1,2,5", "1:20" (whole numbers, 20 included), "0:0.9:0.3".

    Whatever is no number stays text. Raises ConfigError for an infinite range or a wrong step.

    >>> values("1:3,10")
    [1, 2, 3, 10]
    >>> values("0:0.9:0.3")
    [0, 0.3, 0.6, 0.9]
    """
    listed: list[int | float | str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            bounds = [Decimal(word) for word in part.split(":")]
        except InvalidOperation:  # digits, shapes:500, npz:/path
            listed.append(part)
            continue
        start, stop, step = (*bounds, *(bounds[0], Decimal(1))[len(bounds) - 1 :])[:3]
        finite = all(bound.is_finite() for bound in bounds)
        if len(bounds) > 3 or not finite or step <= 0 or not start <= stop < start + step * MOST:
            raise ConfigError(
                f"{part!r} is no range: allowed are start:stop and start:stop:step with a step "
                f"above 0, both ends included, and {MOST} values"
            )
        numbers = [start + row * step for row in range(int((stop - start) / step) + 1)]
        listed += [int(n) if n == n.to_integral_value() else float(n) for n in numbers]
    return listed
