"""The failures that the lab foresees. Each message is one sentence that says what to change.

Whoever reports failures catches EngineError and prints the message; any other exception is a
defect. The second base classes are for callers that expect Python's own exceptions.
"""


class EngineError(Exception):
    """A foreseen failure: bad input, a missing device, damaged files, too little memory."""


class ConfigError(EngineError, ValueError):
    """A setting or a combination of settings that is not allowed."""


class DataError(EngineError, ValueError):
    """A data set that is unknown, missing or not usable."""


class ImageError(DataError):
    """A file that is not a readable image."""


class NoiseError(EngineError, ValueError):
    """Label noise that cannot be generated for these labels."""


class DeviceError(EngineError, ValueError):
    """A device that this machine does not have."""


class StoreError(EngineError, RuntimeError):
    """A run folder or a stored file that is missing, damaged or in use."""


class TrainingError(EngineError, RuntimeError):
    """Training that cannot go on, such as a loss that is no longer a number."""


class MemoryShortage(EngineError, RuntimeError):
    """Not enough memory; the message says how much was needed and what to change."""
