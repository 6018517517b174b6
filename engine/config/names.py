"""Older and other names that are accepted: name -> current one.

Stored settings, links and commands may contain either.
"""

METHOD_ALIASES = {"mixnn+": "mixnn-plus"}
NETWORK_ALIASES = {"fast": "resnet9-w16"}
# settings that older runs have not stored -> the value that they used
OLDER_VALUES = {"image_fit": "stretch"}
PRESET_ALIASES = {"fast": "cifar10-fast", "best": "cifar10-best"}
