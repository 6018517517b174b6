"""Shutdown of a server with browsers: in time, its run stopped, its queue stored."""

import asyncio
import signal
import time

import pytest

from app.server import shutdown
from app.server.run_manager import runs
from app.server.storage import storage_of
from engine.files import write_json
from engine.runs.folder import RunFolder
from tests.app.conftest import n_epochs
from tests.browser.conftest import serve
from tests.conftest import quick_digits, slow


def test_outside_a_server_nothing_changes(root):
    before = signal.getsignal(signal.SIGTERM)
    runs()
    assert shutdown._thread is None
    assert signal.getsignal(signal.SIGTERM) is before


async def _visit(server, root, n: int) -> list:
    """Visitors who have the page of a run that trains, and then read nothing any more."""
    viewers = pytest.importorskip("tests.benchmarks.viewers")
    come = await viewers.crowd(server.url, n)
    deadline = time.monotonic() + 60
    while not any(p.exists() and n_epochs(p.parent) > 1 for p in root.glob("*/epochs.jsonl")):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    for viewer in come:
        viewer._stop_timers()
        viewer._reader.cancel()
    return come


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=slow)])
def test_a_server_with_browsers_ends_in_time_and_leaves_its_runs_resumable(tmp_path, number):
    root = tmp_path / "runs"
    root.mkdir()
    config = quick_digits(epochs=5000).model_dump(mode="json")
    request = {"kind": "new", "config": config, "visitor": "ann", "pinned": True}
    write_json(root / ".queue.json", [request] * 2)
    server = serve(root)
    try:

        async def told_to_end() -> float:
            viewers = await _visit(server, root, 8)
            begun = time.monotonic()
            for _ in range(3):  # an impatient one
                server.process.send_signal(number)
                await asyncio.sleep(0.02)
            await asyncio.to_thread(server.process.wait, 20)
            assert len(viewers) == 8
            return time.monotonic() - begun

        assert asyncio.run(told_to_end()) < 10
    finally:
        server.process.kill()
    assert server.process.returncode == 0
    (run,) = [RunFolder(path.parent) for path in root.glob("*/config.json")]
    assert run.status["state"] == "stopped"
    assert "because the server was shut down: it can be resumed" in run.status["message"]
    assert len(storage_of(root).queue()) == 1
    assert "Traceback" not in (tmp_path / "runs.log").read_text()
