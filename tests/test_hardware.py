"""Settings of the process and of threads: set for training, and put back."""

import logging
import threading

import pytest
import torch

from engine import hardware
from engine.hardware import COMPILED_SHAPES, session, threads

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture
def limits(monkeypatch):
    """The limits that the C library gets, in order."""
    calls = []
    monkeypatch.setattr(hardware, "_set_memory_limits", lambda *both: calls.append(both))
    return calls


def test_the_last_session_puts_back_and_no_other_does(limits):
    before = torch.backends.cudnn.deterministic
    inside, leave = threading.Event(), threading.Event()

    def other():
        with session(CUDA), session(CPU):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with session(CUDA), session(CPU):
        thread.start()
        assert inside.wait(10)
    assert torch.backends.cudnn.deterministic, "the other one still trains"
    assert limits == [(2**30, 2**31 - 1)]
    leave.set()
    thread.join()
    assert torch.backends.cudnn.deterministic == before
    assert limits[1:] == [(2**25, 2**26)]


def test_without_determinism_the_fastest_algorithms_are_measured():
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    with session(CUDA, deterministic=False):
        assert (cudnn.deterministic, cudnn.benchmark) == (before[0], True)
        with session(CUDA):
            assert cudnn.deterministic
    assert (cudnn.deterministic, cudnn.benchmark) == before


def test_a_session_that_fails_puts_back():
    before = torch.backends.cudnn.deterministic
    with pytest.raises(ZeroDivisionError), session(CUDA):
        raise ZeroDivisionError
    assert torch.backends.cudnn.deterministic == before


def test_limits_of_the_compiler_hold_inside_a_session_only():
    logger, dynamo = logging.getLogger("torch.utils.cpp_extension"), torch._dynamo.config
    before = logger.level, dynamo.recompile_limit
    with session(CPU, "default"):
        assert dynamo.recompile_limit == max(COMPILED_SHAPES, before[1])
        assert logger.level == logging.ERROR
    assert (logger.level, dynamo.recompile_limit) == before


def test_a_new_thread_does_not_inherit_the_threads_of_a_run():
    counts, outside = [], torch.get_num_threads()
    with threads(outside + 1):
        thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        counts.append(torch.get_num_threads())
    assert counts == [outside, outside + 1]
    assert torch.get_num_threads() == outside
