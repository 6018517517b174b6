"""What an upload may take of the server: memory, pixels and seconds."""

import os
from dataclasses import dataclass

from app.review.archives import UploadError
from engine.data.memory import MB, free_memory

MEMORY_MB, MEGAPIXELS, SECONDS = 2048, 4000, 120


@dataclass(frozen=True)
class Limits:
    """Of one upload. memory: bytes above what an idle process has; seconds: wall and CPU each."""

    memory: int = MEMORY_MB * MB
    pixels: int = MEGAPIXELS * 1_000_000  # of all image files, by their headers
    seconds: float = SECONDS

    @classmethod
    def from_environment(cls) -> "Limits":
        """MIXNN_UPLOAD_MEMORY_MB (never more than half of what is free now),
        MIXNN_UPLOAD_MEGAPIXELS, MIXNN_UPLOAD_SECONDS. Raises UploadError on what is no number."""
        return cls(
            memory=min(int(_setting("MIXNN_UPLOAD_MEMORY_MB", MEMORY_MB) * MB), free_memory() // 2),
            pixels=int(_setting("MIXNN_UPLOAD_MEGAPIXELS", MEGAPIXELS) * 1_000_000),
            seconds=_setting("MIXNN_UPLOAD_SECONDS", SECONDS),
        )


def _setting(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text or default)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise UploadError(f"{name} = {text!r} in the environment: allowed is a number above 0")
    return value
