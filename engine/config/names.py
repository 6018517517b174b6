"""Older names that are still accepted, and the known name nearest to an unknown one."""

import difflib
from collections.abc import Iterable

# Older name -> current one; stored settings, links and commands may hold either.
NETWORK_ALIASES = {"fast": "resnet9-w16"}
PRESET_ALIASES = {"fast": "cifar10-fast", "best": "cifar10-best"}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'digits'?" for the known name nearest to this one, "" where none is near."""
    lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"; did you mean {lower[near[0]]!r}?" if near else ""
