"""Settings of the server: environment variables that hold numbers."""

import os

MOST = 1e9


def number(name: str, default: float, error: type[Exception] = ValueError) -> float:
    """The value of an environment variable, or the default if it is not set or empty.

    Raises `error` for anything but a number above 0 (and below 1e9).
    """
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < MOST:
        raise error(f"{name} = {text[:40]!r} in the environment: allowed is a number above 0")
    return value
