"""What an upload may take of the server: memory, pixels and seconds."""

import functools
from dataclasses import dataclass

from app.server.environment import number
from app.server.uploads.safe_zip import UploadError
from app.server.uploads.turns import STARTED
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
        """MIXNN_UPLOAD_MEMORY_MB, MIXNN_UPLOAD_MEGAPIXELS, MIXNN_UPLOAD_SECONDS.

        Never more memory than lets all processes there may be fit into half of what is free now.
        Raises UploadError on what is no number.
        """
        setting = functools.partial(number, error=UploadError)
        share = free_memory() // 2 // STARTED
        return cls(
            memory=min(int(setting("MIXNN_UPLOAD_MEMORY_MB", MEMORY_MB) * MB), share),
            pixels=int(setting("MIXNN_UPLOAD_MEGAPIXELS", MEGAPIXELS) * 1_000_000),
            seconds=setting("MIXNN_UPLOAD_SECONDS", SECONDS),
        )
