"""The binary layout of a recording: blocks of packed arrays, and the codes of their numbers.

README.md of this folder describes the layout. This module knows no runs and no files.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from engine.errors import StoreError

MAGIC, VERSION = b"MIXNNREC", 2
HEAD, DATA, IMAGES, EPOCH, DONE = b"HEAD", b"DATA", b"IMGS", b"EPOC", b"DONE"
SEEDS, NETWORK = b"SEED", b"NETW"
TYPES = ("uint8", "uint16", "uint32")
ALIGNMENT = 8  # bytes
LOSS_RANGE = (1e-4, 1e2)  # of the codes 0 and 255; a step is 5.6 %
MAP_STEPS, NO_PLACE = 1022, 65535  # steps along a side of the map; no position, no recorded sample
MOST_BYTES = 2**30  # of one block, once decompressed
SHARES = ("scaled_loss", "clean", "confidence", "soft_weight", "weights")  # in [0, 1]

Arrays = Mapping[str, np.ndarray]


def prologue() -> bytes:
    """The first 16 bytes."""
    return MAGIC + struct.pack("<II", VERSION, 0)


def block(kind: bytes, payload: bytes) -> bytes:
    """A block as it is written; payload: compressed already, see README.md."""
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (-len(payload) % ALIGNMENT)


def blocks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and payload of each complete block. Raises StoreError for another kind of content."""
    if content[:8] != MAGIC or len(content) < 16:
        raise StoreError("it is no recording: the first bytes are not MIXNNREC")
    version = struct.unpack_from("<I", content, 8)[0]
    if version != VERSION:
        raise StoreError(
            f"the recording has version {version}: this software reads version {VERSION}; publish "
            "the run again"
        )
    at = 16
    while at + 8 <= len(content):
        kind, length = content[at : at + 4], struct.unpack_from("<I", content, at + 4)[0]
        if at + 8 + length > len(content):
            return  # it is still being written
        yield kind, content[at + 8 : at + 8 + length]
        at += 8 + length + -length % ALIGNMENT


def json_bytes(value: Any) -> bytes:
    """Compressed JSON. Raises ValueError for nan and infinity, which browsers refuse."""
    return zlib.compress(_json(value))


def read_json_bytes(payload: bytes) -> Any:
    """The value that `json_bytes` compressed. Raises StoreError."""
    try:
        return json.loads(inflate(payload))
    except ValueError as error:
        raise StoreError(f"the recording is damaged: {error}") from None


def pack(record: Mapping[str, Any], arrays: Arrays, before: Arrays | None = None) -> bytes:
    """Arrays of TYPES and a record as one compressed payload.

    before: arrays of the epoch before. Where one has the same shape and type, what is stored is the
    bitwise difference from it, which is mostly zero.
    """
    table: dict[str, Any] = {}
    parts: list[bytes] = []
    offset = 0
    for name, values in arrays.items():
        last = (before or {}).get(name)
        xor = last is not None and (last.shape, last.dtype) == (values.shape, values.dtype)
        stored = values ^ last if xor else values
        planes = _planes(stored)
        table[name] = dict(type=str(values.dtype), shape=values.shape, offset=offset, xor=xor)
        padding = b"\0" * (-stored.nbytes % ALIGNMENT)
        parts += [*planes, padding]
        offset += stored.nbytes + len(padding)
    text = _json({**record, "arrays": table})
    text += b" " * (-(4 + len(text)) % ALIGNMENT)
    return _deflate([struct.pack("<I", len(text)) + text, *parts])


def unpack(
    payload: bytes, before: Sequence[Arrays] = ()
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The record and the arrays of a payload that `pack` made. Raises StoreError.

    before: by run, the arrays of the epoch before.
    """
    try:
        content = inflate(payload)
        start = 4 + struct.unpack_from("<I", content)[0]
        record = json.loads(content[4:start])
        arrays = {}
        for name, entry in record.pop("arrays").items():
            kind = np.dtype(TYPES[TYPES.index(entry["type"])])
            size = int(np.prod(entry["shape"])) * kind.itemsize
            values = np.frombuffer(content, np.uint8, size, start + entry["offset"])
            arrays[name] = _from_planes(values, kind).reshape(entry["shape"])
            if entry["xor"]:
                arrays[name] ^= before[record["run"]][name]
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise StoreError(f"the recording is damaged: {error}") from None
    return record, arrays


def _deflate(parts: Sequence[bytes]) -> bytes:
    """A zlib stream of all parts, each by the strategy that makes it smallest.

    Each part has Huffman codes of its own; where matches are rare, doing without them is better.
    """
    body = b"".join(
        min((_segment(part, strategy) for strategy in _STRATEGIES), key=len)
        for part in parts
        if part
    )
    end = zlib.compressobj(wbits=-15).flush() + struct.pack(">I", zlib.adler32(b"".join(parts)))
    return zlib.compress(b"")[:2] + body + end


def _segment(part: bytes, strategy: int) -> bytes:
    """Raw deflate blocks that end at a byte and refer to nothing before them."""
    stream = zlib.compressobj(wbits=-15, strategy=strategy)
    return stream.compress(part) + stream.flush(zlib.Z_SYNC_FLUSH)


_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)


def _planes(values: np.ndarray) -> list[bytes]:
    """The lowest bytes of all numbers, then the next ones: apart they compress better."""
    content = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    columns = content.view(np.uint8).reshape(-1, values.itemsize)
    return [columns[:, byte].tobytes() for byte in range(values.itemsize)]


def _from_planes(planes: np.ndarray, kind: np.dtype) -> np.ndarray:
    """The numbers of `_planes`, (size,)."""
    content = np.ascontiguousarray(planes.reshape(kind.itemsize, -1).T)
    return content.view(kind.newbyteorder("<")).ravel().astype(kind)


def inflate(payload: bytes) -> bytes:
    """A payload decompressed. Raises StoreError if it is damaged or larger than MOST_BYTES."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(payload, MOST_BYTES)
    except zlib.error as error:
        raise StoreError(f"the recording is damaged: {error}") from None
    if not stream.eof:
        raise StoreError("the recording is damaged: a block is incomplete or larger than 1 GB")
    return content


def share_codes(values: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1] as uint8, exact to 1/510; nan counts as 0."""
    return np.rint(255 * np.nan_to_num(values).clip(0, 1)).astype(np.uint8)


def loss_codes(loss: np.ndarray) -> np.ndarray:
    """Losses as uint8 on a logarithmic scale, exact to 2.8 % within LOSS_RANGE."""
    low, high = LOSS_RANGE
    clipped = np.nan_to_num(loss, nan=high, posinf=high).clip(low, high).astype(np.float64)
    return np.rint(255 * np.log(clipped / low) / np.log(high / low)).astype(np.uint8)


def loss_values(codes: np.ndarray) -> np.ndarray:
    """The losses (float32) of codes of `loss_codes`."""
    low, high = LOSS_RANGE
    return (low * (high / low) ** (codes / 255)).astype(np.float32)


def map_codes(points: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Positions (n, 2) as uint16 in their square, and that square: x, y and side.

    Points that are not finite have no position.
    """
    known = np.isfinite(points).all(1)
    codes = np.full(points.shape, NO_PLACE, np.uint16)
    if not known.any():
        return codes, [0.0, 0.0, 1.0]
    low = points[known].min(0)
    side = float((points[known].max(0) - low).max()) or 1.0
    codes[known] = np.rint((points[known] - low) / side * MAP_STEPS).clip(0, MAP_STEPS)
    return codes, [float(low[0]), float(low[1]), side]


def map_values(codes: np.ndarray, box: list[float]) -> np.ndarray:
    """Positions (n, 2) float32 of codes of `map_codes`; nan where there is none."""
    x, y, side = box
    points = np.array([x, y]) + codes * (side / MAP_STEPS)
    points[codes[:, 0] == NO_PLACE] = np.nan
    return points.astype(np.float32)


def label_type(n_classes: int) -> type[np.unsignedinteger]:
    """The type of labels. Raises StoreError for more classes than a recording can name."""
    if n_classes > 2**16:
        raise StoreError(f"{n_classes:,} classes: a recording has up to 65,536")
    return np.uint8 if n_classes <= 256 else np.uint16


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
