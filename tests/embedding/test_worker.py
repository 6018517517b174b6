"""The maps of a run, epoch by epoch, and the process that computes them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine.__main__ import main
from engine.embedding import projection, worker
from engine.embedding.maps import embed_next_epoch, embedded_epochs, map_file, read_map
from engine.embedding.worker import EmbeddingWorker, Service
from engine.errors import StoreError
from engine.runs.runner import Runner
from tests.conftest import blobs, quick

EPOCHS = 3


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mapped") / "run"
    Runner.new(quick(epochs=EPOCHS), folder, data=blobs(40)).run()
    return folder


@pytest.fixture
def run(template, tmp_path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "runs" / "a"))


@pytest.fixture
def calls(monkeypatch) -> list:
    """Replaces UMAP by maps that contain the number of the call; returns the previous maps."""
    before = []

    def embed(features, dims=2, previous=None):
        before.append(previous)
        return np.full((len(features), dims), len(before), np.float32)

    monkeypatch.setattr(projection, "umap", embed)
    return before


def embed_all(folder: Path, dims: int = 2) -> list[int]:
    epochs = []
    while (epoch := embed_next_epoch(folder, dims)) is not None:
        epochs.append(epoch)
    return epochs


def test_epochs_are_embedded_in_order_each_from_the_one_before(run, calls):
    assert embed_all(run) == [0, 1, 2] == embedded_epochs(run, 2)
    assert calls[0] is None
    for epoch in (1, 2):
        assert np.array_equal(calls[epoch], read_map(run, 2, epoch - 1))
    assert embedded_epochs(run, 3) == []
    assert read_map(run, 3, 0) is None


def test_the_maps_of_a_killed_process_are_continued(run, calls):
    embed_next_epoch(run, 2)
    map_file(run, 2, 1).with_suffix(".99.tmp").write_bytes(b"half a m")
    assert embedded_epochs(run, 2) == [0]
    assert embed_all(run) == [1, 2]
    assert np.array_equal(calls[1], read_map(run, 2, 0))


def test_a_fork_starts_from_its_parents_map(run, calls):
    embed_all(run)
    fork = run.parent / "b"
    Runner.fork(run, 1, fork, epochs=4, k=2, data=blobs(40)).run()
    assert embed_all(fork) == [2, 3]
    assert np.array_equal(calls[3], read_map(run, 2, 1))
    # both moved to another place together
    moved = run.parent.parent / "moved"
    run.parent.rename(moved)
    shutil.rmtree(moved / "b" / "maps")
    calls.clear()
    embed_next_epoch(moved / "b", 2)
    assert np.array_equal(calls[0], read_map(moved / "a", 2, 1))


def test_a_parent_without_maps_or_with_another_panel_is_ignored(run, calls):
    fork = run.parent / "b"
    Runner.fork(run, 1, fork, epochs=4, k=2, data=blobs(40)).run()
    embed_next_epoch(fork, 2)
    shutil.rmtree(fork / "maps")
    other = map_file(run, 2, 1)
    other.parent.mkdir(parents=True)
    np.save(other, np.zeros((7, 2)))
    embed_next_epoch(fork, 2)
    assert calls == [None, None]


def test_a_deleted_run_is_not_created_again(run, monkeypatch):
    def embed(features, dims=2, previous=None):
        shutil.rmtree(run)  # while it computes
        return np.zeros((len(features), dims))

    monkeypatch.setattr(projection, "umap", embed)
    with pytest.raises(StoreError, match="cannot be written"):
        embed_next_epoch(run, 2)
    assert not run.exists()


def test_the_newest_request_is_served_first_and_all_in_the_end(run, calls):
    other = Path(shutil.copytree(run, run.parent / "other"))
    messages = []
    service = Service(messages.append)
    for folder in (run, other):
        service.request(f'{{"run": "{folder}", "dims": 2}}')
    while service.step():
        pass
    assert [Path(words["run"]).name for words in messages] == ["other"] * EPOCHS + ["a"] * EPOCHS
    assert embedded_epochs(run, 2) == embedded_epochs(other, 2) == [0, 1, 2]


def test_a_failure_is_reported_and_other_requests_are_served(run, calls):
    messages = []
    service = Service(messages.append)
    service.request(f'{{"run": "{run}", "dims": 2}}')
    service.request('{"run": "/nowhere", "dims": 3}')
    assert service.step()
    assert messages[0]["run"] == "/nowhere"
    assert "no run folder" in messages[0]["error"]
    assert messages[1] == {"run": str(run), "dims": 2, "epoch": 0}


def test_a_run_that_is_no_longer_requested_is_dropped(run, calls, monkeypatch):
    service = Service(lambda words: None)
    service.request(f'{{"run": "{run}", "dims": 2}}')
    monkeypatch.setattr(worker, "FORGET", 0.0)
    while service.step():
        pass
    assert not service._requests


def test_only_2_and_3_dimensions():
    with pytest.raises(ValueError, match="dims = 4: allowed are 2, 3"):
        EmbeddingWorker().request("x", 4)


def test_a_process_that_cannot_live_is_not_started_forever(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    failing = EmbeddingWorker()
    for _ in range(10):
        failing.request("x")
        wait_until(lambda: failing.state("x")[0] == "failed")
    assert failing._starts == worker.STARTS
    assert "ended" in failing.state("x")[1]
    failing.request("x", again=True)
    assert failing._starts == 1


def test_the_command_embeds_all_epochs(run, calls, capsys):
    assert main(["map", str(run), "--dims", "2", "3"]) == 0
    assert embedded_epochs(run, 2) == embedded_epochs(run, 3) == [0, 1, 2]
    assert "3 epochs" in capsys.readouterr().out
    assert main(["map", str(run / "nowhere")]) == 2


@pytest.mark.slow
def test_the_process_embeds_reports_failures_and_ends_with_its_parent(run):
    """One test for all that needs the real process, which compiles for seconds."""
    code = (
        "import sys, time; from engine.embedding.worker import EmbeddingWorker\n"
        "m = EmbeddingWorker();"
        f"m.request('/nowhere'); m.request({str(run)!r});"
        "print(m._process._popen.pid, flush=True)\n"
        "while m.state('/nowhere')[0] != 'failed': time.sleep(0.1)\n"
        "print(m.state('/nowhere')[1], flush=True); time.sleep(600)"
    )
    root = Path(worker.__file__).resolve().parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        child = int(parent.stdout.readline())
        assert os.getpriority(os.PRIO_PROCESS, child) >= 0
        wait_until(lambda: embedded_epochs(run, 2) == [0, 1, 2], 300)
        assert "no run folder" in parent.stdout.readline()
        assert read_map(run, 2, 2).shape == (40, 2)
        parent.send_signal(signal.SIGKILL)
        wait_until(lambda: not alive(child), 30)
    finally:
        parent.kill()
        parent.wait()


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except OSError:
        return False


def wait_until(true, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.05)
