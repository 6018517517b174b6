"""The page of a run: complete, loading nothing, and harmless whatever the names are."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from engine.analysis.label_export import export
from engine.cli.parser import main
from engine.data import load_data
from engine.reports.bundle import bundle, inline
from engine.reports.notebook import frame
from engine.reports.publish import html_page
from engine.reports.reader import read_recording
from engine.runs.folder import RunFolder
from tests.records import keep_epochs, read_records, renamed_copy, write_records

NODE = shutil.which("node")
NAMES = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "</style><style>body { display: none }",
    '" onmouseover="alert(3)',
    "' onfocus='alert(4)' autofocus='",
    "]]><!--<script>",
    "$policy ${script} %s {0}",
    "javascript:alert(5)",
    "\u202eright to left\u2028line",
    "&lt;b&gt; &amp;",
)


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the text of each."""

    def __init__(self, content: str):
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.text: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.text = []
        self.found.append((tag, dict(attrs), self.text))

    def handle_endtag(self, tag):
        self.text = []

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attrs, "".join(text)) for name, attrs, text in self.found if name == tag]


def page_of(*folders: Path) -> str:
    runs = [RunFolder(folder) for folder in folders]
    return html_page(runs, load_data(runs[0].config))


@pytest.fixture(scope="module")
def page(pair) -> str:
    return page_of(*pair)


@pytest.fixture(scope="module")
def hostile(pair, tmp_path_factory) -> Path:
    """A run in which every text of others is hostile."""
    folder = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=alert(6)> & run"
    return renamed_copy(pair[1], folder, NAMES)


def test_the_page_contains_the_recording_of_both_runs(pair, page):
    texts = [text for attrs, text in Elements(page).of("script") if attrs.get("id")]
    read = read_recording(base64.b64decode(texts[0]))
    assert [len(epochs) for epochs in read.epochs] == [6, 6]
    assert [run["name"] for run in read.head["runs"]] == [folder.name for folder in pair]


def test_the_download_is_what_export_writes(pair, page, tmp_path):
    links = [attrs for attrs, _ in Elements(page).of("a") if "download" in attrs]
    assert len(links) == 1  # cross-entropy corrects nothing
    kind, _, content = links[0]["href"].partition(",")
    assert kind == "data:text/csv;charset=utf-8;base64"
    export(RunFolder(pair[1]), tmp_path / "labels.csv")
    assert base64.b64decode(content) == (tmp_path / "labels.csv").read_bytes()


def test_galleries_show_the_labels_that_correction_changed(pair, page):
    run = RunFolder(pair[1])
    given, true = run.labels["given"], run.labels["true"]
    now = run.array("soft")[-1].argmax(1)
    shown = Elements(page)
    images = {attrs["alt"]: attrs["src"] for attrs, _ in shown.of("img")}
    assert all(source.startswith("data:image/png;base64,") for source in images.values())
    changed = run.labels["ids"][given != now]
    assert {alt.partition(":")[0] for alt in images} <= {*changed.tolist()}
    names = [attrs["class"] for attrs, _ in shown.of("li")]
    assert {*names} == {"corrected", "harmed", "changed"}
    by_outcome = {
        "corrected": (given != true) & (now == true),
        "harmed": (given == true) & (now != true),
        "changed": (given != true) & (now != true) & (given != now),
    }
    for word, hits in by_outcome.items():
        assert names.count(word) == min(hits.sum(), 48), word


def test_only_the_pages_own_script_may_run_and_nothing_may_connect(page):
    elements = Elements(page)
    policy = next(attrs["content"] for attrs, _ in elements.of("meta") if "http-equiv" in attrs)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"  # also of connections, frames, fonts and workers
    assert rules["img-src"] == "data: blob:"
    scripts = [text for attrs, text in elements.of("script") if "id" not in attrs]
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert (len(scripts), rules["script-src"]) == (1, f"'sha256-{digest}'")


@pytest.mark.parametrize("form", ["page", "frame of a notebook"])
def test_hostile_names_add_no_element_and_no_attribute(hostile, pair, form):
    def elements(folder: Path) -> Elements:
        if form == "page":
            return Elements(page_of(folder))
        outer = Elements(frame([RunFolder(folder)], 500))
        (attrs, _), *others = outer.of("iframe")
        assert others == []
        assert [tag for tag, _, _ in outer.found] == ["div", "iframe"]
        assert attrs["sandbox"] == "allow-scripts allow-downloads"  # but not of the same origin
        return Elements(attrs["srcdoc"])

    bad, good = elements(hostile), elements(pair[1])
    allowed = {(tag, name) for tag, attrs, _ in good.found for name in attrs}
    assert {(tag, name) for tag, attrs, _ in bad.found for name in attrs} == allowed
    notes = 1 + len(NAMES) + 1  # heading and list of the notes on the data
    assert len(bad.found) == len(good.found) + notes
    for attrs, _ in bad.of("a")[1:]:  # after the one to the tables
        assert attrs["href"].startswith("data:text/csv;")
    texts = "".join("".join(text) for _, _, text in bad.found)
    for name in NAMES[:8]:  # shown as they are
        assert name in texts


def test_a_page_without_true_labels_calls_no_label_right(pair, tmp_path):
    folder = Path(shutil.copytree(pair[1], tmp_path / "run"))
    with np.load(folder / "labels.npz") as file:
        arrays = {name: file[name] for name in ("given", "matrix", "panel")}
    np.savez(folder / "labels.npz", **arrays)
    info = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(info | {"rate_actual": None}))
    records = read_records(folder)
    for record in records:
        for name in ("memorized", "fit_clean", "label_accuracy", "clean_auroc"):
            record["metrics"][name] = None
    write_records(folder, records)
    content = page_of(folder)
    assert "Changed labels" in content
    content = re.sub(r"<script.*?</script>|<style.*?</style>", "", content, flags=re.DOTALL)
    assert not re.findall(r"\b(?:[Hh]armed|[Cc]orrected labels|labels wrong|nan|None)\b", content)


def test_the_command_writes_a_folder_or_a_recording(pair, tmp_path, capsys):
    both = [str(folder) for folder in pair]
    assert main(["publish", *both, "--folder", "--out", str(tmp_path / "pair")]) == 0
    assert main(["publish", both[1], "--recording", "--out", str(tmp_path / "one.recording")]) == 0
    assert "wrote" in capsys.readouterr().out
    files = {path.name: path.read_text() for path in (tmp_path / "pair").iterdir()}
    csv_file = f"labels-2-{pair[1].name}.csv"
    assert {*files} == {"index.html", "recording.js", csv_file}
    assert Elements(files["index.html"]).of("a")[1][0]["href"] == csv_file
    assert len(list(csv.reader(io.StringIO(files[csv_file])))) == 201
    whole = read_recording((tmp_path / "one.recording").read_bytes())
    beside = read_recording(base64.b64decode(files["recording.js"].split('"')[1]))
    assert len(whole.epochs[0]) == len(beside.epochs[1]) == 6


def test_what_cannot_be_published_is_refused(pair, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out.html")]
    folder = Path(shutil.copytree(pair[1], tmp_path / "empty"))
    keep_epochs(folder, 0)
    for runs, words in (
        ([folder], "no epoch yet"),
        ([*pair, pair[0]], "same settings and seed"),
        ([tmp_path], "no run folder"),
    ):
        assert main(["publish", *map(str, runs), *out]) == 2
        assert words in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["publish", str(pair[1]), "--out", str(tmp_path / "file" / "out.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "out.html").exists()


def test_without_its_images_a_run_is_published_with_a_warning(pair, tmp_path, capsys):
    folder = Path(shutil.copytree(pair[1], tmp_path / "run"))
    info = json.loads((folder / "config.json").read_text())
    info["data"]["fingerprint"] = "0" * 16
    (folder / "config.json").write_text(json.dumps(info))
    assert main(["publish", str(folder), "--out", str(tmp_path / "run.html")]) == 0
    assert "warning: no images" in capsys.readouterr().err
    assert not Elements((tmp_path / "run.html").read_text()).of("img")


MODULES = {
    "main.js": """
        import { twice, NAME as name } from "./twice.js";
        import * as more from "./more.js";
        /** @typedef {import("./twice.js").Nothing} Nothing */
        export async function mount() { return [twice(4), name, more.tag, more.Shape.sides]; }
    """,
    "twice.js": """
        import {
          base,
        } from "./more.js";
        const NAME = "<!-- $&";
        export function twice(x) { return 2 * x * base; }
        export { NAME };
    """,
    "more.js": """
        export const base = 5;
        export class Shape { static sides = 3; }
        const inner = "</script>";
        export { inner as tag };
    """,
}


def write_modules(folder: Path, modules: dict[str, str]) -> Path:
    for name, text in modules.items():
        lines = (line.removeprefix(" " * 8) for line in text.splitlines())
        (folder / name).write_text("\n".join(lines))
    return folder / "main.js"


@pytest.mark.skipif(NODE is None, reason="no node")
def test_bundled_modules_do_what_the_modules_do(tmp_path):
    script = inline(bundle(write_modules(tmp_path, MODULES)))
    assert "</script" not in script
    assert "<!--" not in script
    script += '\nmodules["main.js"].mount().then((v) => console.log(JSON.stringify(v)));'
    ended = subprocess.run([NODE, "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == [40, "<!-- $&", "</script>", 3]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('import main from "./more.js";', "not supported"),
        ("export default 3;", "not supported"),
        ('export * from "./more.js";', "not supported"),
        ('import { mount } from "./main.js";', "import each other"),
    ],
)
def test_modules_that_cannot_be_bundled_are_refused(tmp_path, line, words):
    modules = MODULES | {"twice.js": MODULES["twice.js"] + f"\n{line}\n"}
    with pytest.raises(ValueError, match=words):
        bundle(write_modules(tmp_path, modules))
