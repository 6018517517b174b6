"""The parameters of a URL: their allowed values, and how they are written as text and parsed."""

import base64
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

MAX_NUMBER = 2**53 - 1  # beyond it a browser's integers are not exact
MAX_TEXT, MAX_PACKED = 4_000, 60_000  # characters of a value in the URL, and of a packed one
MAX_UNPACKED = 1_000_000  # bytes
MAX_ROWS = 1_000  # of a packed table, and its columns


@dataclass(frozen=True)
class Param:
    """How one value is written in the URL.

    default: the value if it is not in the URL; it is left out of the URL. parse: text -> value;
    raises ValueError, KeyError, TypeError or OverflowError for invalid text. format: value -> text.
    words: the allowed values, for the error message. max_chars: the longest text that is parsed.
    entry: whether a change is an entry of the browser's history, to which Back returns.
    """

    default: Any = None
    parse: Callable[[str], Any] = str
    format: Callable[[Any], str] = str
    words: str = "a text"
    max_chars: int = MAX_TEXT
    entry: bool = False

    def read(self, text: str) -> Any:
        """The value of a text in the URL. Raises ValueError with what is allowed."""
        if len(text) > self.max_chars:
            raise ValueError(f"{self.words}, in at most {self.max_chars:,} characters")
        try:
            return self.parse(text)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise ValueError(self.words) from None


def whole(text: str) -> int:
    """An integer from 0 to 2**53 - 1. Raises ValueError."""
    value = int(text)
    if not 0 <= value <= MAX_NUMBER:
        raise ValueError(text)
    return value


def finite(text: str) -> float:
    """A number of at most 2**53 - 1 in absolute value. Raises ValueError."""
    value = float(text)
    if not abs(value) <= MAX_NUMBER:  # also NaN
        raise ValueError(text)
    return value


def between(low: int, high: int) -> Callable[[str], int]:
    """A parser of integers from low to high, both included."""

    def parse(text: str) -> int:
        if not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return parse


def one_number(*options: float) -> Callable[[str], float]:
    """A parser that allows a few numbers."""

    def parse(text: str) -> float:
        if float(text) not in options:
            raise ValueError(text)
        return float(text)

    return parse


def one_of(
    *options: str, aliases: Mapping[str, str] = MappingProxyType({})
) -> Callable[[str], str]:
    """A parser that allows a few words. aliases: words of older links -> today's option."""

    def parse(text: str) -> str:
        text = aliases.get(text, text)
        if text not in options:
            raise ValueError(text)
        return text

    return parse


def choice(
    *options: str, default: str | None = None, aliases: Mapping[str, str] = MappingProxyType({})
) -> Param:
    """A parameter of a few words; the default is the first one. aliases: see `one_of`."""
    parse = one_of(*options, aliases=aliases)
    return Param(options[0] if default is None else default, parse, words=" | ".join(options))


def flag() -> Param:
    """A parameter that is on or off, written as 1 and 0; off by default."""
    return Param(False, {"1": True, "0": False}.__getitem__, lambda on: "01"[on], "0 or 1")


def share_key(text: str) -> str:
    """The secret of a share link. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError(text)
    return text


def weights(text: str) -> tuple[int, ...]:
    """One to 101 weights of 0 to 100 each, written as 60-30-10. Raises ValueError."""
    values = tuple(whole(part) for part in text.split("-"))
    if not 1 <= len(values) <= 101 or max(values) > 100:
        raise ValueError(text)
    return values


def names_from(text: str) -> tuple[str, ...]:
    """Names separated by commas; empty ones are left out."""
    return tuple(name for name in text.split(",") if name)


def pack(value: Any) -> str:
    """A JSON value as compressed text for the URL; `unpack` reverses it."""
    data = zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 9)
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unpack(text: str) -> Any:
    """The value that `pack` turned into a text. Raises ValueError."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        limited = zlib.decompressobj()
        raw = limited.decompress(data, MAX_UNPACKED)
        value = json.loads(raw)
    except (zlib.error, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(text[:60]) from error
    if not limited.eof:
        raise ValueError(text[:60])
    return value


def table(text: str) -> list[list[float]]:
    """A packed table of numbers, at most 1,000 by 1,000. Raises ValueError."""
    rows = unpack(text)
    if not isinstance(rows, list) or len(rows) > MAX_ROWS:
        raise ValueError(text[:60])
    for row in rows:
        if not isinstance(row, list) or len(row) > MAX_ROWS or not all(map(_is_number, row)):
            raise ValueError(text[:60])
    return rows


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MAX_NUMBER
