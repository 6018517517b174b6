"""Texts of others (names, file names, addresses, errors) as text: no markup of theirs acts.

One function for each target. Vega-Lite, tables of st.dataframe, options of st.selectbox and
st.text show their texts as they are and need none. For texts in figures see charts/escaping.py.
"""

import html as _html
import re
from pathlib import Path

from engine.charts.escaping import MAX_CHARS, text

MOST_ERROR = 1000  # of an error's message
JOINER = "\u2060"  # takes no room; parts what the browser would make a link or an icon of
_MARKUP = re.compile(r"([\\`*<>#|~$&]|:(?!\s)|(?<!\w)_|_(?!\w))")
_AT_START = re.compile(
    r"^(\d+)([.)])(?=\s|$)|^()([-+=])"
)  # lists and headings, before or after a number
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^/\s'\"]+/)*(?=[^/\s'\"])")  # before a path's last part
# after Markdown is read, these are looked for in its texts, so that a backslash does not help
_LINKED = re.compile(r":(?=//|[\w+/-]+:)|www(?=\.)|@", re.IGNORECASE)


def markdown(value: object, most: int = MAX_CHARS) -> str:
    """Markdown that shows a text letter by letter: no emphasis, link, image, formula or icon.

    >>> markdown("![x](http://y) 5*3")
    '!&#91;x&#93;(http\\\\:\\u2060//y) 5\\\\*3'
    """
    shown = _LINKED.sub(rf"\g<0>{JOINER}", text(value, most)).strip()
    # st.badge puts a backslash of its own before each bracket
    shown = _AT_START.sub(_escaped, _MARKUP.sub(r"\\\1", shown))
    return shown.replace("[", "&#91;").replace("]", "&#93;")


def html(value: object, most: int = MAX_CHARS) -> str:
    """HTML that shows a text, between tags or in a quoted attribute."""
    return _html.escape(text(value, most), quote=True)


def without_paths(value: object, root: Path | str) -> str:
    """A text without the server's folders: what lies in root by its name, other paths by the last.

    >>> without_paths("/srv/my runs/a is gone; see npz:/home/ann/b.npz", "/srv/my runs")
    'a is gone; see npz:b.npz'
    """
    found = str(value)
    for folder in {str(root), str(Path(root).resolve())}:
        found = found.replace(f"{folder}/", "")
    return _FOLDERS.sub("", found)


def lines(value: object, most: int = MOST_ERROR) -> str:
    """Markdown of a message whose lines stay lines."""
    return "  \n".join(markdown(line, most) for line in str(value)[:most].splitlines() if line)


def _escaped(found: re.Match) -> str:
    number, sign = (found[1], found[2]) if found[1] else ("", found[4])
    return f"{number}\\{sign}"
