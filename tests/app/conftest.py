"""A folder of runs for each test, runs in more states, and pages without a browser."""

import contextlib
import html
import json
import re
import shutil
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
import streamlit as st

from app.server import maps
from app.server.escaping import JOINER
from app.server.run_manager import Visitor, runs
from app.server.storage import PATIENCE, Storage
from app.server.uploads import jobs, sandbox
from app.server.uploads.limits import Limits
from app.server.uploads.paths import INCOMING
from engine.config import SMALLEST_SIDE
from engine.data import load
from engine.runs.runner import Runner
from tests.conftest import quick_digits
from tests.records import read_records

MAIN = Path(__file__).resolve().parents[2] / "app" / "frame.py"
ANYONE = Visitor("anyone")


class NoMapper:
    """Replaces the process that computes maps: its state never changes."""

    def __init__(self, state=("working", "")):
        self.answer, self.requests = state, []

    def request(self, folder, dims=2, *, again=False):
        self.requests.append((folder.name, dims, again))

    def state(self, folder, dims=2):
        return self.answer


@pytest.fixture(autouse=True)
def mapper(monkeypatch) -> NoMapper:
    """No process that warms up UMAP for each test that opens the Map page."""
    replacement = NoMapper()
    monkeypatch.setattr(maps, "mapper", lambda: replacement)
    return replacement


@pytest.fixture(scope="session", autouse=True)
def scanned_once():
    """AppTest would read what every installed package says of itself once for each app it opens,
    compile every page for each time it is drawn, and look a thousand times a second whether it is
    drawn: that took longer than the pages."""
    from streamlit.components.v2 import manifest_scanner
    from streamlit.runtime.scriptrunner.script_cache import ScriptCache
    from streamlit.testing.v1 import app_test, local_script_runner

    with pytest.MonkeyPatch.context() as patch:
        found, compiled = manifest_scanner.scan_component_manifests(), ScriptCache()
        patch.setattr(manifest_scanner, "scan_component_manifests", lambda: found)
        for module in (app_test, local_script_runner):
            patch.setattr(module, "ScriptCache", lambda: compiled)

        def wait(runner, timeout=3):
            runner._script_thread.join(timeout)
            asked(runner, 0.1)

        asked = local_script_runner.require_widgets_deltas
        patch.setattr(local_script_runner, "require_widgets_deltas", wait)
        yield


@pytest.fixture
def unpacked_here(monkeypatch) -> None:
    """Uploads are unpacked by the function that their process runs, without starting a process."""

    def run(own: Path, name: str, job: jobs.Job) -> dict:
        jobs._renew(own, (own / INCOMING).rename(own.parent / INCOMING))
        with np.errstate(all="ignore"):
            taken = sandbox.unpack(own, name, Limits(), SMALLEST_SIDE, lambda *_: job.check())
        return json.loads(json.dumps(taken))

    monkeypatch.setattr(jobs, "run", run)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """An empty folder of runs that `runs()` uses during the test."""
    path = tmp_path / "runs"
    monkeypatch.setenv("MIXNN_RUNS", str(path))
    st.cache_resource.clear()
    yield path
    runs().close()
    st.cache_resource.clear()


@pytest.fixture(scope="session")
def template_unknown(tmp_path_factory) -> Path:
    """A finished run on own data, whose true labels nobody knows; to be copied."""
    folder = tmp_path_factory.mktemp("unknown")
    data = load("digits", limit=200)
    images, labels = data.images[:, 0].numpy(), data.labels.numpy()
    np.savez(folder / "own.npz", train_images=images, train_labels=labels)
    own = dict(dataset=f"npz:{folder / 'own.npz'}", noise="none", limit=None)
    config = quick_digits(**own, vote_from="neighbors")  # which doubt some labels after 3 epochs
    runner = Runner.new(config, folder / "unknown")
    runner.run()
    assert runner.status.state == "done", runner.status.error
    return folder / "unknown"


@pytest.fixture
def unknown(root, template_unknown) -> str:
    """A finished run whose true labels nobody knows."""
    shutil.copytree(template_unknown, root / "unknown")
    return "unknown"


@pytest.fixture
def running(root) -> str:
    """A run that trains now, with an epoch to show."""
    name = runs().submit(quick_digits(epochs=5000), visitor=ANYONE)
    wait_until(lambda: (root / name / "epochs.jsonl").exists() and n_epochs(root / name) > 1)
    runs().pause(name, ANYONE)
    return name


@contextlib.contextmanager
def locked(storage: Storage):
    """Another program holds the database."""
    storage.close()
    storage._patience = 0.05
    other = sqlite3.connect(storage.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()
        storage._patience = PATIENCE


def n_epochs(folder: Path) -> int:
    return len(read_records(folder))


def wait_until(true, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def unopened(page: str):
    """The app at a page, before its first run."""
    from streamlit.testing.v1 import AppTest
    from streamlit.util import calc_hash

    at = AppTest.from_file(str(MAIN), default_timeout=60)
    if page != "home":  # the one that a bare address opens
        at._page_hash = calc_hash(page)  # switch_page knows a page's URL only after the first run
    return at


def app(page: str, **params: str):
    """The app at a page, drawn once, with query parameters: app("losses", run="finished")."""
    at = unopened(page)
    for name, value in params.items():
        at.query_params[name] = str(value)
    at.run()
    assert not at.exception
    return at


def bound(widgets, name: str):
    """The widget of a page that shows a value of the URL: bound(at.slider, "epoch")."""
    (widget,) = [w for w in widgets if w.key and re.fullmatch(rf"w-{name}(-\d+)?", w.key)]
    return widget


def texts(at) -> str:
    """All words on the page as a visitor reads them, for looking something up."""
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.success, at.header)
    said = "\n".join(str(element.value) for kind in kinds for element in kind)
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", said)).replace(JOINER, "")
