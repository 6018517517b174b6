"""Published pages, opened from disk in a browser without a network."""

import csv
import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter

from engine.cli.parser import main
from engine.reports.notebook import frame
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.conftest import quick_digits, slow

PATIENCE = 60_000  # milliseconds
HOSTILE = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'>"


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[str, str]:
    """The folders of a run of cross-entropy and of one of MixNN."""
    root = tmp_path_factory.mktemp("published")
    for name, settings in (("ce", dict(method="ce")), ("mixnn", dict(alpha=0.0))):
        runner = Runner.new(quick_digits(**settings), root / name)
        runner.run()
        assert runner.status.state == "done", runner.status.error
    return str(root / "ce"), str(root / "mixnn")


@pytest.fixture
def opened(chromium):
    """opened(path): a page from disk; a request to anywhere else or an error fails the test."""
    contexts, failures = [], []

    def open_page(path: Path):
        context = chromium.new_context(
            viewport={"width": 1280, "height": 720}, offline=True, accept_downloads=True
        )
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(PATIENCE)
        tab.on("pageerror", lambda error: failures.append(str(error)))
        tab.on("console", lambda line: line.type == "error" and failures.append(line.text))
        tab.on("dialog", lambda dialog: failures.append(dialog.message))
        allowed = ("blob:", "data:", "about:srcdoc", path.parent.as_uri())
        tab.on("request", lambda r: r.url.startswith(allowed) or failures.append(r.url))
        tab.goto(path.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert not failures, failures


def played(tab) -> None:
    """Wait until the player of a tab or frame shows an epoch, and step to the next one."""
    player = tab.locator("#player [data-epoch]").first
    player.wait_for()
    before = int(player.get_attribute("data-epoch"))
    player.get_by_role("button", name="One epoch forward (Right)").click()
    tab.locator(f'#player [data-epoch="{before + 1}"]').first.wait_for()


@slow
@pytest.mark.parametrize("form", ["file", "folder"])
def test_a_page_plays_from_disk_and_hands_out_the_labels(pair, tmp_path, opened, form):
    out = tmp_path / ("pair" if form == "folder" else "pair.html")
    options = ["--folder"] if form == "folder" else []
    assert main(["publish", *pair, *options, "--out", str(out)]) == 0
    tab = opened(out / "index.html" if form == "folder" else out)
    played(tab)
    broken = "[...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
    assert tab.evaluate(broken) == 0
    if form == "folder":  # Chromium opens a file beside a page instead of saving it
        return
    with tab.expect_download() as download:
        tab.get_by_text("All labels as CSV").click()
    with open(download.value.path(), newline="") as file:
        rows = list(csv.DictReader(file))
    given = RunFolder(pair[1]).labels["given"]
    assert [row["given_label"] for row in rows] == [str(label) for label in given]


@slow
def test_hostile_names_are_shown_and_do_nothing(pair, tmp_path, opened):
    folder = Path(shutil.copytree(pair[1], tmp_path / "<img src=x onerror=alert(1)>"))
    info = json.loads((folder / "config.json").read_text())
    info["data"]["classes"] = [f"{HOSTILE} {c}" for c in range(10)]
    (folder / "config.json").write_text(json.dumps(info))
    assert main(["publish", str(folder), "--out", str(tmp_path / "run.html")]) == 0
    tab = opened(tmp_path / "run.html")
    played(tab)
    assert tab.get_by_text(HOSTILE).count() > 0
    assert tab.evaluate("window.hit") is None


@slow
def test_a_notebook_exported_to_html_plays(pair, tmp_path, opened):
    runs = [RunFolder(folder) for folder in pair]
    cell = nbformat.v4.new_code_cell("engine.play(...)")
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": frame(runs, 700)})]
    exporter = HTMLExporter(template_name="basic")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    (tmp_path / "notebook.html").write_text(exporter.from_notebook_node(notebook)[0])
    tab = opened(tmp_path / "notebook.html")
    played(tab.frame_locator("iframe"))
