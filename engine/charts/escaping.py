"""Escapes names and file names in figures: no tag, template or formula in them has an effect."""

import unicodedata

MAX_CHARS = 200  # characters of a name that are shown


def text(value: object, most: int = MAX_CHARS) -> str:
    """One line of at most `most` characters that can be encoded and does not turn its direction.

    Control characters, line breaks, lone surrogates and marks of direction become spaces or "�".
    """
    whole = str(value)
    cut = whole if len(whole) <= most else whole[: most - 1] + "…"
    return "".join(map(_visible, cut))


def plotly(value: object, most: int = MAX_CHARS) -> str:
    """A name, tick, annotation or hover text of a figure: no tag, template or formula has an
    effect.

    `html.unescape` gives the text back, as long as it was not cut.

    >>> plotly("<a href='x'>5 $</a>")
    "&lt;a href='x'&gt;5 &#36;&lt;/a&gt;"
    """
    return "".join(_ENTITIES.get(c, c) for c in text(value, most))


_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "%": "&#37;"}
_DIRECTIONS = set(
    map(chr, (*range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)


def _visible(c: str) -> str:
    if c in "\n\r\t\v\f\x85\u2028\u2029":
        return " "
    return "�" if c in _DIRECTIONS or unicodedata.category(c) in ("Cc", "Cs") else c
