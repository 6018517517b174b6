"""A lack of memory is said in one sentence, by a run, a command, a sweep and the mapper."""

import errno
import json
import resource
import subprocess
import sys
import threading
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.__main__ import main
from engine.embedding import worker
from engine.embedding.worker import EmbeddingWorker, Service
from engine.errors import MemoryShortage, as_shortage
from engine.runs import executors
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.conftest import quick

ROOT = Path(__file__).resolve().parents[1]


def raised(call) -> Exception:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        call()
    return caught.value


def test_what_libraries_really_raise_is_known():
    for call in (lambda: np.empty(2**55, np.uint8), lambda: torch.empty(2**55, dtype=torch.uint8)):
        message = str(as_shortage(raised(call)))
        assert message.startswith("not enough memory: 36,028,797,0")  # MB
        assert " MB more were needed: use fewer samples" in message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory: use fewer samples (limit)"),
        (RuntimeError("can't start new thread"), "not enough memory for another thread"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "thread or process"),
        (BrokenProcessPool("a child process terminated abruptly"), "not enough memory"),
        (ImportError("x.so: failed to map segment from shared object"), "not enough memory"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
            "not enough memory on the GPU: 2,147.5 MB more were needed",
        ),
    ],
)
def test_each_kind_is_known(error, words):
    assert words in str(as_shortage(error))


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), OSError(errno.ENOSPC, "No space"), ValueError("x")]
)
def test_nothing_else_is_taken_for_it(error):
    assert as_shortage(error) is None


def test_a_run_without_memory_fails_with_advice_and_lets_go_of_what_it_held(
    tmp_path, data, monkeypatch
):
    held = []

    class Held:
        def __del__(self):
            held.append("gone")

    def greedy(*_, **__):
        big = Held()  # noqa: F841 - what the frame of an exception would keep alive
        raise MemoryError

    monkeypatch.setattr("engine.training.train.train", greedy)
    runner = Runner.new(quick(), tmp_path / "run", data=data)
    runner.run()
    status = runner.status
    assert (status.state, status.foreseen, held) == ("failed", True, ["gone"])
    assert status.message.startswith("not enough memory: use fewer samples")
    assert RunFolder(runner.folder).status["message"] == status.message
    monkeypatch.undo()
    again = Runner.resume(runner.folder, data=data)
    again.run()
    assert again.status.state == "done"


class NoThread(threading.Thread):
    def start(self):
        raise RuntimeError("can't start new thread")


def test_a_run_that_gets_no_thread_fails_and_raises_nothing(tmp_path, data, monkeypatch):
    runner = Runner.new(quick(), tmp_path / "run", data=data)
    monkeypatch.setattr("engine.runs.runner.threading.Thread", NoThread)
    assert runner.start().join(1)
    assert runner.status.state == "failed"
    assert "for another thread" in runner.status.message


def test_without_a_thread_that_writes_training_waits_for_the_disk(tmp_path, data, monkeypatch):
    monkeypatch.setattr("engine.runs.write_behind.threading.Thread", NoThread)
    runner = Runner.new(quick(), tmp_path / "run", data=data)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    assert len(RunFolder(runner.folder).epochs) == 5


LIMITED = """
import resource, sys
from engine.__main__ import main
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
def test_a_command_with_little_address_space_ends_with_a_sentence(tmp_path):
    """And the process is not aborted, as by a ResNet-18 that gets no memory."""
    command = [
        sys.executable, "-c", LIMITED, "60", "train", "--limit", "200", "--epochs", "400",
        "--network", "resnet18", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "error: not enough memory" in ended.stderr
    assert "(ulimit -v): use fewer samples" in ended.stderr


def test_a_command_says_so_whatever_raised_it(monkeypatch, capsys):
    def greedy(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr("engine.cli.console.print_table", greedy)
    assert main(["datasets"]) == 1
    assert "error: not enough memory on the GPU: 21.0 MB" in capsys.readouterr().err


def test_a_sweeps_run_reports_it(tmp_path, monkeypatch):
    (tmp_path / executors.CLAIMS).mkdir()

    def greedy(*_):
        raise MemoryError

    monkeypatch.setattr(executors, "_run", greedy)
    assert executors._work(quick(), tmp_path / "run", 1, [], lambda: False).startswith(
        "not enough memory"
    )


def test_a_mapper_that_cannot_be_started_says_why(monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("engine.embedding.worker.subprocess.Popen", refused)
    embedder = EmbeddingWorker()
    embedder.request("x")
    state, why = embedder.state("x")
    assert state == "failed"
    assert "cannot be started: not enough memory" in why
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "/bin/true")
    embedder.request("x", again=True)
    assert "cannot be started" not in embedder.state("x")[1]
    embedder.close()


def test_a_map_that_does_not_fit_is_a_failure_of_its_own(monkeypatch):
    def greedy(*_):
        raise MemoryError

    monkeypatch.setattr(worker, "embed_next_epoch", greedy)
    messages = []
    service = Service(messages.append)
    service.request(json.dumps({"run": "a", "dims": 2}))
    assert not service.step()
    assert messages[0]["error"].startswith("not enough memory")


def test_a_shortage_names_a_limit_set_by_hand(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4 * 10**9, 4 * 10**9))
    assert "may use 4,000 MB in all (ulimit -v)" in str(as_shortage(MemoryError()))
    assert as_shortage(MemoryShortage("as it is")).args == ("as it is",)
