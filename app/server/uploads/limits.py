"""Limits of one upload: memory, pixels and seconds."""

import functools
from dataclasses import dataclass

from app.server.environment import number
from app.server.uploads.safe_zip import UploadError
from app.server.uploads.turns import STARTED
from engine.data.memory import MB, free_memory

MEMORY_MB, MEGAPIXELS, SECONDS = 2048, 4000, 120


@dataclass(frozen=True)
class Limits:
    """memory: bytes above those of an idle process. seconds: wall-clock and CPU time each."""

    memory: int = MEMORY_MB * MB
    pixels: int = MEGAPIXELS * 1_000_000  # of all image files, by their headers
    seconds: float = SECONDS

    @classmethod
    def from_environment(cls) -> "Limits":
        """MIXNN_UPLOAD_MEMORY_MB, MIXNN_UPLOAD_MEGAPIXELS, MIXNN_UPLOAD_SECONDS.

        The memory is reduced so that all STARTED processes fit into half of the free memory.
        Raises UploadError for a value that is not a positive number.
        """
        setting = functools.partial(number, error=UploadError)
        share = free_memory() // 2 // STARTED
        return cls(
            memory=min(int(setting("MIXNN_UPLOAD_MEMORY_MB", MEMORY_MB) * MB), share),
            pixels=int(setting("MIXNN_UPLOAD_MEGAPIXELS", MEGAPIXELS) * 1_000_000),
            seconds=setting("MIXNN_UPLOAD_SECONDS", SECONDS),
        )
