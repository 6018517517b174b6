"""Sets of samples as short text for the URL: a bit per sample, compressed; long ones in storage.

A lasso around 20,000 of 50,000 samples takes 8,000 letters, more than some servers and mail
programs let through. So a long text is kept in the server's storage, named by its hash, and the
URL carries "@" and that name; it opens on every browser that sees this server.
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

LONGEST = 1500  # letters of the URL itself
LARGEST = 2_000_000  # samples that a text may speak of, so that none unpacks into all the memory
KEPT = 500  # long texts; those that were used longest ago go
USED_AGAIN = 3600.0  # seconds after which another use is noted


@lru_cache(maxsize=64)
def pack(ids: tuple[int, ...]) -> str:
    """Ids from 0 as text; `unpack` gives them back in ascending order."""
    bits = np.zeros(max(ids, default=-1) + 1, np.uint8)
    bits[list(ids)] = 1
    data = zlib.compress(np.packbits(bits).tobytes(), 9)
    text = base64.urlsafe_b64encode(data).decode().rstrip("=")
    return text if len(text) <= LONGEST else _store(text)


def unpack(text: str) -> tuple[int, ...]:
    """Ids in ascending order. Raises ValueError for a text that is none, or is no longer kept."""
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
    if now - used > USED_AGAIN:  # what is used stays
        with contextlib.suppress(StorageError), storage.transaction() as connection:
            connection.execute("UPDATE sample_sets SET used = ? WHERE name = ?", (now, text[1:]))
    return kept
