"""Executors of a sweep's runs: processes of this machine, or tasks of a Ray cluster."""

import contextlib
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any, Protocol

import torch
from filelock import FileLock, Timeout

from engine.config import RunConfig, registry
from engine.errors import ConfigError, EngineError, StoreError, as_shortage
from engine.hardware import choose_device, choose_threads, cores, limit_threads
from engine.runs.folder import open_run
from engine.runs.runner import Runner

POLL = 0.5  # seconds that `poll` waits for a run to end
LOCK_TIMEOUT = 2.0  # seconds that a run waits for another sweep to release it
STOP_TIMEOUT = 10.0  # seconds that stopped tasks have to end their batch
Origins = list[tuple[str, str, str, str]]
BUSY = "another sweep computes it"
CLAIMS = ".claims"  # folder of a lock per run, held while it is computed
# what every run would import: three seconds; optimizers import the last
PRELOADED = ["engine.runs.runner", "sklearn.datasets", "sklearn.mixture", "torch._dynamo"]


class Executor(Protocol):
    """Computes runs at the same time; a job is whatever `start` returns."""

    def has_room(self, n_running: int) -> bool:
        """Whether another run can start while n_running are running."""

    def start(self, config: RunConfig, folder: Path) -> Any:
        """Start or resume a run in its folder."""

    def poll(self, running: Mapping[str, Any]) -> list[str]:
        """Names of the jobs that have ended, after waiting at most POLL seconds for one."""

    def result(self, job: Any) -> str:
        """Why an ended job failed, or BUSY; empty if it succeeded."""

    def stop(self, jobs: Sequence[Any]) -> None:
        """End these jobs within a batch; their runs can be resumed."""


class ProcessExecutor:
    """Each run in a process of its own, forked from one that has the libraries loaded.

    jobs: simultaneous runs; None: one per GPU, else as many as their threads leave room for. Raises
    ConfigError for more runs than cores, DeviceError for a missing device.
    """

    def __init__(self, jobs: int | None, configs: Sequence[RunConfig]):
        on_gpu = {choose_device(config.device).type for config in configs} == {"cuda"}
        self.runs_on = dict.fromkeys(range(torch.cuda.device_count() if on_gpu else 0), 0)
        n_threads = max((config.threads for config in configs), default=0) or 1
        most = max(1, cores() // n_threads)
        if jobs is None:
            jobs = len(self.runs_on) or cores() // max((threads_of(c) for c in configs), default=1)
            jobs = min(max(1, jobs), most)
        if not 1 <= jobs <= most:
            raise ConfigError(
                f"jobs = {jobs}: allowed is 1 to {most}, with {cores()} cores and {n_threads} "
                "threads a run"
            )
        self.jobs, self.threads = jobs, max(n_threads, cores() // jobs)
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)

    def has_room(self, n_running: int) -> bool:
        """See `Executor`."""
        return n_running < self.jobs

    def start(self, config: RunConfig, folder: Path) -> Any:
        """See `Executor`; a run without a named GPU gets the one with the fewest runs."""
        named = _gpu_named(config, folder)
        least = min(self.runs_on, key=lambda gpu: self.runs_on[gpu], default=None)
        gpu = least if named is None else named
        if gpu in self.runs_on:
            self.runs_on[gpu] += 1
        visible = gpu if named is None else None  # a process that sees one GPU has no cuda:1
        receiver, sender = self.context.Pipe(duplex=False)
        origins = registry.origins(config.model_dump())
        arguments = config, folder, self.threads, visible, origins, sender
        process = self.context.Process(target=_work_in_process, args=arguments, daemon=True)
        process.start()
        sender.close()
        return process, receiver, gpu

    def poll(self, running: Mapping[str, Any]) -> list[str]:
        """See `Executor`; also those that have sent their result.

        A pipe holds 64 kB: a process with a longer message ends once that is received.
        """
        names = {end: name for name, job in running.items() for end in (job[0].sentinel, job[1])}
        ended = {names[end] for end in connection.wait(list(names), POLL)}
        return [name for name in running if name in ended]

    def result(self, job: Any) -> str:
        """See `Executor`."""
        process, receiver, gpu = job
        if gpu in self.runs_on:
            self.runs_on[gpu] -= 1
        try:
            message = receiver.recv()
            process.join()
            return message
        except (EOFError, OSError):
            process.join()
            killed = process.exitcode == -signal.SIGKILL
            why = " (killed, as a system does that is short of memory)" if killed else ""
            return f"its process died with exit code {process.exitcode}{why}"
        finally:
            receiver.close()

    def stop(self, jobs: Sequence[Any]) -> None:
        """See `Executor`; immediately when interrupted."""
        processes = [job[0] for job in jobs]
        try:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
        finally:
            for process in processes:
                process.kill()


class RayExecutor:
    """Each run as a task of a Ray cluster.

    address: "auto", "local" or "host:port". jobs: simultaneous tasks, None: as many as fit. Raises
    ConfigError where Ray, the cluster or the GPU of a run is missing.
    """

    def __init__(self, address: str, jobs: int | None, configs: Sequence[RunConfig]):
        if jobs is not None and jobs < 1:
            raise ConfigError(f"jobs = {jobs}: allowed is 1 or more")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics are sent
        try:
            import ray
        except ImportError:
            raise ConfigError(
                f"ray = {address!r}: Ray is not installed; install it with pip install -e '.[ray]'"
            ) from None
        self.ray, self.jobs, self.own = ray, jobs, not ray.is_initialized()
        if self.own:
            _connect(ray, address)
        # of the largest machine: a task that needs more would wait forever
        self.cpus = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes())
        self.on_gpu = ray.cluster_resources().get("GPU", 0) > 0
        for config in configs:
            wrong = "threads" if config.threads > self.cpus else "device"
            if wrong == "threads" or config.device.startswith("cuda") and not self.on_gpu:
                self.stop([])
                raise ConfigError(
                    f"{wrong} = {getattr(config, wrong)!r}: no machine of the cluster {address!r} "
                    "has that"
                )
        # relative paths and downloads are the same on every machine
        self.home = os.getcwd(), os.environ.get("MIXNN_DATA")

    def has_room(self, n_running: int) -> bool:
        """See `Executor`; Ray queues what does not fit."""
        return self.jobs is None or n_running < self.jobs

    def start(self, config: RunConfig, folder: Path) -> Any:
        """See `Executor`."""
        threads = min(threads_of(config), self.cpus)
        task = self.ray.remote(_work_in_task).options(
            max_retries=0,
            num_cpus=threads,
            num_gpus=1 if self.on_gpu and config.device != "cpu" else 0,
        )
        origins = registry.origins(config.model_dump())
        return task.remote(config, folder, threads, self.home, origins)

    def poll(self, running: Mapping[str, Any]) -> list[str]:
        """See `Executor`."""
        names = {task: name for name, task in running.items()}
        ended, _ = self.ray.wait(list(names), num_returns=len(names), timeout=POLL)
        return [names[task] for task in ended]

    def result(self, job: Any) -> str:
        """See `Executor`."""
        try:
            return self.ray.get(job)
        except self.ray.exceptions.RayError as error:
            if "No module named 'engine'" in str(error):
                return "its machine does not have this project installed"
            return f"its task died: {str(error).splitlines()[0]}"

    def stop(self, jobs: Sequence[Any]) -> None:
        """See `Executor`; also disconnects from the cluster."""
        left = list(jobs)
        try:
            for job in left:
                self.ray.cancel(job)
            if left:
                _, left = self.ray.wait(left, num_returns=len(left), timeout=STOP_TIMEOUT)
        finally:
            for job in left:  # never an ended one: Ray 2.60 crashes on it
                self.ray.cancel(job, force=True)
            if self.own:
                self.ray.shutdown()


def _gpu_named(config: RunConfig, folder: Path) -> int | None:
    """N of the device cuda:N that a run uses, or was started with; None for other devices."""
    if (folder / "config.json").exists():
        with contextlib.suppress(StoreError):
            config = open_run(folder).config
    kind, _, number = config.device.partition(":")
    return int(number) if kind == "cuda" and number else None


def threads_of(config: RunConfig) -> int:
    """CPU threads that a run uses, given enough cores."""
    return choose_threads(config.threads, config.network)


def _connect(ray, address: str) -> None:
    before = signal.getsignal(signal.SIGTERM)
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit():  # Ray alone would try for minutes
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError, OverflowError) as error:
        raise ConfigError(f"ray = {address!r}: no such cluster ({error})") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray installs its own


# --- in the process or task


def _work_in_process(
    config: RunConfig,
    folder: Path,
    threads: int,
    gpu: int | None,
    origins: Origins,
    sender: connection.Connection,
) -> None:
    """`_work`, which ends cleanly on SIGTERM, or when the process of the sweep has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the sweep, which sends SIGTERM
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[gpu] if visible else str(gpu)
    sweep = parent_process()

    def is_stopped() -> bool:
        return terminated.is_set() or sweep is None or not sweep.is_alive()

    message = _work(config, folder, threads, origins, is_stopped)
    with contextlib.suppress(OSError):  # the sweep has ended
        sender.send(message)


def _work_in_task(
    config: RunConfig,
    folder: Path,
    threads: int,
    home: tuple[str, str | None],
    origins: Origins,
) -> str:
    """`_work` on a machine of a cluster, in the folder where the sweep was started."""
    with contextlib.suppress(OSError):
        os.chdir(home[0])
    if home[1] is not None:
        os.environ["MIXNN_DATA"] = home[1]
    canceled = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: canceled.set())  # what ray.cancel sends
    try:
        return _work(config, folder, threads, origins, canceled.is_set)
    finally:
        signal.signal(signal.SIGINT, before)


def _work(
    config: RunConfig,
    folder: Path,
    threads: int,
    origins: Origins,
    is_stopped: Callable[[], bool],
) -> str:
    """Train a run to its end; returns why it failed, or "".

    origins: of the parts of one's own, see `registry.origins`.
    """
    limit_threads(threads)
    claims = folder.parent / CLAIMS
    if not claims.is_dir():
        return f"{socket.gethostname()} does not see {folder.parent}: all machines have to share it"
    try:
        registry.restore(origins)
        with FileLock(claims / folder.name, timeout=LOCK_TIMEOUT):
            return _run(config, folder, is_stopped)
    except Timeout:
        return BUSY
    except (EngineError, OSError, MemoryError) as error:
        return str(as_shortage(error) or error)


def _run(config: RunConfig, folder: Path, is_stopped: Callable[[], bool]) -> str:
    if not (folder / "config.json").exists():
        shutil.rmtree(folder, ignore_errors=True)  # killed while it was created: it has no results
        runner = Runner.new(config, folder)
    else:
        runner = Runner.resume(folder)
    runner.start()
    while not runner.join(POLL):
        if is_stopped():
            runner.stop()
    return runner.status.message
