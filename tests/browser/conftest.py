"""The app on a server of its own, in a real browser. Skipped where chromium is missing."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from engine.config import configure
from engine.runs.runner import Runner

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 120_000  # milliseconds
PASSCODE = "open sesame"


@dataclass
class Server:
    """A running app."""

    url: str
    root: Path  # of its runs
    process: subprocess.Popen

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def serve(
    root: Path, folder: Path = ROOT, port: int = 0, project: Path = ROOT, **environment: str
) -> Server:
    """Start the app over a runs root, from a working folder, and wait until it answers.

    port: 0 is any free one. project: the checkout whose app it is.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "streamlit", "run", str(project / "app" / "main.py"),
        "--server.port", str(port), "--server.address", "127.0.0.1",
    ]  # fmt: skip
    log = open(root.parent / f"{root.name}.log", "ab")  # noqa: SIM115 - the process writes it
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=log,
        stderr=log,
        env=os.environ | {"MIXNN_RUNS": str(root)} | environment,
    )
    server = Server(f"http://127.0.0.1:{port}", root, process)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=2) as answer:
                if answer.read() == b"ok":
                    return server
        except OSError:
            assert process.poll() is None, Path(log.name).read_text()
            time.sleep(0.1)
    server.stop()
    raise AssertionError(Path(log.name).read_text())


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A browser; pages of one context share cookies, contexts are different visitors."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def finished_folder(tmp_path_factory) -> Path:
    """The folder of `finished_run`, to be copied; trained once for all processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    root.mkdir(exist_ok=True)
    with FileLock(root / "lock"):
        if not (root / "made").exists():
            finished_run(root)
            (root / "made").touch()
    return root / "finished"


@pytest.fixture(scope="session")
def server(tmp_path_factory, chromium, finished_folder) -> Iterator[Server]:
    """The app, started from another folder, over a root that holds the run "finished"."""
    root = tmp_path_factory.mktemp("server") / "runs"
    shutil.copytree(finished_folder, root / "finished")
    server = serve(root, folder=root, MIXNN_SLOTS="2", MIXNN_PASSCODE=PASSCODE)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def open_server(tmp_path_factory, chromium) -> Iterator[Server]:
    """The app without a passcode: anyone decides on a run without an owner."""
    root = tmp_path_factory.mktemp("open") / "runs"
    root.mkdir()
    server = serve(root)
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path, chromium) -> Iterator[Callable[..., Server]]:
    """own_server(port, **environment): the app over an empty root, or again over the same."""
    root = tmp_path / "runs"
    root.mkdir()
    servers = []

    def start(port: int = 0, **environment: str) -> Server:
        servers.append(serve(root, port=port, **environment))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def finished_run(root: Path) -> None:
    """A small finished run on real digits, of which every epoch's network is kept."""
    config = configure(dataset="digits", limit=500, epochs=12, warmup=2, correction_start=3, seed=1)
    runner = Runner.new(config, root / "finished")
    runner.run()
    assert runner.status.state == "done", runner.status.error


@pytest.fixture
def visit(chromium, request):
    """visit("losses", run="x") opens a page, by itself Train, as a new visitor; errors in the
    browser fail the test.

    width, height, theme: of the window. on: another server than the shared one.
    """
    contexts, failures = [], []

    def open_page(
        page: str = "train",
        *,
        width=1280,
        height=720,
        theme="light",
        on: Server | None = None,
        **params: str,
    ):
        server = on or request.getfixturevalue("server")
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, accept_downloads=True
        )
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(PATIENCE)
        tab.on("pageerror", lambda error: failures.append(str(error)))
        go(tab, server, page, **params)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert not failures, failures


def go(tab, server: Server, page: str = "", **params: str) -> None:
    """Open a page by its address and wait until it is drawn."""
    query = "&".join(f"{name}={value}" for name, value in params.items())
    tab.goto(f"{server.url}/{page}" + (f"?{query}" if query else ""))
    settled(tab)


def settled(tab) -> None:
    """Wait until the app has answered, and see to it that nothing failed."""
    tab.wait_for_selector(".stApp [data-testid='stHeading']", state="visible")
    tab.wait_for_function(
        "document.querySelector('.stApp')?.getAttribute('data-test-script-state') !== 'running'"
    )
    assert tab.locator("[data-testid='stException']").count() == 0
    tab.wait_for_timeout(500)  # shortcuts work a moment after the page is drawn
