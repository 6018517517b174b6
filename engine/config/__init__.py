"""Settings of a run: every knob, and the methods and presets that name sets of them."""

from engine.config.knobs import LIVE, RunConfig, allowed, configure
from engine.config.presets import BEST, FAST, METHOD_NOTES, METHODS, PRESETS, reference_preset

__all__ = [
    "BEST", "FAST", "LIVE", "METHODS", "METHOD_NOTES", "PRESETS", "RunConfig",
    "allowed", "configure", "reference_preset",
]  # fmt: skip
