"""Sets of samples as short text for the URL: one bit per sample, compressed; long ones in storage.

A lasso around 20,000 of 50,000 samples takes 8,000 characters, more than some servers and mail
programs allow. So a long text is stored on the server under its hash, and the URL contains "@" and
that hash; such a link works in every browser that uses this server.
"""

import base64
import contextlib
import hashlib
import re
import time
import zlib
from functools import lru_cache

import numpy as np

from app.server.storage import StorageError, storage_of
from app.server.visible_runs import runs

LONGEST = 1500  # characters in the URL itself
LARGEST = 2_000_000  # samples of a set, so that no text unpacks to fill the memory
KEPT = 500  # long texts; the least recently used are removed
USED_AGAIN = 3600.0  # seconds after which another use is recorded


@lru_cache(maxsize=64)
def pack(ids: tuple[int, ...]) -> str:
    """Sample indices as text; `unpack` returns them in ascending order. Raises StorageError."""
    bits = np.zeros(max(ids, default=-1) + 1, np.uint8)
    bits[list(ids)] = 1
    data = zlib.compress(np.packbits(bits).tobytes(), 9)
    text = base64.urlsafe_b64encode(data).decode().rstrip("=")
    return text if len(text) <= LONGEST else _store(text)


def unpack(text: str) -> tuple[int, ...]:
    """Sample indices, ascending. Raises ValueError for an invalid or no longer stored text."""
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
    with storage_of(runs().root).transaction() as connection:
        row = name, text, time.time()
        connection.execute("INSERT OR REPLACE INTO sample_sets VALUES (?, ?, ?)", row)
        connection.execute(
            "DELETE FROM sample_sets WHERE name NOT IN "
            "(SELECT name FROM sample_sets ORDER BY used DESC, rowid DESC LIMIT ?)",
            (KEPT,),
        )
    return "@" + name


def _stored(text: str) -> str:
    if not re.fullmatch("@[0-9a-f]{20}", text):
        raise ValueError(text[:60])
    storage, now = storage_of(runs().root), time.time()
    rows = storage.read("SELECT text, used FROM sample_sets WHERE name = ?", text[1:])
    if not rows:
        raise ValueError(text[:60])
    ((kept, used),) = rows
    if now - used > USED_AGAIN:  # texts in use are kept
        with contextlib.suppress(StorageError), storage.transaction() as connection:
            connection.execute("UPDATE sample_sets SET used = ? WHERE name = ?", (now, text[1:]))
    return kept
