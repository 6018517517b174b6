"""Where the runs of a sweep are computed: processes of this machine, or tasks of a Ray cluster."""

import shutil
import signal
from collections.abc import Mapping, Sequence
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

import torch

from engine.config import ConfigError, RunConfig
from engine.device import choose_device, choose_threads, cores
from engine.runner import Runner
from engine.store import StoreError

POLL = 0.5  # seconds that a look at the runs waits for one to end
# what every run would import: three seconds; optimizers import the last
LOADED = ["engine.runner", "sklearn.datasets", "sklearn.mixture", "torch._dynamo"]


class Processes:
    """Each run in a process of its own, forked from one that has the libraries loaded.

    jobs: runs at once; None: a run per GPU, else as many as their threads leave room for. Raises
    ConfigError for more runs than cores.
    """

    def __init__(self, jobs: int | None, configs: Sequence[RunConfig]):
        on_gpu = bool(configs) and all(choose_device(c.device).type == "cuda" for c in configs)
        self.n_gpus, self.n_started = torch.cuda.device_count() if on_gpu else 0, 0
        threads = max((threads_of(config) for config in configs), default=1)
        self.jobs = self.n_gpus or max(1, cores() // threads) if jobs is None else jobs
        if not 1 <= self.jobs <= cores():
            raise ConfigError(f"jobs = {jobs}: allowed is 1 to {cores()}, as many as cores")
        self.threads = cores() // self.jobs
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(LOADED)

    def has_room(self, n_running: int) -> bool:
        return n_running < self.jobs

    def start(self, config: RunConfig, folder: Path) -> Any:
        config = config.changed(threads=min(threads_of(config), self.threads))
        if self.n_gpus > 1 and config.device == "auto":
            config = config.changed(device=f"cuda:{self.n_started % self.n_gpus}")
        self.n_started += 1
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(
            target=_work_in_process, args=(config, folder, sender), daemon=True
        )
        process.start()
        sender.close()
        return process, receiver

    def ended(self, running: Mapping[str, Any]) -> list[str]:
        """Names of those that have ended, after waiting at most POLL seconds for one."""
        found = set(connection.wait([process.sentinel for process, _ in running.values()], POLL))
        return [name for name, (process, _) in running.items() if process.sentinel in found]

    def message(self, job: Any) -> str:
        """Why an ended job failed; empty where it says that all went well."""
        process, receiver = job
        process.join()
        try:
            return receiver.recv()
        except EOFError:
            return f"its process died with exit code {process.exitcode}"
        finally:
            receiver.close()

    def stop(self, jobs: Sequence[Any]) -> None:
        """End these jobs; their runs can be resumed."""
        for process, _ in jobs:
            process.terminate()
        for process, _ in jobs:
            process.join()


class Cluster:
    """Each run as a task of a Ray cluster; the same methods as `Processes`.

    address: "auto", "local" or "host:port". Raises ConfigError where Ray or the cluster is missing.
    """

    def __init__(self, address: str):
        try:
            import ray
        except ImportError:
            raise ConfigError(
                f"ray = {address!r}: Ray is not installed; pip install -e '.[ray]' brings it"
            ) from None
        self.ray, self.own = ray, not ray.is_initialized()
        if self.own:
            try:
                ray.init(address=address, log_to_driver=False, logging_level="error")
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ConfigError(f"ray = {address!r}: no such cluster ({error})") from None
        self.on_gpu = ray.cluster_resources().get("GPU", 0) > 0

    def has_room(self, n_running: int) -> bool:
        return True  # Ray queues

    def start(self, config: RunConfig, folder: Path) -> Any:
        threads = threads_of(config)
        task = self.ray.remote(_work).options(
            max_retries=0, num_cpus=threads,
            num_gpus=1 if self.on_gpu and config.device != "cpu" else 0,
        )  # fmt: skip
        return task.remote(config.changed(threads=threads), folder)

    def ended(self, running: Mapping[str, Any]) -> list[str]:
        names = {task: name for name, task in running.items()}
        found, _ = self.ray.wait(list(names), num_returns=len(names), timeout=POLL)
        return [names[task] for task in found]

    def message(self, job: Any) -> str:
        try:
            return self.ray.get(job)
        except self.ray.exceptions.RayError as error:
            return str(error).splitlines()[0]

    def stop(self, jobs: Sequence[Any]) -> None:
        for job in jobs:
            self.ray.cancel(job, force=True)
        if self.own:
            self.ray.shutdown()


def threads_of(config: RunConfig) -> int:
    """CPU threads that a run takes if there are as many cores."""
    return choose_threads(config.threads, config.network)


def _work(config: RunConfig, folder: Path) -> str:
    """Begin a run, or go on with it, to its end; returns why it failed, or nothing."""
    try:
        runner = _runner(config, folder)
    except StoreError as error:
        return str(error)
    runner.run()
    return runner.status.message


def _work_in_process(config: RunConfig, folder: Path, sender: connection.Connection) -> None:
    """`_work`, which ends cleanly when it is told to, or when the sweep is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the sweep, which tells us
    try:
        runner = _runner(config, folder)
    except StoreError as error:
        sender.send(str(error))
        return
    signal.signal(signal.SIGTERM, lambda *_: runner.stop())
    runner.start()
    while not runner.join(POLL):
        if not parent_process().is_alive():
            runner.stop()
    sender.send(runner.status.message)


def _runner(config: RunConfig, folder: Path) -> Runner:
    if (folder / "config.json").exists():
        return Runner.resume(folder)
    shutil.rmtree(folder, ignore_errors=True)  # killed while it was made: nothing in it counts
    return Runner.new(config, folder)
