"""A server with little processor: what it may use is limited, and what it uses is read."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PERIOD = 0.1  # seconds
GROUPS = [  # folder of control groups, file of the limit, its words for a quota and a period in us
    (Path("/sys/fs/cgroup"), "cpu.max", "{quota} {period}"),
    (Path("/sys/fs/cgroup/cpu"), "cpu.cfs_quota_us", "{quota}"),
]


@contextmanager
def limited(pid: int, cores: float | None) -> Iterator[str]:
    """Let a process and those it starts use so many cores; None: all. Gives how it is done.

    By a control group where this user may make one; else by stopping the process for part of each
    tenth of a second.
    """
    if cores is None:
        yield "no limit"
        return
    for root, limit, words in GROUPS:
        group = root / f"mixnn-{pid}"
        if _grouped(group, limit, words, pid, cores):
            try:
                yield f"control group, {limit}"
            finally:
                for entry in (group / "cgroup.procs").read_text().split():
                    with suppress(OSError):  # it has ended
                        (root / "cgroup.procs").write_text(entry)
                group.rmdir()
            return
    ended = threading.Event()
    thread = threading.Thread(target=_duty, args=(pid, cores, ended), daemon=True)
    thread.start()
    try:
        yield "SIGSTOP and SIGCONT"
    finally:
        ended.set()
        thread.join()
        os.kill(pid, signal.SIGCONT)


def _grouped(group: Path, limit: str, words: str, pid: int, cores: float) -> bool:
    """Put a process into a control group of its own; whether that was allowed."""
    try:
        group.mkdir()
    except OSError:
        return False
    try:
        if not (group / limit).exists():  # a plain folder
            raise FileNotFoundError
        quota, period = int(cores * PERIOD * 1e6), int(PERIOD * 1e6)
        (group / limit).write_text(words.format(quota=quota, period=period))
        for process in [psutil.Process(pid), *psutil.Process(pid).children(True)]:
            (group / "cgroup.procs").write_text(str(process.pid))
    except OSError:
        group.rmdir()
        return False
    return True


def _duty(pid: int, cores: float, ended: threading.Event) -> None:
    """Let a process run until it has used its part of a period, then stop it to the end of it."""
    process = psutil.Process(pid)
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        allowed = sum(process.cpu_times()[:2])
        while not ended.wait(PERIOD / 5):
            allowed = min(allowed + cores * PERIOD / 5, sum(process.cpu_times()[:2]) + PERIOD)
            over = sum(process.cpu_times()[:2]) > allowed
            os.kill(pid, signal.SIGSTOP if over else signal.SIGCONT)


def usage(pid: int) -> dict[str, float]:
    """Memory (MB), threads, open files and processes of a server now, and its CPU seconds."""
    process = psutil.Process(pid)
    return {
        "rss_mb": process.memory_info().rss / 1e6,
        "threads": process.num_threads(),
        "files": process.num_fds(),
        "processes": 1 + len(process.children(True)),
        "cpu_seconds": sum(process.cpu_times()[:2]),
    }
