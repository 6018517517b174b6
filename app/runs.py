"""The runs of this server: who waits, who trains, who watches. One registry in the process."""

import contextlib
import functools
import itertools
import json
import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from app import environment, housekeeping, overview, plain
from app.access import Access, Lost, RunsError, Seen, not_there
from app.jobs import LIVE_STATES, Job, Where, in_turn, park
from app.ledger import Ledger
from app.pace import turns
from app.shutdown import at_shutdown
from app.visitors import EVERYONE, Visitor, has_teacher, on_a_page, visitor
from engine.config import RunConfig
from engine.errors import StoreError
from engine.runner import Runner
from engine.runs.opened import open_run
from engine.store import Run, fork_config, free_folder, on_disk, printable

ROOT = Path(__file__).resolve().parents[1]
TICK = 0.2  # seconds between two looks at the queue
TAKE_EVERY = 3.0  # seconds between two tries to become the server that trains
TIDY_EVERY = 3600.0  # seconds between two looks for runs to be tidied away
PATIENCE = 6.0  # seconds that runs have to end their batch when the server is shut down
NICENESS = 5  # of training threads, so that pages answer first
MOST_SHARED = 12  # shared runs queued or running at once
MOST_ENDED = 100  # runs whose end is remembered beside their folders
DAY, GB = 86400.0, 1e9
log = logging.getLogger(__name__)
ELSEWHERE = (
    "Another server uses this runs folder: this one shows its runs and starts none. It takes over "
    "when the other one ends."
)
__all__ = ["EVERYONE", "GB", "LIVE_STATES", "Runs", "RunsError", "Visitor", "Where", "runs"]


class Runs:
    """Queue, slots, limits and reaper over the run folders of one root.

    slots: runs that train at once. per_visitor, per_address, most_queued: runs that one visitor,
    all visitors of one address, and all together may have queued or running; a teacher may more.
    reap_after: seconds after which a run that nobody watches is stopped, unless pinned; it can be
    resumed. keep_days, keep_bytes: what is kept of visitors' ended runs, see `housekeeping`. clock:
    seconds, only growing. Every method may be called from any thread.

    Of several servers over one root only one trains; `alone` says whether it is this one. The
    wishes of a server that is not raise RunsError.
    """

    def __init__(
        self, root: Path | str, *, slots: int = 1, per_visitor: int = 3, per_address: int = 90,
        most_queued: int = 200, reap_after: float = 1800.0, keep_days: float = 30.0,
        keep_bytes: float = 20 * GB, clock: Callable[[], float] = time.monotonic,
    ):  # fmt: skip
        self.root = Path(root)
        self.slots, self.per_visitor, self.reap_after = slots, per_visitor, reap_after
        self.per_address, self.most_queued = per_address, most_queued
        self.keep_days, self.keep_bytes = keep_days, keep_bytes
        self.problems: list[Lost] = []  # queued runs that a restart could not take up
        self._clock = clock
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}  # in the order of their coming
        self._served: dict[str, int] = {}  # owner -> when it was given a place last
        self._closed = threading.Event()
        self.root.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(self.root)
        self.access = Access(self.root, self.ledger, self._dataset)
        self._tried, self._tidied = clock(), clock() - TIDY_EVERY
        self._take()
        threading.Thread(target=self._watch, name="runs", daemon=True).start()

    @classmethod
    def from_environment(cls) -> "Runs":
        """MIXNN_RUNS (folder) and the settings of the constructor, see app/README.md.

        Where the server knows no teacher, whoever uses it also runs it: nothing is removed then
        unless the settings say so.
        """
        days, size = (30, 20) if has_teacher() else (math.inf, math.inf)
        number = functools.partial(environment.number, error=RunsError)
        return cls(
            os.environ.get("MIXNN_RUNS") or ROOT / "runs",
            slots=int(number("MIXNN_SLOTS", 1)),
            per_visitor=int(number("MIXNN_PER_VISITOR", 3)),
            per_address=int(number("MIXNN_PER_ADDRESS", 90)),
            most_queued=int(number("MIXNN_MOST_QUEUED", 200)),
            reap_after=60 * number("MIXNN_REAP_MINUTES", 30),
            keep_days=number("MIXNN_KEEP_DAYS", days),
            keep_bytes=GB * number("MIXNN_KEEP_GB", size),
        )

    # --- what there is

    def folder(self, name: str) -> Path:
        """The folder of a run. Raises RunsError for a name that is no plain folder name."""
        if not name or name != Path(name).name or name.startswith("."):
            raise RunsError(f"run = {name!r}: allowed is the name of a folder in {self.root.name}/")
        return on_disk(self.root, name)

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
        return unborn[::-1] + [printable(name) for _, name in sorted(found, reverse=True)]

    def where(self, name: str) -> Where:
        """Where a run stands. Raises RunsError for a name that is not there."""
        folder = self.folder(name)
        with self._lock:
            job = self._jobs.get(name)
            if job is not None:
                return self._where_job(job)
        owner, pinned = self.access.owner(name), self.ledger.table("kept").get(name) == "pinned"
        if not folder.is_dir():
            raise RunsError(not_there(name))
        try:
            run = open_run(folder)
            status, records = run.status, run.epochs
            return Where(
                name, status["state"], records[-1]["epoch"] if records else 0, run.config.epochs,
                message=status["message"], owner=owner, pinned=pinned,
            )  # fmt: skip
        except StoreError as error:
            return Where(name, "broken", message=str(error), owner=owner, pinned=pinned)

    def active(self) -> list[Where]:
        """Runs that have a place, those that are paused without one, then those that wait."""
        with self._lock:
            live = [job for job in self._jobs.values() if job.live]
            waiting = in_turn(live, self._served)
            begun = [job for job in live if job not in waiting]
            begun.sort(key=lambda job: job.parked)
            return [self._where_job(job, waiting) for job in (*begun, *waiting)]

    @property
    def alone(self) -> bool:
        """Whether no other server uses this root."""
        return self.ledger.mine

    def tidied(self) -> dict[str, Any]:
        """What was tidied away last: {"at", "old", "large"}, empty if nothing was."""
        return self.ledger.table("tidied")

    def private(self, name: str) -> bool:
        """Whether only some visitors may see a run."""
        return self.access.private(name)

    def link_key(self, name: str) -> str:
        """The key of a run's share link; "" where there is none."""
        return self.access.link_key(name)

    def _where_job(self, job: Job, waiting: list[Job] | None = None) -> Where:
        status, state = job.runner.status, job.state
        if waiting is None:
            waiting = in_turn(self._jobs.values(), self._served)
        return Where(
            job.name, state, status.epoch, status.n_epochs,
            position=waiting.index(job) + 1 if job in waiting else 0,
            stage=status.stage, batch=status.batch, n_batches=status.n_batches,
            seconds_left=status.seconds_left,
            message=job.message, owner=job.owner, pinned=job.wish["pinned"],
            unwatched=self._clock() - job.watched if state in LIVE_STATES else 0.0,
        )  # fmt: skip

    def _dataset(self, name: str) -> str | None:
        """The data set of a run that waits or trains here; it may have no folder yet."""
        with self._lock:
            job = self._jobs.get(name)
            return None if job is None else job.runner.config.dataset

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
            self._check_alone()
            found = self.shared(config)
            if found is not None and (found.active or found.state == "done"):
                return found.name
            n_active = sum(job.owner == EVERYONE.id and job.live for job in self._jobs.values())
            if n_active >= MOST_SHARED:
                raise RunsError(
                    f"{n_active} shared runs are queued or running: allowed are {MOST_SHARED} at "
                    "once; try again in a minute"
                )
            if found is not None and found.state in ("stopped", "interrupted"):
                self.resume(found.name, EVERYONE)
                return found.name
            name = self._add("new", EVERYONE, False, config=config.model_dump(mode="json"))
            self.ledger.put("shared", _key(config), name)
            return name

    def shared(self, config: RunConfig) -> Where | None:
        """Where the run that `share` would give stands; None where it is not there."""
        with self._lock:
            name = self.ledger.table("shared").get(_key(config))
            try:
                found = None if name is None else self.where(name)
            except RunsError:  # deleted meanwhile
                return None
            gone = found and found.state == "done" and not self.folder(name).is_dir()
            # the name may be another run's, after the teacher deleted the shared one
            owned = self.access.owner(name or "") not in ("", EVERYONE.id)
            return None if gone or owned else found

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
            self._check_alone()
            if name in self._jobs and self._jobs[name].live:
                raise RunsError(f"{name} is {self._jobs[name].state} already")
            self._check_owner(name, visitor)
            self._add("resume", visitor, False, name=name)

    def pause(self, name: str, visitor: Visitor) -> None:
        self._own(name, visitor).runner.pause()

    def go_on(self, name: str, visitor: Visitor) -> None:
        """Go on after a pause; a run that lost its place meanwhile waits for one first."""
        with self._lock:
            self._own(name, visitor).go("go_on")

    def step(self, name: str, visitor: Visitor) -> None:
        """Train one epoch, then pause."""
        with self._lock:
            self._own(name, visitor).go("step")

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
            self._give_back(name)
            self._save_queue()

    def pin(self, name: str, visitor: Visitor, on: bool) -> None:
        """Let a run go on although nobody watches it, and stay when old runs are tidied away."""
        with self._lock:
            self._check_owner(name, visitor)
            if name in self._jobs:
                self._jobs[name].wish["pinned"] = on
                self._save_queue()
            if self.ledger.table("kept").get(name) != "teacher":
                self.ledger.put("kept", name, "pinned" if on else None)

    def delete(self, name: str, visitor: Visitor) -> None:
        """Remove an ended run for good; the teacher's right."""
        if not visitor.teacher:
            raise RunsError(f"{name} can be deleted by the teacher only")
        with self._lock:
            self._check_alone()
            if self.where(name).active:
                raise RunsError(f"{name} is active: stop it before you delete it")
            if not self._remove(name):
                raise RunsError(f"{name} cannot be removed: see to the rights on its folder")

    def limit(self, visitor: Visitor, *, slots: int, per_visitor: int) -> None:
        """Change how many runs train at once, and how many a visitor may have; the teacher's."""
        if not visitor.teacher:
            raise RunsError("the teacher only changes the limits")
        self.slots, self.per_visitor = slots, per_visitor

    def claim(self, upload: str, visitor: Visitor) -> None:
        """Keep that a visitor brought an upload; the same content may be of several."""
        self._check_alone()
        self.ledger.add("uploads", upload, visitor.id)

    def share_link(self, name: str, visitor: Visitor) -> str:
        """The key that lets whoever has it look at a private run; made where there is none."""
        self._check_owner(name, visitor)
        return self.access.share_link(name)

    def revoke(self, name: str, visitor: Visitor) -> None:
        """Make the share link of a run void."""
        self._check_owner(name, visitor)
        self.ledger.put("links", name, None)

    def tidy(self, now: float | None = None) -> list[str]:
        """Remove old runs of visitors, see `housekeeping`; returns their names.

        now: seconds since 1970.
        """
        now = time.time() if now is None else now
        with self._lock:
            live = [job for job in self._jobs.values() if job.live]
        busy = {job.name for job in live} | {job.wish.get("parent", "") for job in live}
        old, large = housekeeping.choose(
            self.root, self.ledger, busy, now, self.keep_days * DAY, self.keep_bytes
        )
        gone = []
        for name in (*old, *large):
            with self._lock:
                job = self._jobs.get(name)
                if job is not None and job.live or self.ledger.table("kept").get(name):
                    continue  # resumed or pinned meanwhile
                if self._remove(name):
                    gone.append(name)
        if gone:
            housekeeping.note(self.ledger, now, [n for n in old if n in gone],
                              [n for n in large if n in gone])  # fmt: skip
        return gone

    def touch(self, name: str) -> None:
        """Somebody looks at this run now."""
        with self._lock:
            if name in self._jobs:
                self._jobs[name].watched = self._clock()

    def may(self, name: str, visitor: Visitor) -> bool:
        """Whether a visitor may steer a run and decide on its labels, see `Access.may`."""
        return self.access.may(name, visitor)

    def close(self, patience: float = 30.0) -> None:
        """Stop everything that trains and wait for it, at most so many seconds; the queue stays."""
        self._closed.set()
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.started]
            if self.alone:
                with contextlib.suppress(OSError):  # a full disk: what was kept last holds
                    self._save_queue()
        for job in jobs:
            job.runner.stop("because the server was shut down: it can be resumed")
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(job.live for job in jobs):
            time.sleep(0.02)
        self.ledger.release()

    # --- inside

    def _own(self, name: str, visitor: Visitor) -> Job:
        with self._lock:
            job = self._jobs.get(name)
            if job is None or not job.live:
                self._check_alone()
                raise RunsError(f"{name} is not running: resume it, or start another")
            self._check_owner(name, visitor)
            return job

    def _check_alone(self) -> None:
        if not self.alone:
            raise RunsError(ELSEWHERE)

    def _check_owner(self, name: str, visitor: Visitor) -> None:
        self._check_alone()
        if not self.may(name, visitor):
            raise RunsError(
                f"{name} belongs to another visitor: you may watch it, or start or fork your own"
            )

    def _add(self, kind: str, visitor: Visitor, pinned: bool, **wish: Any) -> str:
        with self._lock:
            self._check_alone()
            if not visitor.teacher:
                self._check_limits(visitor)
            owner = visitor.id
            if kind == "resume":  # whoever resumes it, it stays its owner's
                owner = self.access.owner(wish["name"]) or owner
            wish |= {"kind": kind, "visitor": owner, "pinned": pinned, "from": visitor.address}
            name = self._queue(wish)
            if pinned or visitor.teacher and kind != "resume":
                self.ledger.put("kept", name, "teacher" if visitor.teacher else "pinned")
            return name

    def _check_limits(self, visitor: Visitor) -> None:
        """Raise RunsError where a visitor, its address, or all together have their most."""
        live = [job for job in self._jobs.values() if job.live]
        found = [
            (sum(job.owner == visitor.id for job in live), self.per_visitor, "you have"),
            (
                sum(job.wish.get("from") == visitor.address for job in live), self.per_address,
                "all at your network address together have",
            ),
            (len(live), self.most_queued, "this server has"),
        ]  # fmt: skip
        for number, most, who in found:
            if number >= most:
                raise RunsError(
                    f"{who} {number} runs queued or running: allowed are {most} at once; wait for "
                    "one, or stop one"
                )

    def _queue(self, wish: dict[str, Any]) -> str:
        job = Job(wish, self._runner(wish), self._clock())
        # a run that comes again stands at the end
        self._jobs.pop(job.name, None)
        self._jobs[job.name] = job
        if wish["kind"] != "resume":  # nothing of a run that had this name before
            self.ledger.forget(job.name)
        self.ledger.put("owners", job.name, job.owner)
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

    def _take(self) -> None:
        """Become the server that trains here, if no other one is, and take up the queue."""
        self._tried = self._clock()
        if not self.ledger.take():
            return
        for wish in self.ledger.table("queue"):
            try:
                wish = dict(wish)
                if wish["kind"] != "resume" and "name" in wish:
                    folder = self.folder(wish["name"])
                    if (folder / "config.json").exists():
                        continue  # it began just before the end, and can be resumed
                    shutil.rmtree(folder, ignore_errors=True)  # half made: nothing in it counts
                    folder.mkdir()
                self._queue(wish)
            except Exception as error:  # a parent that is gone, an older format
                self.problems.append(self._lost(wish, error))

    def _lost(self, wish: Any, error: Exception) -> Lost:
        """Give back the reserved folder of a wish that cannot be taken up; what is said of it."""
        wish = wish if isinstance(wish, dict) else {}
        name, owner = str(wish.get("name") or ""), str(wish.get("visitor") or "")
        with contextlib.suppress(OSError, RunsError):  # that of a run to resume is not empty
            self.folder(name).rmdir()
        return Lost(name, owner, plain.without_paths(error, self.root))

    def _save_queue(self) -> None:
        """Keep what a restart has to begin: what waits, and what began and has no folder yet."""
        wishes = [dict(job.wish) for job in self._jobs.values() if job.to_begin]
        if wishes != self.ledger.table("queue"):
            self.ledger.replace("queue", wishes)

    def _remove(self, name: str) -> bool:
        """Remove a run's folder, or the link to it, and what is kept of it; whether it is gone."""
        folder = self.folder(name)
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            return False
        self._jobs.pop(name, None)
        self.ledger.forget(name)
        return True

    def _give_back(self, name: str) -> None:
        """Remove the reserved folder of a run that never began, and all that is kept of it."""
        folder = self.folder(name)
        with contextlib.suppress(OSError):  # gone already, or not empty
            folder.rmdir()
        if not folder.exists():
            self.ledger.forget(name)

    def _watch(self) -> None:
        while not self._closed.wait(TICK):
            try:
                self._look()
            except Exception:  # a full disk, say: the queue goes on when there is room again
                log.exception("the queue of runs")

    def _look(self) -> None:
        now = self._clock()
        if not self.alone:
            if now - self._tried >= TAKE_EVERY:
                with self._lock:
                    self._take()
            return
        with self._lock:
            if self._closed.is_set():
                return
            self._reap()
            park(self._jobs.values(), self.slots, now)
            self._start_next()
            self._let_go()
            self._save_queue()
        if now - self._tidied >= TIDY_EVERY:
            self._tidied = now
            self.tidy()

    def _start_next(self) -> None:
        free = self.slots - sum(job.holds_place for job in self._jobs.values())
        for job in in_turn(self._jobs.values(), self._served)[: max(free, 0)]:
            self._served[job.owner] = max(self._served.values(), default=0) + 1
            job.watched = max(job.watched, self._clock())
            if job.parked:
                job.unpark()
                continue
            job.started = True
            job.runner.start(NICENESS, turns.courtesy)

    def _reap(self) -> None:
        now = self._clock()
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

    def _let_go(self) -> None:
        """Give back the folders of runs that failed before their first file; forget old ends.

        What is kept of a run goes with its folder, whoever removed that: its name may be given to
        another one.
        """
        ended = [job for job in self._jobs.values() if not job.live]
        for job in [j for j in ended if not j.runner.ready and j.wish["kind"] != "resume"]:
            folder = self.folder(job.name)
            if (folder / "config.json").exists():  # a run of somebody else, made meanwhile
                ended.remove(job)
                del self._jobs[job.name]
                self.ledger.forget(job.name)
            with contextlib.suppress(OSError):  # gone already, or not empty
                folder.rmdir()
        for job in ended[:-MOST_ENDED]:
            del self._jobs[job.name]
        tables = [self.ledger.table(name) for name in ("owners", "links", "kept")]
        for name in {*itertools.chain(*tables), *self.ledger.table("shared").values()}:
            if name not in self._jobs and not os.path.lexists(self.root / name):
                self.ledger.forget(name)


@st.cache_resource(show_spinner=False)
def registry() -> Runs:
    """The one registry of this server, for the server itself; pages take `runs`."""
    made = Runs.from_environment()
    at_shutdown(lambda: made.close(PATIENCE))
    return made


def runs() -> Runs | Seen:
    """The one registry of this server; on a page, as its visitor may see it."""
    found = registry()
    return Seen(found, visitor()) if on_a_page() else found


def _key(config: RunConfig) -> str:
    """The settings as a text; the same settings give the same one."""
    return json.dumps(config.model_dump(mode="json"), sort_keys=True)
