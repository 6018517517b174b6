"""The runs of this server: who waits, who trains, who watches. One registry in the process."""

import contextlib
import json
import logging
import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from app import overview
from app.shutdown import at_shutdown
from engine.config import RunConfig
from engine.runner import Runner
from engine.store import Run, StoreError, fork_config, free_folder, read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
TICK = 0.2  # seconds between two looks at the queue
PATIENCE = 6.0  # seconds that runs have to end their batch when the server is shut down
NICENESS = 5  # of training threads, so that pages answer first
MOST_SHARED = 12  # shared runs queued or running at once
LIVE_STATES = ("queued", "running", "paused")


class RunsError(ValueError):
    """A wish that the registry refuses; the message says what is allowed."""


@dataclass(frozen=True)
class Visitor:
    """Who asks: one browser, and whether the passcode was given there."""

    id: str
    teacher: bool = False


EVERYONE = Visitor("everyone", teacher=True)  # whom shared runs belong to


@dataclass(frozen=True)
class Where:
    """Where a run stands; epochs and batches count from 0."""

    name: str
    state: str  # queued running paused done stopped failed interrupted broken
    epoch: int = 0  # the one under way; of an ended run the last one
    n_epochs: int = 0
    position: int = 0  # in the queue, 1 is next; 0: not queued
    stage: str = ""
    batch: int = 0
    n_batches: int = 0
    seconds_left: float | None = None
    message: str = ""
    owner: str = ""
    pinned: bool = False
    unwatched: float = 0.0  # seconds since somebody looked at it; only while active

    @property
    def active(self) -> bool:
        return self.state in LIVE_STATES


@dataclass
class _Job:
    """A run that this process has to do with; `wish` is all that a restart needs to queue it."""

    wish: dict[str, Any]
    runner: Runner
    watched: float
    started: bool = False
    note: str = ""  # why it was stopped by the registry

    @property
    def name(self) -> str:
        return self.wish["name"]

    @property
    def owner(self) -> str:
        return self.wish["visitor"]

    @property
    def unborn(self) -> bool:
        return not self.started or self.state in LIVE_STATES and not self.runner.ready

    @property
    def state(self) -> str:
        if not self.started:
            return "queued"
        state = self.runner.status.state
        return "running" if state == "queued" else state  # its thread has just been made


class Runs:
    """Queue, slots, limits and reaper over the run folders of one root.

    slots: runs that train at once. per_visitor: runs that one visitor may have queued or running.
    reap_after: seconds after which a run that nobody watches is stopped, unless pinned; it can be
    resumed. Every method may be called from any thread.
    """

    def __init__(
        self, root: Path | str, *, slots: int = 1, per_visitor: int = 3, reap_after: float = 1800.0
    ):
        self.root = Path(root)
        self.slots, self.per_visitor, self.reap_after = slots, per_visitor, reap_after
        self.problems: list[str] = []  # queued runs that a restart could not take up
        self._lock = threading.RLock()
        self._jobs: dict[str, _Job] = {}  # in the order of their coming
        self._saved: list[dict[str, Any]] | None = None  # what .queue.json holds
        self._closed = threading.Event()
        self.root.mkdir(parents=True, exist_ok=True)
        self._owners = self._read("owners.json", {})
        self._shared = self._read("shared.json", {})  # settings -> name, see `share`
        self._requeue()
        threading.Thread(target=self._watch, name="runs", daemon=True).start()

    @classmethod
    def from_environment(cls) -> "Runs":
        """MIXNN_RUNS (folder), MIXNN_SLOTS, MIXNN_PER_VISITOR, MIXNN_REAP_MINUTES."""
        return cls(
            os.environ.get("MIXNN_RUNS") or ROOT / "runs",
            slots=int(_number("MIXNN_SLOTS", 1)),
            per_visitor=int(_number("MIXNN_PER_VISITOR", 3)),
            reap_after=60 * _number("MIXNN_REAP_MINUTES", 30),
        )

    # --- what there is

    def folder(self, name: str) -> Path:
        """The folder of a run. Raises RunsError for a name that is no plain folder name."""
        if not name or name != Path(name).name or name.startswith("."):
            raise RunsError(f"run = {name!r}: allowed is the name of a folder in {self.root.name}/")
        return self.root / name

    def names(self) -> list[str]:
        """All runs, newest first; in front those that failed before they had a folder."""
        found = []
        with os.scandir(self.root) as entries:
            for entry in entries:
                if entry.is_dir() and not entry.name.startswith("."):
                    with contextlib.suppress(OSError):
                        found.append((entry.stat().st_ctime, entry.name))
                        config = os.stat(os.path.join(entry.path, "config.json"))
                        found[-1] = (config.st_mtime, entry.name)
                        continue
                    if overview.holds_runs(entry.path):  # a sweep
                        del found[-1]
        listed = {name for _, name in found}
        with self._lock:
            unborn = [name for name in self._jobs if name not in listed]
        return unborn[::-1] + [name for _, name in sorted(found, reverse=True)]

    def where(self, name: str) -> Where:
        """Where a run stands. Raises RunsError for a name that is not there."""
        folder = self.folder(name)
        with self._lock:
            job = self._jobs.get(name)
            if job is not None:
                return self._where_job(job)
            owner = self._owners.get(name, "")
        if not folder.is_dir():
            raise RunsError(f"run = {name!r} is not there: choose another one")
        try:
            run = Run(folder)
            status, records = run.status, run.epochs
            return Where(
                name, status["state"], records[-1]["epoch"] if records else 0, run.config.epochs,
                message=status["message"], owner=owner,
            )  # fmt: skip
        except (StoreError, KeyError, TypeError, AttributeError) as error:
            message = str(error) if isinstance(error, StoreError) else f"{name} is damaged"
            return Where(name, "broken", message=message, owner=owner)

    def active(self) -> list[Where]:
        """Runs that train, then those that wait, in their order."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.state in LIVE_STATES]
            return [self._where_job(job) for job in sorted(jobs, key=lambda job: not job.started)]

    def _where_job(self, job: _Job) -> Where:
        status = job.runner.status
        state = job.state
        waiting = [j.name for j in self._jobs.values() if not j.started]
        return Where(
            job.name, state, status.epoch, status.n_epochs,
            position=waiting.index(job.name) + 1 if job.name in waiting else 0,
            stage=status.stage, batch=status.batch, n_batches=status.n_batches,
            seconds_left=status.seconds_left,
            message=self._message(job), owner=job.owner, pinned=job.wish["pinned"],
            unwatched=time.monotonic() - job.watched if state in LIVE_STATES else 0.0,
        )  # fmt: skip

    @staticmethod
    def _message(job: _Job) -> str:
        status = job.runner.status
        if status.state == "failed" and not status.foreseen:
            return f"unexpected failure: {status.message}"
        return job.note or status.message

    # --- wishes

    def submit(self, config: RunConfig, *, visitor: Visitor, pinned: bool = False) -> str:
        """Queue a new run; returns its name. Raises RunsError at the visitor's limit."""
        return self._add("new", visitor, pinned, config=config.model_dump(mode="json"))

    def share(self, config: RunConfig) -> str:
        """The run of these settings that all visitors share; queued where it is not there yet.

        Thirty who ask at once get one run, which nobody but a teacher may steer. One that ended
        early goes on. Raises RunsError where too many shared runs wait.
        """
        with self._lock:
            found = self.shared(config)
            if found is not None and (found.active or found.state == "done"):
                return found.name
            n_active = sum(
                job.owner == EVERYONE.id and job.state in LIVE_STATES for job in self._jobs.values()
            )
            if n_active >= MOST_SHARED:
                raise RunsError(
                    f"{n_active} shared runs are queued or running: allowed are {MOST_SHARED} at "
                    "once; try again in a minute"
                )
            if found is not None and found.state in ("stopped", "interrupted"):
                self.resume(found.name, EVERYONE)
                return found.name
            name = self._add("new", EVERYONE, False, config=config.model_dump(mode="json"))
            self._shared[_key(config)] = name
            write_json(self.root / ".shared.json", self._shared)
            return name

    def shared(self, config: RunConfig) -> Where | None:
        """Where the run that `share` would give stands; None where it is not there."""
        with self._lock:
            name = self._shared.get(_key(config))
            try:
                found = None if name is None else self.where(name)
            except RunsError:  # deleted meanwhile
                return None
            gone = found and found.state == "done" and not self.folder(name).is_dir()
            return None if gone else found

    def fork(
        self, parent: str, epoch: int, *, visitor: Visitor, pinned: bool = False, **knobs: Any
    ) -> str:
        """Queue a fork of a run after an epoch, with other knobs; returns its name.

        Raises RunsError, ConfigError, or StoreError where that epoch's network is not kept.
        """
        self.folder(parent)
        return self._add("fork", visitor, pinned, parent=parent, epoch=epoch, knobs=knobs)

    def resume(self, name: str, visitor: Visitor) -> None:
        """Queue a run that ended early, to go on after its last epoch. Raises StoreError."""
        with self._lock:
            if name in self._jobs and self._jobs[name].state in LIVE_STATES:
                raise RunsError(f"{name} is {self._jobs[name].state} already")
            self._check_owner(name, visitor)
            self._add("resume", visitor, False, name=name)

    def pause(self, name: str, visitor: Visitor) -> None:
        self._own(name, visitor).runner.pause()

    def go_on(self, name: str, visitor: Visitor) -> None:
        self._own(name, visitor).runner.go_on()

    def step(self, name: str, visitor: Visitor) -> None:
        """Train one epoch, then pause."""
        self._own(name, visitor).runner.step()

    def change(self, name: str, visitor: Visitor, **live: Any) -> None:
        """Change live knobs from the next epoch on. Raises ConfigError."""
        self._own(name, visitor).runner.change(**live)

    def stop(self, name: str, visitor: Visitor) -> None:
        """End a run after its last whole epoch, or take it out of the queue."""
        with self._lock:
            job = self._own(name, visitor)
            if job.started:
                job.runner.stop()
                return
            del self._jobs[name]
            with contextlib.suppress(OSError):  # the reserved folder of a new run is empty
                self.folder(name).rmdir()
            self._save_queue()

    def pin(self, name: str, visitor: Visitor, on: bool) -> None:
        """Let a run go on although nobody watches it."""
        self._own(name, visitor).wish["pinned"] = on

    def delete(self, name: str, visitor: Visitor) -> None:
        """Remove an ended run for good; the teacher's right."""
        if not visitor.teacher:
            raise RunsError(f"{name} can be deleted by the teacher only")
        with self._lock:
            if self.where(name).active:
                raise RunsError(f"{name} is active: stop it before you delete it")
            shutil.rmtree(self.folder(name), ignore_errors=True)
            self._jobs.pop(name, None)
            if self._owners.pop(name, None) is not None:
                write_json(self.root / ".owners.json", self._owners)

    def touch(self, name: str) -> None:
        """Somebody looks at this run now."""
        with self._lock:
            if name in self._jobs:
                self._jobs[name].watched = time.monotonic()

    def may(self, name: str, visitor: Visitor) -> bool:
        """Whether a visitor may steer a run: its owner, the teacher, or anyone if it has none."""
        owner = self._jobs[name].owner if name in self._jobs else self._owners.get(name, "")
        return visitor.teacher or owner in ("", visitor.id)

    def close(self, patience: float = 30.0) -> None:
        """Stop everything that trains and wait for it, at most so many seconds; the queue stays."""
        self._closed.set()
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.started]
        for job in jobs:
            job.runner.stop("because the server was shut down: it can be resumed")
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(job.state in LIVE_STATES for job in jobs):
            time.sleep(0.02)

    # --- inside

    def _own(self, name: str, visitor: Visitor) -> _Job:
        with self._lock:
            job = self._jobs.get(name)
            if job is None or job.state not in LIVE_STATES:
                raise RunsError(f"{name} is not running: resume it, or start another")
            self._check_owner(name, visitor)
            return job

    def _check_owner(self, name: str, visitor: Visitor) -> None:
        if not self.may(name, visitor):
            raise RunsError(
                f"{name} belongs to another visitor: you may watch it, or start or fork your own"
            )

    def _add(self, kind: str, visitor: Visitor, pinned: bool, **wish: Any) -> str:
        with self._lock:
            mine = [j for j in self._jobs.values() if j.owner == visitor.id]
            n_active = sum(job.state in LIVE_STATES for job in mine)
            if n_active >= self.per_visitor and not visitor.teacher:
                raise RunsError(
                    f"you have {n_active} runs queued or running: allowed are {self.per_visitor} "
                    "at once; wait for one, or stop one"
                )
            wish |= {"kind": kind, "visitor": visitor.id, "pinned": pinned}
            return self._queue(wish)

    def _queue(self, wish: dict[str, Any]) -> str:
        job = _Job(wish, self._runner(wish), time.monotonic())
        # a run that comes again stands at the end
        self._jobs.pop(job.name, None)
        self._jobs[job.name] = job
        self._owners[job.name] = job.owner
        write_json(self.root / ".owners.json", self._owners)
        self._save_queue()
        return job.name

    def _runner(self, wish: dict[str, Any]) -> Runner:
        """The runner that a wish asks for; reserves the folder of a new run or fork."""
        if wish["kind"] == "resume":
            return Runner.resume(self.folder(wish["name"]))
        if wish["kind"] == "fork":
            parent = self.folder(wish["parent"])
            config = fork_config(Run(parent), wish["epoch"], **wish["knobs"])
        else:
            config = RunConfig(**wish["config"])
        if "name" not in wish:
            folder = free_folder(config, self.root)
            folder.mkdir()
            wish["name"] = folder.name
        folder = self.folder(wish["name"])
        if wish["kind"] == "fork":
            return Runner.fork(parent, wish["epoch"], folder, **wish["knobs"])
        return Runner.new(config, folder)

    def _requeue(self) -> None:
        """Take up the runs that waited when the server went down."""
        for wish in self._read("queue.json", []):
            try:
                if wish["kind"] != "resume" and "name" in wish:
                    folder = self.folder(wish["name"])
                    if (folder / "config.json").exists():
                        continue  # it began just before the end, and can be resumed
                    shutil.rmtree(folder, ignore_errors=True)  # half made: nothing in it counts
                    folder.mkdir()
                self._queue(wish)
            except Exception as error:  # a parent that is gone, an older format
                self.problems.append(f"{wish.get('name', 'a queued run')}: {error}")

    def _save_queue(self) -> None:
        """What a restart has to begin: what waits, and what has begun but has no folder yet."""
        wishes = [dict(job.wish) for job in self._jobs.values() if job.unborn]
        if wishes != self._saved:
            write_json(self.root / ".queue.json", wishes)
            self._saved = wishes

    def _read(self, name: str, empty: Any) -> Any:
        path = self.root / f".{name}"
        try:
            return read_json(path) if path.exists() else empty
        except StoreError:
            return empty

    def _watch(self) -> None:
        while not self._closed.wait(TICK):
            try:
                with self._lock:
                    if not self._closed.is_set():
                        self._reap()
                        self._start_next()
                        self._tidy()
                        self._save_queue()
            except Exception:  # a full disk, say: the queue goes on when there is room again
                logging.getLogger(__name__).exception("the queue of runs")

    def _start_next(self) -> None:
        training = sum(j.started and j.state in LIVE_STATES for j in self._jobs.values())
        for job in [j for j in self._jobs.values() if not j.started][
            : max(self.slots - training, 0)
        ]:
            job.started = True
            job.watched = max(job.watched, time.monotonic())
            job.runner.start(NICENESS)

    def _reap(self) -> None:
        now = time.monotonic()
        for job in self._jobs.values():
            unwatched = now - job.watched
            if job.state not in ("running", "paused") or job.wish["pinned"] or job.note:
                continue
            if unwatched > self.reap_after:
                job.note = (
                    f"stopped because nobody watched it for {self.reap_after / 60:g} minutes: "
                    "resume it, and pin it to let it go on alone"
                )
                job.runner.stop()

    def _tidy(self) -> None:
        """Give back the reserved folder of a run that failed before its first file."""
        for job in self._jobs.values():
            if job.state not in LIVE_STATES and not job.runner.ready:
                with contextlib.suppress(OSError):  # gone already, or not empty
                    self.folder(job.name).rmdir()


@st.cache_resource(show_spinner=False)
def runs() -> Runs:
    """The one registry of this server."""
    made = Runs.from_environment()
    at_shutdown(lambda: made.close(PATIENCE))
    return made


def _key(config: RunConfig) -> str:
    """The settings as a text; the same settings give the same one."""
    return json.dumps(config.model_dump(mode="json"), sort_keys=True)


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text or default)
    except ValueError:
        value = -1.0
    if value <= 0:
        raise RunsError(f"{name} = {text!r} in the environment: allowed is a number above 0")
    return value
