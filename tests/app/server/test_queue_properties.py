"""Invariants of the queue under any sequence of visitors' actions and restarts."""

import itertools
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.server import runners
from app.server.queue_thread import QueueThread
from app.server.run_manager import RunManager, RunsError, Visitor
from engine.runs.runner import RunStatus
from tests.conftest import quick_digits

VISITORS = [Visitor("ann"), Visitor("bob"), Visitor("cat")]
CONFIG = quick_digits()


class FakeRunner:
    """Replaces a training thread: follows every command at once, and ends on `end`."""

    def __init__(self, folder: Path):
        self.folder, self.config = folder, CONFIG
        self.state, self.ready, self.starts = "queued", False, 0

    def start(self, niceness, courtesy):
        self.starts += 1
        self.state, self.ready = "running", True
        (self.folder / "config.json").write_text("{}")

    def pause(self):
        self.state = "paused" if self.state == "running" else self.state

    def go_on(self):
        self.state = "running" if self.state == "paused" else self.state

    def stop(self, reason=""):
        self.state = "stopped"

    @property
    def status(self):
        return RunStatus(self.state, 0, 6, "", 0, 0, None, "", "", True)


class Queue(RuleBasedStateMachine):
    """The manager without its thread, compared with a list of the expected runs."""

    @initialize(slots=st.integers(1, 3))
    def begin(self, slots):
        self.root = Path(tempfile.mkdtemp())
        self.slots, self.now = slots, 0.0
        self.numbers = itertools.count()  # names of deleted runs are not used again
        self.waiting: dict[str, str] = {}  # name -> owner, in order of arrival
        self.begun: set[str] = set()
        self.pinned: set[str] = set()
        self.patches = [
            mock.patch.object(runners, "make_runner", self.make_runner),
            mock.patch.object(QueueThread, "start", lambda thread: thread._take()),
        ]
        for patch in self.patches:
            patch.start()
        self.open()

    def make_runner(self, root, request):
        if "name" not in request:
            request["name"] = f"run-{next(self.numbers)}"
            (root / request["name"]).mkdir()
        return FakeRunner(root / request["name"])

    def open(self):
        self.runs = RunManager(
            self.root, slots=self.slots, per_visitor=4, reap_after=1e9, clock=lambda: self.now
        )

    def teardown(self):
        if hasattr(self, "runs"):
            self.runs.close(0)
            self.runs.storage.close()
            for patch in self.patches:
                patch.stop()
            shutil.rmtree(self.root)

    @rule(who=st.sampled_from(VISITORS), pinned=st.booleans())
    def submit(self, who, pinned):
        live = Counter(run.owner for run in self.runs.active())
        try:
            name = self.runs.submit(CONFIG, visitor=who, pinned=pinned)
        except RunsError:
            assert live[who.id] >= 4
            return
        assert live[who.id] < 4
        self.waiting[name] = who.id
        if pinned:
            self.pinned.add(name)

    @rule(seconds=st.sampled_from([0.2, 30.0, 61.0]))
    def round(self, seconds):
        self.now += seconds
        before = [run.name for run in self.runs.active() if run.state == "queued"]
        self.runs.thread.round()
        started = [n for n in self.waiting if self.job(n).started]
        assert started == [] or set(started) <= set(before)
        taken = [name for name in before if self.runs.info(name).state == "running"]
        assert taken == before[: len(taken)]  # in turn, no one overtakes
        for name in started:
            self.begun.add(name)
            del self.waiting[name]

    @precondition(lambda self: self.runs.active())
    @rule(data=st.data(), action=st.sampled_from(["pause", "go_on", "stop", "pin", "unpin", "end"]))
    def act(self, data, action):
        run = data.draw(st.sampled_from(self.runs.active()))
        name, owner = run.name, Visitor(run.owner)
        if action in ("pin", "unpin"):
            self.runs.pin(name, owner, action == "pin")
            (self.pinned.add if action == "pin" else self.pinned.discard)(name)
        elif action == "end":
            if self.job(name).started:
                self.job(name).runner.state = "done"
        elif action == "stop" or name in self.begun:
            has_trained = (self.root / name / "config.json").exists()
            getattr(self.runs, action)(name, owner)
            if action == "stop" and self.waiting.pop(name, None):
                self.pinned.discard(name)
                assert (self.root / name).exists() == has_trained
                if has_trained:
                    self.begun.add(name)

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def resume(self, data):
        name = data.draw(st.sampled_from(sorted(self.begun)))
        owner = self.runs.access.owner(name)
        full = sum(run.owner == owner for run in self.runs.active()) >= 4
        live = name in self.runs._queue.jobs and self.job(name).live
        try:
            self.runs.resume(name, Visitor(owner))
        except RunsError:
            assert full or live
            return
        assert not full
        assert not live
        self.begun.remove(name)
        self.waiting[name] = owner
        self.pinned.discard(name) if not self.runs.info(name).pinned else self.pinned.add(name)

    @rule(orderly=st.booleans())
    def restart(self, orderly):
        if orderly:
            self.runs.close(0)
        self.runs.thread.close()
        self.runs.lease.release()
        self.runs.storage.close()
        self.open()
        assert self.runs.trains_here
        assert not self.runs.problems

    def job(self, name):
        return self.runs._queue.jobs[name]

    @invariant()
    def no_run_is_lost_and_none_is_twice(self):
        if not hasattr(self, "runs"):
            return
        active = self.runs.active()
        names = [run.name for run in active]
        assert len(names) == len(set(names))
        unstarted = [n for n, job in self.runs._queue.jobs.items() if not job.started]
        assert unstarted == list(self.waiting)  # all of them, in order of arrival
        assert {run.name: run.owner for run in active if run.name in self.waiting} == self.waiting
        assert {n for n in self.waiting if self.job(n).pinned} == self.pinned & set(self.waiting)
        assert [r["name"] for r in self.runs.storage.queue() if r["name"] in self.waiting] == list(
            self.waiting
        )
        assert all((self.root / name).is_dir() for name in {*self.waiting, *self.begun})

    @invariant()
    def slots_are_never_exceeded_and_no_runner_starts_twice(self):
        if not hasattr(self, "runs"):
            return
        jobs = self.runs._queue.jobs.values()
        assert sum(job.has_slot for job in jobs) <= self.slots
        assert sum(job.runner.state == "running" for job in jobs) <= self.slots
        assert all(job.runner.starts <= 1 for job in jobs)

    @invariant()
    def owners_take_turns(self):
        """Of those that wait, no owner's second run comes before another owner's first."""
        if not hasattr(self, "runs"):
            return
        ahead = Counter(job.owner for job in self.runs._queue.jobs.values() if job.has_slot)
        last = 0
        for run in self.runs.active():
            if run.state == "queued":
                assert ahead[run.owner] >= last
                last = ahead[run.owner]
                ahead[run.owner] += 1


Queue.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestQueue = Queue.TestCase
