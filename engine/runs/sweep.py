"""Many runs: all checked before the first starts, then each trained to its end.

A run's folder is named after its settings, so no run is computed twice, whichever sweep wants it.
"""

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.config import LABEL_SETTINGS, RunConfig, registry, validate_k
from engine.data import load_data
from engine.errors import StoreError
from engine.runs.executors import BUSY, CLAIMS, Executor, ProcessExecutor, RayExecutor
from engine.runs.naming import run_name
from engine.runs.progress import Progress, is_done, n_epochs
from engine.training.noisy_labels import make_noisy_labels

ATTEMPTS = 2  # a run that dies is retried once
DATA_SETTINGS = ("dataset", "limit", "image_size", "image_fit", "data_seed")
SLOW_NOISE = ("instance", "margin")  # slow to compute, and possible with every data set


def check(configs: Sequence[RunConfig]) -> None:
    """Check that every run can start: the file exists, K is not too large, ...

    Each data set is loaded once, and each kind of label noise is applied once. Raises the error
    that the first impossible run would raise.
    """
    by_data: dict[tuple, list[RunConfig]] = {}
    for config in configs:
        by_data.setdefault(_values(config, DATA_SETTINGS), []).append(config)
    for same_data in by_data.values():
        data = load_data(same_data[0])
        for config in same_data:
            validate_k(config, data.n)
            registry.require(config.model_dump())
            registry.origins(config.model_dump())
        for config in {_values(config, LABEL_SETTINGS): config for config in same_data}.values():
            slow = config.noise in SLOW_NOISE
            make_noisy_labels(config.changed(noise="symmetric") if slow else config, data)


def sweep(
    configs: Sequence[RunConfig],
    root: Path | str,
    *,
    jobs: int | None = None,
    ray: str | None = None,
) -> Generator[Progress, None, None]:
    """Train every run of `configs` to its end in folders under root, and yield the progress.

    Finished runs are skipped, incomplete ones are resumed, those that die are retried once; two
    sweeps over one root share the work. jobs: simultaneous runs, by default as many as cores and
    threads allow. ray: address of a Ray cluster ("auto", "local" for one on this machine,
    "host:port"), whose machines all have this project and see root; None: runs are processes of
    this machine, so a script calls this under `if __name__ == "__main__"`. Closing the generator
    stops the runs in progress; a later call continues. Raises before anything starts what `check`
    raises, ConfigError for an impossible number of jobs or cluster, and StoreError if root cannot
    be written or holds other runs under these names.
    """
    check(configs)
    root = Path(root).resolve()
    configs_by_name = {run_name(config): config for config in configs}
    executor: Executor
    queue = _Queue(configs_by_name, root)
    executor = RayExecutor(ray, jobs, configs) if ray else ProcessExecutor(jobs, configs)
    try:
        try:
            (root / CLAIMS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{root} cannot be written: {error}") from None
        yield queue.progress()
        while queue.waiting or queue.running:
            while queue.waiting and executor.has_room(len(queue.running)):
                name = queue.next()
                queue.running[name] = executor.start(configs_by_name[name], root / name)
            for name in executor.poll(queue.running):
                queue.end(name, executor.result(queue.running.pop(name)))
            yield queue.progress()
    finally:
        executor.stop(list(queue.running.values()))


class _Queue:
    """Runs that wait, are running, were retried or failed. Raises StoreError for other runs."""

    def __init__(self, configs: Mapping[str, RunConfig], root: Path):
        self._configs, self._root = configs, root
        self._epochs = {name: n_epochs(root / name) for name in configs}
        self.waiting = deque((name, 1) for name in configs if not is_done(root / name))
        self.running: dict[str, Any] = {}  # name -> job of the executor
        self._attempts: dict[str, int] = {}
        self._failed: dict[str, str] = {}

    def next(self) -> str:
        name, self._attempts[name] = self.waiting.popleft()
        return name

    def end(self, name: str, message: str) -> None:
        """A run has ended, with the message of its executor: done, to be retried, or failed."""
        self._epochs[name] = n_epochs(self._root / name)
        if is_done(self._root / name):
            return
        attempt = self._attempts[name]
        if message == BUSY:
            self.waiting.append((name, attempt))
        elif attempt < ATTEMPTS:
            self.waiting.append((name, attempt + 1))
        else:
            self._failed[name] = message or (
                f"the run finished, but its results are not in {self._root / name}"
            )

    def progress(self) -> Progress:
        unfinished = {name for name, _ in self.waiting} | self.running.keys() | self._failed.keys()
        self._epochs.update({name: n_epochs(self._root / name) for name in self.running})
        return Progress(
            n_runs=len(self._configs),
            n_epochs=sum(config.epochs for config in self._configs.values()),
            runs_done=len(self._configs.keys() - unfinished),
            epochs_done=sum(self._epochs.values()),
            running=tuple(self.running),
            retried=tuple(name for name, attempt in self._attempts.items() if attempt > 1),
            failed=dict(self._failed),
        )


def _values(config: RunConfig, names: Sequence[str]) -> tuple:
    return tuple(getattr(config, name) for name in names)
