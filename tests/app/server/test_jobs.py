"""Uploads in turns: a harmful one ends with a message and delays no other."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from app.server.uploads import jobs, limits, paths, registry, turns
from app.server.uploads.safe_zip import UploadError
from app.server.uploads.turns import Job, Turns
from engine.data import load
from tests.app.conftest import wait_until
from tests.app.server.test_uploads import arrays, pets, zipped

ROOT = Path(__file__).resolve().parents[3]
# An upload whose name tells what its process does, once nothing but the limits is left.
HARMFUL = """
import json, os, signal, sys, time
from app.server.uploads import sandbox
from app.server.uploads.limits import Limits
request = json.loads(sys.argv[1])
do = request["name"].partition(".")[0]
say = lambda message: print(json.dumps(message), flush=True)
if do == "mine":
    sandbox.main(request, say)
    sys.exit()
sandbox.confine(Limits(**request["limits"]))
say({"done": ["Harmful", os.getpid(), 9]})
if do == "grow":
    hoard = [bytearray(1 << 24) for _ in range(10_000)]
elif do == "spin":
    while True:
        pass
elif do == "sleep":
    time.sleep(600)
elif do == "die":
    os.kill(os.getpid(), signal.SIGKILL)
elif do == "talk":
    while True:
        sys.stdout.write("x" * 65_536)
elif do == "fall":
    raise RuntimeError("an unexpected error")
"""


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(jobs, "COMMAND", [sys.executable, "-c", HARMFUL])
    monkeypatch.setattr(jobs, "TURN", 0.2)
    monkeypatch.setenv("MIXNN_UPLOAD_MEMORY_MB", "200")
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def file(name: str) -> io.BytesIO:
    return io.BytesIO(name.encode())


@contextlib.contextmanager
def begun(root: Path, *names: str, visitor: str = ""):
    """Uploads under way, each in its thread; they are canceled at the end."""
    threads = [
        registry.UploadThread(file(name + str(i)), f"{name}.zip", root, visitor)
        for i, name in enumerate(names)
    ]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.job.cancelled.set()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


def works(thread: registry.UploadThread) -> bool:
    return thread.job.what == "Harmful"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("grow", "more memory than the 200 MB allowed"),
        ("spin", "longer than the 1 seconds allowed"),
        ("sleep", "longer than the 1 seconds allowed"),
        ("die", "more memory than"),
        ("talk", "endless messages"),
        ("fall", "the reason is in the server's log"),
    ],
)
def test_every_harmful_process_ends_with_a_message(root, monkeypatch, name, reason):
    monkeypatch.setenv("MIXNN_UPLOAD_SECONDS", "1" if "seconds" in reason else "100")
    start = time.monotonic()
    with pytest.raises(UploadError, match=reason):
        registry.receive(file(name), f"{name}.zip", root)
    assert time.monotonic() - start < 60
    assert list((root / paths.FOLDER).iterdir()) == []


def test_cpu_seconds_are_also_limited_by_the_system():
    code = (
        "from app.server.uploads.limits import Limits\n"
        "from app.server.uploads.sandbox import confine\n"
        "confine(Limits(seconds=1))\nwhile True: pass"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60)
    assert ended.returncode == -signal.SIGXCPU


def test_a_harmful_upload_does_not_delay_others(root):
    """More of them than places, and none that ends by itself."""
    with begun(root, "spin", "sleep", "spin", "spin") as harmful:
        wait_until(lambda: sum(map(works, harmful)) >= 2)
        for content in (arrays(), zipped(pets())):
            start = time.monotonic()
            about = registry.receive(content, "mine.zip", root)
            assert time.monotonic() - start < 20
            assert registry.find(about.key, root) == about
        assert all(thread.is_alive() for thread in harmful)
    assert len(list((root / paths.FOLDER).iterdir())) == 2


def test_cancel_ends_the_process_and_removes_all_files(root):
    with begun(root, "spin") as (thread,):
        wait_until(lambda: works(thread))
        pid = thread.job.done
        assert alive(pid)
        thread.job.cancelled.set()
        thread.join(10)
        assert "was canceled" in thread.refusal
        assert not alive(pid)
        assert list((root / paths.FOLDER).iterdir()) == []


def test_a_waiting_upload_shows_how_many_are_ahead(root, monkeypatch):
    monkeypatch.setattr(jobs, "TURN", 600)
    with begun(root, "sleep", "sleep", "sleep", "sleep") as all_four:
        wait_until(lambda: sorted(b.job.before for b in all_four) == [0, 0, 1, 2])
        wait_until(lambda: any(map(works, all_four)))
        last = max(all_four, key=lambda b: b.job.before)
        next(b for b in all_four if works(b)).job.cancelled.set()
        wait_until(lambda: last.job.before == 1)


def test_uploads_beyond_the_longest_line_are_refused():
    line = Turns(1, most=2)
    inside, jobs_inside = threading.Event(), [Job(), Job()]

    def stay(job: Job) -> None:
        with contextlib.suppress(UploadError), line.place(job):
            inside.wait(20)

    threads = [threading.Thread(target=stay, args=(job,)) for job in jobs_inside]
    for thread in threads:
        thread.start()
    wait_until(lambda: sorted(job.before for job in jobs_inside) == [0, 1])
    with pytest.raises(UploadError, match="2 other uploads"), line.place(Job()):
        pass
    inside.set()
    for thread in threads:
        thread.join()
    with line.place(Job()):
        pass


def started(root: Path) -> set[int]:
    """Processes of this server's uploads, stopped ones included."""
    pids = set()
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends just now
            if str(root) in " ".join(process.cmdline()):
                pids.add(process.pid)
    return pids


def test_an_upload_whose_page_was_closed_is_canceled(root, monkeypatch):
    """Working or waiting; not one whose page polls, nor one without a page."""
    monkeypatch.setattr(turns, "ABANDONED_AFTER", 1.0)
    monkeypatch.setattr(jobs, "TURN", 600)
    with begun(root, "sleep", "sleep", "sleep", "sleep", "sleep") as threads:
        wait_until(lambda: sum(map(works, threads)) == 2)
        working = [b for b in threads if works(b)]
        waiting = [b for b in threads if not works(b)]
        left, kept = [working[0], waiting[0]], [working[1], waiting[1], waiting[2]]
        for thread in [*left, waiting[1]]:
            thread.job.touch()

        def canceled() -> bool:
            waiting[1].job.touch()
            return not any(thread.is_alive() for thread in left)

        wait_until(canceled, seconds=10)
        assert all("page was closed or left" in thread.refusal for thread in left)
        assert not alive(left[0].job.done)
        assert all(thread.is_alive() for thread in kept)


def test_a_visitor_has_at_most_two_uploads_in_line(root):
    with begun(root, "sleep", "sleep", visitor="a") as (first, _):
        wait_until(lambda: len(started(root)) == 2)
        third = registry.UploadThread(arrays(), "mine.npz", root, "a")
        third.run()
        assert "2 other uploads of yours are being unpacked" in third.refusal
        other = registry.UploadThread(arrays(), "mine.npz", root, "b")
        other.run()
        assert other.upload is not None
        first.job.cancelled.set()
        first.join(10)
        again = registry.UploadThread(zipped(pets()), "mine.zip", root, "a")
        again.run()
        assert again.upload is not None


def test_stopped_processes_are_few_and_do_not_delay_others(root):
    """Each keeps its memory: the one that worked longest is ended for a new one."""
    counts, normal = [], registry.UploadThread(zipped(pets()), "mine.zip", root)
    with begun(root, *["spin"] * 8) as harmful:
        # each had a turn, four processes at a time
        wait_until(lambda: counts.append(len(started(root))) or all(b.job.spent for b in harmful))
        normal.start()
        wait_until(lambda: counts.append(len(started(root))) or not normal.is_alive())
        assert normal.upload is not None, normal.refusal
        assert max(counts) == 4 == turns.STARTED
        assert all(thread.is_alive() for thread in harmful)


def test_one_that_was_ended_for_others_starts_over_until_it_is_done(root, monkeypatch):
    monkeypatch.setattr(jobs, "TURN", 0.05)  # less than a process needs to start
    ends, end = [], jobs._Process.end
    monkeypatch.setattr(jobs._Process, "end", lambda self: ends.append(self) or end(self))
    contents = [arrays(train_labels=np.arange(6) % n) for n in (2, 3)]
    contents += [zipped(pets(prefix)) for prefix in ("", "a/", "b/", "c/")]
    threads = [registry.UploadThread(content, "mine.zip", root) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [thread.refusal for thread in threads] == [""] * len(threads)
    assert len(ends) > len(threads)
    for thread in threads:
        assert len(load(thread.upload.dataset).labels) > 0


def test_memory_of_all_processes_fits_into_half_of_the_free_memory(monkeypatch):
    monkeypatch.setattr(limits, "free_memory", lambda: 4 << 30)
    assert limits.Limits.from_environment().memory * turns.STARTED <= 2 << 30


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
@pytest.mark.parametrize("stopped", [False, True])
def test_a_killed_server_leaves_no_process_and_no_folder(root, monkeypatch, stopped):
    code = (
        "import io, sys; from pathlib import Path; from app.server.uploads import jobs, registry\n"
        f"jobs.COMMAND = [sys.executable, '-c', {HARMFUL!r}]\n"
        "b = registry.UploadThread(io.BytesIO(b'x'), 'sleep.zip', Path(sys.argv[1])); b.start()\n"
        "while b.job.what != 'Harmful': pass\n"
        "print(b.job.done, flush=True); b.join()"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    pid = int(server.stdout.readline())
    (left,) = (root / paths.FOLDER).iterdir()
    monkeypatch.setattr(registry, "FRESH", 0)
    assert registry.clean(root) == 0  # its server works on it
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    server.kill()
    server.wait()
    server.stdout.close()
    wait_until(lambda: not alive(pid), seconds=10)
    assert left.exists()
    assert registry.clean(root) == 1
    assert not left.exists()


def test_the_process_sees_no_secret_and_no_program(root, monkeypatch):
    monkeypatch.setenv("MIXNN_PASSCODE", "4711")
    code = "import json, os; print(json.dumps({'refused': repr(sorted(os.environ.items()))}))"
    monkeypatch.setattr(jobs, "COMMAND", [sys.executable, "-c", code])
    with pytest.raises(UploadError) as caught:
        registry.receive(file("x"), "x.zip", root)
    assert "4711" not in str(caught.value)
    assert "('PATH', '')" in str(caught.value)
