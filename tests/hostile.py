"""What strangers may bring: names, addresses and run folders; and how to see that nothing acts."""

import base64
import json
import random
import re
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from app.state import parameters, url_state
from app.views.lesson import steps
from app.views.sample import sample
from tests.records import renamed_copy

PARAMS = url_state.PARAMS | steps.PARAMS | sample.PARAMS  # of every page's URL

NAMES = (
    "![x](http://evil.example/x.png)",
    "[log in](http://evil.example)",
    '<a href="http://evil.example">x</a>',
    r"$\href{http://evil.example}{x}$",
    ":red[x]",
    "# big http://evil.example",
    '<img src="http://evil.example/y.png" onerror=alert(1)>',
    "=HYPERLINK(1)",
    "www.evil.example a@evil.example",
    "<b>bold</b> **bold** %{x} " + "long " * 90,
)
FOLDER = "[log in](mailto:a@evil.example) <b>bold<b> :red[x]"  # a name that a disk takes
# what of it would act; the escaped forms have other characters between these
IN_MARKDOWN = re.compile(
    r"(?<!\\)(!\[x|\[log in|<a href|<img src=\"http|<b>bold|:red\[|\$\\href)"
    r"|\]\(|http://evil|www\.evil|a@evil"
)
IN_HTML = re.compile(r"<a href|<img src=\"http|<b>bold")
PAGES = (
    ("train", {}),
    ("noise", {}),
    ("losses", {"class": 1}),
    ("losses", {"who": "chosen", "sample": 3}),
    ("map", {"sample": 3, "layout": "pca"}),
    ("map", {"dims": 3, "layout": "pca"}),
    ("sample", {"sample": 3}),
    ("labels", {"kept": 1}),
    ("compare", {}),
    ("runs", {}),
    ("your_data", {"step": "review", "sample": 3}),
    ("your_data", {"step": "take", "accept": 0.5}),
)
TEXT = {  # fields that the browser shows as they are, or not at all
    "id",
    "key",
    "url",
    "query_string",
    "file_name",
    "alt",
    "options",
    "raw_value",
    "raw_values",
    "js_content",
    "css_content",
    "html_content",
    "value",
    "default",
    "element_id",
    "spec",
    "config",
    "json",
    "placeholder_text",
    "form_id",
    "image_url",
    "code_text",
    "page_script_hash",
    "page",
    "columns",
    "vega_lite_spec",
}


# --- what a page shows


def acting(element: Any) -> Iterator[str]:
    """Texts of strangers in a Streamlit element's or block's proto that the browser would run."""
    for kind, field, text in texts_of(element):
        if kind == "Html" and IN_HTML.search(text):
            yield f"HTML: {text[:200]}"
        elif kind == "PlotlyChart" and field == "spec":
            shown = json.dumps(json.loads(text), ensure_ascii=False).replace('\\"', '"')
            if IN_HTML.search(shown) or r"$\\href" in shown or "%{x} long" in shown:
                yield f"figure: {shown[:200]}"
        elif kind in ("Html", "Text", "Code", "PlotlyChart") or field in TEXT:
            continue
        elif found := IN_MARKDOWN.search(text):
            yield f"{kind}.{field}: {text[max(0, found.start() - 40) :][:160]}"


def texts_of(proto: Any) -> Iterator[tuple[str, str, str]]:
    """Message, field and text of all strings in a proto."""
    for field, value in proto.ListFields():
        for item in value if field.is_repeated and not hasattr(value, "keys") else [value]:
            if isinstance(item, str):
                yield type(proto).__name__, field.name, item
            elif hasattr(item, "ListFields"):
                yield from texts_of(item)


def protos(node: Any) -> Iterator[Any]:
    """The protos of all elements and blocks of an AppTest's tree."""
    if getattr(node, "proto", None) is not None and hasattr(node.proto, "ListFields"):
        yield node.proto
    for child in getattr(node, "children", {}).values():
        yield from protos(child)


def named_by_strangers(template: Path, root: Path) -> str:
    """A copy of a run on digits in which every text of others is hostile; returns its name."""
    folder = renamed_copy(template, root / FOLDER, NAMES)
    status = {"state": "failed", "message": " ".join(NAMES[:7]), "time": 0.0}
    (folder / "status.json").write_text(json.dumps(status))
    return folder.name


# --- addresses


VALUES = (
    *NAMES[:7],
    "9" * 23,
    "1" + "0" * 400,
    "-1",
    "-" + "9" * 30,
    "nan",
    "inf",
    "-inf",
    "1e308",
    "1e999",
    "0x10",
    "1_000",
    "٣",
    "½",
    " 5 ",
    "5.5",
    "",
    " ",
    "\x00",
    "\x00\x01",
    "%00",
    "\u202e\u2066abc",
    "a" * 3_000,
    "a" * 50_000,
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "~",
    ".lassos",
    "@" + "0" * 20,
    "@../../etc/passwd",
    "npz:/etc/passwd",
    "folder:/etc",
    "npz:" + "x" * 300,
    "npz:\x00",
    "digits:" + "9" * 30,
    "shapes:" + "9" * 25,
    "shapes:-1",
    "cifar10",
    "true",
    "null",
    "[]",
    "{}",
    "1-2-3",
    "-".join(["100"] * 101),
    "-".join(["9" * 20] * 3),
    "a,b,c",
    "," * 500,
    ",".join(map(str, range(400))),
    "<script>alert(1)</script>",
    "'; --",
    "${7*7}",
    "{{7*7}}",
    "%s%n",
    "🙂" * 200,
    "matrix",
    "human",
    "margin",
    "5",
    "0",
    "1",
)


@cache
def packed() -> list[str]:
    """Packed values that are none, or far too much."""
    nested = "[" * 100_000 + "]" * 100_000
    tables: list[Any] = [
        json.loads(text)
        for text in (
            "{}",
            "[[]]",
            "[[[1]]]",
            '[["a"]]',
            "[1e308]",
            "[[1,2],[3]]",
            "[[null]]",
            "null",
            "5",
            "[[1e400]]",
        )
    ]
    deep = base64.urlsafe_b64encode(zlib.compress(nested.encode(), 9)).decode().rstrip("=")
    bomb = base64.urlsafe_b64encode(zlib.compress(b"0" * 30_000_000, 9)).decode().rstrip("=")
    return [deep, bomb, *map(parameters.pack, tables), parameters.pack([[0.1] * 10] * 10)]


def addresses(n: int = 400, seed: int = 0) -> list[tuple[str, dict[str, str]]]:
    """(page, parameters): every parameter with hostile values, alone and several at once."""
    rng = random.Random(seed)
    pages, values = sorted({page for page, _ in PAGES} | {"lesson"}), [*VALUES, *packed()]
    where = {
        "epoch": "losses",
        "sample": "sample",
        "compare": "compare",
        "noise_matrix": "noise",
        "dataset": "noise",
        "upload": "your_data",
        "desk_sure": "your_data",
        "lasso": "map",
        "color": "map",
        "lesson": "lesson",
        "run": "runs",
    }
    found = [("losses", {"epoch": "9" * 23}), ("train", {"noise_matrix": packed()[0]})]
    found += [(page, {"run": NAMES[0], "compare": ",".join(NAMES[:3])}) for page in pages]
    for name in PARAMS:
        found += [(where.get(name, rng.choice(pages)), {name: v}) for v in rng.sample(values, 5)]
    while len(found) < n:
        names = rng.sample(sorted(PARAMS), rng.randint(2, 6))
        found.append((rng.choice(pages), {name: rng.choice(values) for name in names}))
    return found[:n]
