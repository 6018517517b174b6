"""Settings of a run, and the methods and presets that name sets of them."""

from engine.config.messages import did_you_mean
from engine.config.names import METHOD_ALIASES, NETWORK_ALIASES, OLDER_VALUES, PRESET_ALIASES
from engine.config.presets import (
    BEST,
    FAST,
    METHOD_DEFAULTS,
    METHOD_NOTES,
    METHODS,
    PRESET_NAMES,
    PRESETS,
    reference_preset,
)
from engine.config.rules import corrects, is_tested, validate_k, validate_rows
from engine.config.settings import (
    FIXED_IN_FORK,
    GROUPS,
    LABEL_SETTINGS,
    LIVE,
    SMALLEST_SIDE,
    RunConfig,
    allowed,
    choices,
    configure,
    group_of,
    unknown,
)

__all__ = [
    "BEST", "FAST", "FIXED_IN_FORK", "GROUPS", "LABEL_SETTINGS", "LIVE", "METHODS",
    "METHOD_ALIASES", "METHOD_DEFAULTS", "METHOD_NOTES",
    "NETWORK_ALIASES", "OLDER_VALUES", "PRESETS", "PRESET_ALIASES", "PRESET_NAMES",
    "SMALLEST_SIDE", "RunConfig", "allowed", "choices", "configure", "corrects", "did_you_mean",
    "group_of", "is_tested", "reference_preset", "unknown", "validate_k", "validate_rows",
]  # fmt: skip
