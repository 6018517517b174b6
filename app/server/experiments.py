"""Experiments of this server: their runs are followed until they end, then they are evaluated.

The runs themselves are in the queue. The evaluation is the engine's own command, in a process of
its own: it may train (folds of cleanlab), and it starts a browser for the figures.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from app.server import escaping, visible_runs
from app.server.run_info import RunsError
from app.server.run_settings import ROOT
from app.server.shutdown import at_shutdown
from app.server.visitors import Visitor, has_teacher
from engine.errors import EngineError

SHIPPED = ROOT / "assets" / "results" / "experiments"
POLL = 1.0  # seconds between two checks of the runs
NICENESS = 10  # of the evaluation: pages and training have priority
ENDED = ". The experiment ended; Start continues with what is missing"
LIVE = ("training", "evaluating")


@dataclass
class Job:
    """An experiment that was started. runs: name that sweeps use -> run of this server.

    ready: the same -> folder of a run of the command line. state: training | evaluating | done |
    stopped | failed; message: why it failed.
    """

    experiment: str
    seeds: tuple[int, ...]
    owner: str
    group: str  # of the runs that were queued for it; "" for none
    runs: Mapping[str, str]
    ready: Mapping[str, Path] = field(default_factory=dict)
    state: str = "training"
    message: str = ""
    n_done: int = 0
    n_before: int = 0  # of n_done, when it started
    began: float = field(default_factory=time.monotonic)
    process: Any = None
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def live(self) -> bool:
        """Whether its runs train, or it is evaluated."""
        return self.state in LIVE

    @property
    def n_runs(self) -> int:
        """Number of its runs."""
        return len(self.runs) + len(self.ready)

    @property
    def seconds_left(self) -> float | None:
        """Until its runs are done, as fast as since its start; None before the first one is."""
        new = self.n_done - self.n_before
        each = (time.monotonic() - self.began) / new if new else None
        return each and each * (self.n_runs - self.n_done)


def _stored(job: Job) -> dict[str, Any]:
    """What a restart has to know of a job."""
    ready = {name: str(folder) for name, folder in job.ready.items()}
    return {
        "experiment": job.experiment,
        "seeds": list(job.seeds),
        "owner": job.owner,
        "group": job.group,
        "runs": dict(job.runs),
        "ready": ready,
    }


def _restored(stored: dict[str, Any]) -> Job:
    ready = {name: Path(folder) for name, folder in stored["ready"].items()}
    return Job(**stored | {"seeds": tuple(stored["seeds"]), "ready": ready})


class Experiments:
    """The experiments that were started on this server, by name; the latest one of each counts.

    runs: the `RunManager`. Live ones are stored (entries "experiments") and followed again after a
    restart, and so is who started a result (entries "results"). Methods may be called from any
    thread.
    """

    def __init__(self, runs: Any):
        self._runs = runs
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        if runs.trains_here:
            for stored in list(runs.storage.table("experiments").values()):
                self._begin(_restored(stored))

    @property
    def results(self) -> Path:
        """The folder of the results, as of the command line in the folder of the runs."""
        return self._runs.root / "experiments" / "results"

    @property
    def cli_runs(self) -> Path:
        """The folder of the command line's own runs."""
        return self._runs.root / "experiments" / "runs"

    def job(self, experiment: str) -> Job | None:
        """The latest start of an experiment."""
        return self._jobs.get(experiment)

    def start(self, job: Job) -> None:
        """Follow the runs of an experiment and evaluate it. Raises RunsError if it is live."""
        if not self._runs.trains_here:
            raise RunsError(self._runs.refusal)
        with self._lock:
            before = self._jobs.get(job.experiment)
            if before is not None and before.live:
                raise RunsError(f"the experiment {job.experiment} is {before.state} already")
            self._runs.storage.put("experiments", job.experiment, _stored(job))
            self._begin(job)

    def _begin(self, job: Job) -> None:
        self._jobs[job.experiment] = job
        threading.Thread(target=self._follow, args=(job,), name="experiment", daemon=True).start()

    def may_start(self, experiment: str, data: str, who: Visitor) -> bool:
        """Whether a visitor may start an experiment, which replaces its result of this server.

        data: the data set. Of a result, it is who started it, and the teacher; anybody where there
        is no teacher and nobody is known to have started it.
        """
        if who.teacher or not (self.results / f"{experiment}-{data}.json").exists():
            return True
        owner = self._runs.storage.table("results").get(experiment)
        return owner == who.id or (owner is None and not has_teacher())

    def may_stop(self, job: Job, who: Visitor) -> bool:
        """Whether a visitor may stop an experiment: who started it, and the teacher."""
        return who.teacher or who.id == job.owner

    def stop(self, experiment: str, who: Visitor) -> None:
        """Stop the runs that were queued for an experiment, or its evaluation. Raises RunsError."""
        job = self._jobs.get(experiment)
        if job is None or not job.live:
            return
        if not self.may_stop(job, who):
            raise RunsError(f"the experiment {experiment} was started by another visitor")
        job.state = "stopped"
        self._end(job)
        self._runs.storage.put("experiments", experiment, None)
        self._runs.stop_group(job.group, who)

    def close(self) -> None:
        """Stop following and evaluating; runs stay as they are."""
        for job in list(self._jobs.values()):
            self._end(job)

    def _end(self, job: Job) -> None:
        job.stopped.set()
        if job.process is not None:
            with contextlib.suppress(OSError):
                os.killpg(job.process.pid, signal.SIGKILL)  # with its browser

    def _follow(self, job: Job) -> None:
        try:
            left = self._left(job, set(job.runs))
            job.n_before = job.n_runs - len(left)
            while left:
                job.n_done = job.n_runs - len(left)
                if job.stopped.wait(POLL):
                    return
                left = self._left(job, left)
            job.n_done = job.n_runs
            if not job.stopped.is_set():
                job.state = "evaluating"
                self._evaluate(job)
                with self._runs.storage.transaction():
                    self._runs.storage.put("results", job.experiment, job.owner)
                    self._runs.storage.put("experiments", job.experiment, None)
                job.state = "done"
        except Exception as error:
            if not job.stopped.is_set():
                job.message = escaping.without_paths(error, self._runs.root)
                job.state = "failed"
                # on a full disk it fails again after a restart
                with contextlib.suppress(EngineError):
                    self._runs.storage.put("experiments", job.experiment, None)

    def _left(self, job: Job, names: set[str]) -> set[str]:
        """Which of these are not done. Raises RunsError if one ended otherwise, or was deleted."""
        left = set()
        for name in names:
            try:
                info = self._runs.info(job.runs[name])
            except RunsError:
                raise RunsError(f"{job.runs[name]} was stopped or deleted{ENDED}") from None
            if not info.active and info.state != "done":
                raise RunsError(f"{info.name}: {info.state}, {info.message}{ENDED}")
            if info.active:
                left.add(name)
        return left

    def _evaluate(self, job: Job) -> None:
        """Write the results. Raises RunsError with the reason of a failure."""
        self.results.mkdir(parents=True, exist_ok=True)
        new = self.results / f".{job.experiment}"  # so that no file that exists is written to
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            with tempfile.TemporaryDirectory(prefix="mixnn-experiment-") as links:
                folders = {name: self._runs.folder(run) for name, run in job.runs.items()}
                for name, folder in (folders | dict(job.ready)).items():
                    os.symlink(folder.resolve(), Path(links) / name)
                self._run(job, Path(links), new)
            files = sorted(new.iterdir(), key=lambda path: path.suffix == ".json")  # which go last
            for path in files:
                os.replace(path, self.results / path.name)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    @staticmethod
    def command(job: Job, runs: Path, out: Path) -> list[str]:
        """The command that evaluates runs."""
        seeds = ",".join(map(str, job.seeds))
        command = [sys.executable, "-m", "engine", "experiment", job.experiment, "--jobs", "1"]
        return [*command, "--seed", seeds, "--runs", str(runs), "--out", str(out)]

    def _run(self, job: Job, runs: Path, out: Path) -> None:
        with tempfile.TemporaryFile() as errors:
            job.process = subprocess.Popen(
                self.command(job, runs, out),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
            with contextlib.suppress(OSError):  # it has ended already
                os.setpriority(os.PRIO_PROCESS, job.process.pid, NICENESS)
            if job.stopped.is_set():  # meanwhile
                self._end(job)
            status = job.process.wait()
            errors.seek(max(errors.seek(0, os.SEEK_END) - 2000, 0))
            said = errors.read().decode(errors="replace").strip().splitlines()
        if status:
            why = said[-1] if said else f"exit status {status}"
            raise RunsError(f"the runs are done, but their evaluation failed: {why}")


@st.cache_resource(show_spinner=False)
def experiments() -> Experiments:
    """The experiments of this server."""
    own = Experiments(visible_runs.manager())
    at_shutdown(own.close)
    return own
