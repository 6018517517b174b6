"""Older names that are still accepted: older name -> current one.

Stored settings, links and commands may contain either.
"""

NETWORK_ALIASES = {"fast": "resnet9-w16"}
PRESET_ALIASES = {"fast": "cifar10-fast", "best": "cifar10-best"}
