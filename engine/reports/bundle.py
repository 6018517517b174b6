"""Joins JavaScript modules into one script, for pages that load nothing.

A module may import by `import { a, b as c } from "./file.js"` or `import * as name from
"./file.js"`, and export functions, classes, constants and `export { a, b }`.
"""

import re
from pathlib import Path

_IMPORT = re.compile(
    r"""^import\s+(?:(?P<names>\{[^}]*\})|\*\s+as\s+(?P<all>\w+))\s+from\s+["'](?P<file>\./[^"']+)["'];?""",
    re.M,
)
_EXPORT = re.compile(r"^export\s+(?=(?:async\s+)?(?:function\*?|class|const|let)\s+(\w+))", re.M)
_EXPORT_LIST = re.compile(r"^export\s+\{([^}]*)\};?", re.M)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.M)


def bundle(entry: Path) -> str:
    """A script that defines `modules`: file name -> exports, for an entry module and all it needs.

    Raises ValueError for syntax that is not supported, and for modules that import each other.
    """
    done: dict[Path, str] = {}
    _add(entry.resolve(), done, ())
    return "\n".join(['"use strict";', "const modules = {};", *done.values()])


def inline(script: str) -> str:
    """The same script, with nothing that would end or confuse the element <script>."""
    return re.sub(r"<(?=/script|!--|script)", r"\\x3c", script, flags=re.I)


def _add(path: Path, done: dict[Path, str], above: tuple[Path, ...]) -> None:
    """Add a module after those that it imports."""
    if path in done:
        return
    if path in above:
        raise ValueError(f"{path.name} and {above[-1].name} import each other")
    code, exports = path.read_text(), []

    def imported(match: re.Match) -> str:
        needed = (path.parent / match["file"]).resolve()
        _add(needed, done, (*above, path))
        names = match["all"] or re.sub(r"(\w+)\s+as\s+(\w+)", r"\1: \2", match["names"])
        return f'const {names} = modules["{needed.name}"];'

    def exported(match: re.Match) -> str:
        exports.append(match[1])
        return ""

    def listed(match: re.Match) -> str:
        exports.extend(re.sub(r"(\w+)\s+as\s+(\w+)", r"\2: \1", match[1]).split(","))
        return ""

    code = _IMPORT.sub(imported, code)
    code = _EXPORT_LIST.sub(listed, _EXPORT.sub(exported, code))
    if rest := _OTHER.search(code):
        raise ValueError(f"{path.name}: {rest[0]!r} is not supported")
    names = ", ".join(name.strip() for name in exports if name.strip())
    done[path] = f'modules["{path.name}"] = (() => {{\n{code}\nreturn {{ {names} }};\n}})();'
