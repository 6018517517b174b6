"""Arrays on their way to the JavaScript of a component."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def packed(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """u32 length of a JSON header | header | arrays, each padded to 8 bytes.

    The header gets the key "arrays": name -> (type, offset in bytes, size).
    """
    table, parts, offset = {}, [], 0
    for name, array in arrays.items():
        table[name] = (str(array.dtype), offset, array.size)
        parts.append(array.tobytes().ljust(-(-array.nbytes // 8) * 8, b"\0"))
        offset += len(parts[-1])
    text = json.dumps({"arrays": table, **header}).encode()
    text = text.ljust(len(text) + -(4 + len(text)) % 8)
    return b"".join([len(text).to_bytes(4, "little"), text, *parts])
