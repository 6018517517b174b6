"""Run folders that were opened before, so that none is read and checked twice."""

import os
from functools import lru_cache
from pathlib import Path

from engine.runs.folder import RunFolder

MOST_OPEN = 256  # runs; 300 records of one take 1 MB


def open_run(folder: Path | str, *, alone: bool = False) -> RunFolder:
    """`RunFolder(folder, alone=alone)`, the same object until config.json is replaced.

    Raises StoreError.
    """
    try:
        status = os.stat(os.path.join(folder, "config.json"))
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
    except (OSError, ValueError):  # RunFolder says what is wrong
        stamp = 0, 0, 0
    return _opened(str(folder), stamp, alone)


@lru_cache(MOST_OPEN)
def _opened(folder: str, stamp: tuple[int, ...], alone: bool) -> RunFolder:
    return RunFolder(folder, alone=alone)
