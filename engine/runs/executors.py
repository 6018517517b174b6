"""Where the runs of a sweep are computed: processes of this machine, or tasks of a Ray cluster."""

import contextlib
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from engine.config import RunConfig
from engine.errors import ConfigError, EngineError, StoreError
from engine.hardware import choose_device, choose_threads, cores, limit_threads
from engine.memory import as_shortage
from engine.runs.opened import open_run
from engine.runs.runner import Runner

POLL = 0.5  # seconds that a look at the runs waits for one to end
PATIENCE = 2.0  # seconds that a run waits for another sweep to let go of it
LAST_WORD = 10.0  # seconds that stopped tasks have to end their batch
BUSY = "another sweep computes it"
CLAIMS = ".claims"  # folder of a lock per run, held while it is computed
# what every run would import: three seconds; optimizers import the last
LOADED = ["engine.runs.runner", "sklearn.datasets", "sklearn.mixture", "torch._dynamo"]


class Processes:
    """Each run in a process of its own, forked from one that has the libraries loaded.

    jobs: runs at once; None: a run per GPU, else as many as their threads leave room for. Raises
    ConfigError for more runs than cores, DeviceError for a device that is not there.
    """

    def __init__(self, jobs: int | None, configs: Sequence[RunConfig]):
        on_gpu = {choose_device(config.device).type for config in configs} == {"cuda"}
        self.runs_on = dict.fromkeys(range(torch.cuda.device_count() if on_gpu else 0), 0)
        asked = max((config.threads for config in configs), default=0) or 1
        most = max(1, cores() // asked)
        if jobs is None:
            jobs = len(self.runs_on) or cores() // max((threads_of(c) for c in configs), default=1)
            jobs = min(max(1, jobs), most)
        if not 1 <= jobs <= most:
            raise ConfigError(
                f"jobs = {jobs}: allowed is 1 to {most}, with {cores()} cores and {asked} threads "
                "a run"
            )
        self.jobs, self.threads = jobs, max(asked, cores() // jobs)
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(LOADED)

    def has_room(self, n_running: int) -> bool:
        return n_running < self.jobs

    def start(self, config: RunConfig, folder: Path) -> Any:
        named = _gpu_named(config, folder)
        gpu = min(self.runs_on, key=self.runs_on.get, default=None) if named is None else named
        if gpu in self.runs_on:
            self.runs_on[gpu] += 1
        alone = gpu if named is None else None  # one that sees a single GPU cannot choose
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(
            target=_work_in_process, args=(config, folder, self.threads, alone, sender), daemon=True
        )
        process.start()
        sender.close()
        return process, receiver, gpu

    def ended(self, running: Mapping[str, Any]) -> list[str]:
        """Names of those that have ended or say how, after waiting at most POLL seconds for one.

        A pipe holds 64 kB: a process with a longer message ends once that is received.
        """
        waited = {end: name for name, job in running.items() for end in (job[0].sentinel, job[1])}
        found = {waited[end] for end in connection.wait(list(waited), POLL)}
        return [name for name in running if name in found]

    def message(self, job: Any) -> str:
        """Why an ended job failed; empty where it says that all went well."""
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
        """End these jobs within a batch, at once when interrupted; their runs can be resumed."""
        processes = [job[0] for job in jobs]
        try:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
        finally:
            for process in processes:
                process.kill()


class Cluster:
    """Each run as a task of a Ray cluster; the same methods as `Processes`.

    address: "auto", "local" or "host:port". jobs: tasks at once, None: as many as fit. Raises
    ConfigError where Ray, the cluster or the GPU that a run asks for is missing.
    """

    def __init__(self, address: str, jobs: int | None, configs: Sequence[RunConfig]):
        if jobs is not None and jobs < 1:
            raise ConfigError(f"jobs = {jobs}: allowed is 1 or more")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
        try:
            import ray
        except ImportError:
            raise ConfigError(
                f"ray = {address!r}: Ray is not installed; pip install -e '.[ray]' brings it"
            ) from None
        self.ray, self.jobs, self.own = ray, jobs, not ray.is_initialized()
        if self.own:
            _connect(ray, address)
        # of the largest machine: a task for more would wait forever
        self.cpus = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes())
        self.on_gpu = ray.cluster_resources().get("GPU", 0) > 0
        for config in configs:
            wrong = "threads" if config.threads > self.cpus else "device"
            if wrong == "threads" or config.device.startswith("cuda") and not self.on_gpu:
                self.stop([])
                raise ConfigError(
                    f"{wrong} = {getattr(config, wrong)!r}: no machine of the cluster {address!r} "
                    "has so much"
                )
        # relative paths and downloads are found from there as from here
        self.home = os.getcwd(), os.environ.get("MIXNN_DATA")

    def has_room(self, n_running: int) -> bool:
        return self.jobs is None or n_running < self.jobs  # Ray queues what does not fit

    def start(self, config: RunConfig, folder: Path) -> Any:
        threads = min(threads_of(config), self.cpus)
        task = self.ray.remote(_work_in_task).options(
            max_retries=0,
            num_cpus=threads,
            num_gpus=1 if self.on_gpu and config.device != "cpu" else 0,
        )
        return task.remote(config, folder, threads, self.home)

    def ended(self, running: Mapping[str, Any]) -> list[str]:
        names = {task: name for name, task in running.items()}
        found, _ = self.ray.wait(list(names), num_returns=len(names), timeout=POLL)
        return [names[task] for task in found]

    def message(self, job: Any) -> str:
        try:
            return self.ray.get(job)
        except self.ray.exceptions.RayError as error:
            if "No module named 'engine'" in str(error):
                return "its machine does not have this project installed"
            return f"its task died: {str(error).splitlines()[0]}"

    def stop(self, jobs: Sequence[Any]) -> None:
        left = list(jobs)
        try:
            for job in left:
                self.ray.cancel(job)
            if left:
                _, left = self.ray.wait(left, num_returns=len(left), timeout=LAST_WORD)
        finally:
            for job in left:  # one that has ended must not be ended again: Ray 2.60 dies of it
                self.ray.cancel(job, force=True)
            if self.own:
                self.ray.shutdown()


def _gpu_named(config: RunConfig, folder: Path) -> int | None:
    """N of the device cuda:N that a run is to use, or was begun with; None for any other."""
    if (folder / "config.json").exists():
        with contextlib.suppress(StoreError):
            config = open_run(folder).config
    kind, _, number = config.device.partition(":")
    return int(number) if kind == "cuda" and number else None


def threads_of(config: RunConfig) -> int:
    """CPU threads that a run takes if there are as many cores."""
    return choose_threads(config.threads, config.network)


def _connect(ray, address: str) -> None:
    before = signal.getsignal(signal.SIGTERM)
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit():  # Ray alone would look for minutes
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError, OverflowError) as error:
        raise ConfigError(f"ray = {address!r}: no such cluster ({error})") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray puts its own in place


# --- where the run is computed


def _work_in_process(
    config: RunConfig, folder: Path, threads: int, gpu: int | None, sender: connection.Connection
) -> None:
    """`_work`, which ends cleanly when it is told to, or when the sweep is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the sweep, which tells us
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[gpu] if visible else str(gpu)
    parent = parent_process()
    message = _work(config, folder, threads, lambda: told.is_set() or not parent.is_alive())
    with contextlib.suppress(OSError):  # nobody listens any more
        sender.send(message)


def _work_in_task(
    config: RunConfig, folder: Path, threads: int, home: tuple[str, str | None]
) -> str:
    """`_work` on a machine of a cluster, as if it had been started where the sweep was."""
    with contextlib.suppress(OSError):
        os.chdir(home[0])
    if home[1] is not None:
        os.environ["MIXNN_DATA"] = home[1]
    told = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: told.set())  # what ray.cancel sends
    try:
        return _work(config, folder, threads, told.is_set)
    finally:
        signal.signal(signal.SIGINT, before)


def _work(config: RunConfig, folder: Path, threads: int, told_to_stop: Callable[[], bool]) -> str:
    """Bring a run to its end; returns why it did not get there, or nothing."""
    limit_threads(threads)
    claims = folder.parent / CLAIMS
    if not claims.is_dir():
        return f"{socket.gethostname()} does not see {folder.parent}: all machines have to share it"
    try:
        with FileLock(claims / folder.name, timeout=PATIENCE):
            return _run(config, folder, told_to_stop)
    except Timeout:
        return BUSY
    except (EngineError, OSError, MemoryError) as error:
        return str(as_shortage(error) or error)


def _run(config: RunConfig, folder: Path, told_to_stop: Callable[[], bool]) -> str:
    if not (folder / "config.json").exists():
        shutil.rmtree(folder, ignore_errors=True)  # killed while it was made: nothing in it counts
        runner = Runner.new(config, folder)
    else:
        runner = Runner.resume(folder)
    runner.start()
    while not runner.join(POLL):
        if told_to_stop():
            runner.stop()
    return runner.status.message
