"""Untrusted texts (names, file names, addresses, errors) shown literally: markup has no effect.

One function per target. Vega-Lite, st.dataframe, the options of st.selectbox, and st.text show
texts literally and need none. For texts in figures see engine/charts/escaping.py.
"""

import html as _html
import re
from pathlib import Path

from engine.charts.escaping import MAX_CHARS, text

MOST_ERROR = 1000  # characters of an error message
JOINER = "\u2060"  # zero width; breaks up what would become a link or an icon
_MARKUP = re.compile(r"([\\`*<>#|~$&]|:(?!\s)|(?<!\w)_|_(?!\w))")
_AT_START = re.compile(
    r"^(\d+)([.)])(?=\s|$)|^()([-+=])"
)  # lists and headings, before or after a number
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^/\s'\"]+/)*(?=[^/\s'\"])")  # before a path's last part
# these are searched after Markdown is parsed, so a backslash does not help
_LINKED = re.compile(r":(?=//|[\w+/-]+:)|www(?=\.)|@", re.IGNORECASE)


def markdown(value: object, most: int = MAX_CHARS) -> str:
    """Markdown that shows a text literally: no emphasis, link, image, formula or icon.

    >>> markdown("![x](http://y) 5*3")
    '!&#91;x&#93;(http\\\\:\\u2060//y) 5\\\\*3'
    """
    shown = _LINKED.sub(rf"\g<0>{JOINER}", text(value, most)).strip()
    # st.badge puts a backslash of its own before each bracket
    shown = _AT_START.sub(_escaped, _MARKUP.sub(r"\\\1", shown))
    return shown.replace("[", "&#91;").replace("]", "&#93;")


def html(value: object, most: int = MAX_CHARS) -> str:
    """HTML that shows a text literally, between tags or in a quoted attribute."""
    return _html.escape(text(value, most), quote=True)


def without_paths(value: object, root: Path | str) -> str:
    """A text without the server's folders: paths relative to root, other paths by their last part.

    >>> without_paths("/srv/my runs/a is missing; see npz:/home/ann/b.npz", "/srv/my runs")
    'a is missing; see npz:b.npz'
    """
    message = str(value)
    for folder in {str(root), str(Path(root).resolve())}:
        message = message.replace(f"{folder}/", "")
    return _FOLDERS.sub("", message)


def lines(value: object, most: int = MOST_ERROR) -> str:
    """Markdown of a message that keeps its line breaks."""
    return "  \n".join(markdown(line, most) for line in str(value)[:most].splitlines() if line)


def _escaped(match: re.Match) -> str:
    number, mark = (match[1], match[2]) if match[1] else ("", match[4])
    return f"{number}\\{mark}"
