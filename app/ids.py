"""Sets of samples as short text for the URL: a bit per sample, compressed; long ones in a file.

A lasso around 20,000 of 50,000 samples takes 8,000 letters, more than some servers and mail
programs let through. So a long text stands in a file under the runs root, named by its hash, and
the URL carries "@" and that name; it opens on every browser that sees this server.
"""

import base64
import contextlib
import hashlib
import os
import re
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from app.runs import runs

LONGEST = 1500  # letters that stand in the URL itself
LARGEST = 2_000_000  # samples that a text may speak of, so that none unpacks into all the memory
KEPT = 500  # files; the oldest go
FOLDER = ".lassos"


@lru_cache(maxsize=64)
def pack(ids: tuple[int, ...]) -> str:
    """Ids from 0 as text; `unpack` gives them back in ascending order."""
    bits = np.zeros(max(ids, default=-1) + 1, np.uint8)
    bits[list(ids)] = 1
    data = zlib.compress(np.packbits(bits).tobytes(), 9)
    text = base64.urlsafe_b64encode(data).decode().rstrip("=")
    return text if len(text) <= LONGEST else _store(text)


def unpack(text: str) -> tuple[int, ...]:
    """Ids in ascending order. Raises ValueError for a text that is none, or whose file is gone."""
    if text.startswith("@"):
        text = _stored(text)
    if len(text) > LARGEST:
        raise ValueError(text[:60])
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        whole = zlib.decompressobj()
        raw = whole.decompress(data, LARGEST // 8)
    except zlib.error as error:
        raise ValueError(text[:60]) from error
    if not whole.eof:
        raise ValueError(text[:60])
    return tuple(np.flatnonzero(np.unpackbits(np.frombuffer(raw, np.uint8))).tolist())


def _store(text: str) -> str:
    name = hashlib.sha256(text.encode()).hexdigest()[:20]
    folder = runs().root / FOLDER
    folder.mkdir(exist_ok=True)
    beside = folder / f"{name}.{os.getpid()}.tmp"
    beside.write_text(text)
    os.replace(beside, folder / name)
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)
    for file in files[:-KEPT]:
        file.unlink(missing_ok=True)
    return "@" + name


def _stored(text: str) -> str:
    path: Path = runs().root / FOLDER / text[1:]
    if not re.fullmatch("@[0-9a-f]{20}", text) or not path.is_file():
        raise ValueError(text[:60])
    with contextlib.suppress(OSError):
        os.utime(path)  # what is used stays
    return path.read_text()
