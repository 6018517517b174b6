"""The expected failures. Each message is one sentence that says what to change.

Code that reports failures catches EngineError and shows the message; any other exception is a
bug. The second base classes are for callers that expect Python's own exceptions.
"""


class EngineError(Exception):
    """An expected failure: bad input, a missing device, damaged files, too little memory."""


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
    """Training that cannot continue, such as with a loss that is not finite."""


class MemoryShortage(EngineError, RuntimeError):
    """Not enough memory; the message says how much was needed and what to change."""
