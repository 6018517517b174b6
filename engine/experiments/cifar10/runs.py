"""The runs of the headline benchmark, one after the other; their folders store wall times."""

import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from engine.config import RunConfig
from engine.data import Data
from engine.errors import ConfigError
from engine.files import read_json, write_json
from engine.runs.folder import RunFolder
from engine.runs.naming import run_name
from engine.runs.progress import Progress, n_epochs
from engine.runs.runner import Runner

SESSIONS = "sittings.json"  # in a run folder: seconds and epochs of each start or resumption
POLL = 0.5  # seconds between two checks of a run
POLL_EARLY = 0.02  # while it is prepared: its wall time begins afterwards


def run_all(
    configs: Sequence[RunConfig],
    root: Path,
    data: Data,
    *,
    minutes: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[Progress, None, None]:
    """Train the runs one after the other in folders under root, and yield the progress.

    Finished runs are skipped, incomplete ones are resumed. minutes: the time by clock (in seconds)
    after which the run in progress is stopped and the generator ends; a later call continues, also
    after closing the generator. data: from `load`. Raises ConfigError, StoreError.
    """
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"minutes = {minutes}: allowed is a number above 0")
    end = float("inf") if minutes is None else clock() + 60 * minutes
    wanted = {run_name(config): config for config in configs}
    epochs = {name: n_epochs(root / name) for name in wanted}
    failed: dict[str, str] = {}

    def progress(running: str | None = None) -> Progress:
        return Progress(
            n_runs=len(wanted),
            n_epochs=sum(config.epochs for config in wanted.values()),
            runs_done=sum(epochs[name] == wanted[name].epochs for name in wanted),
            epochs_done=sum(epochs.values()),
            running=() if running is None else (running,),
            failed=dict(failed),
        )

    yield progress()
    for name, config in wanted.items():
        if epochs[name] == config.epochs and RunFolder(root / name).status["state"] == "done":
            continue
        if clock() >= end:
            return
        runner = _runner(config, root / name, data)
        with closing(_run_session(runner, lambda: clock() >= end)) as polls:
            for _ in polls:
                epochs[name] = max(epochs[name], runner.status.epoch)
                yield progress(name)
        epochs[name] = n_epochs(root / name)
        status = runner.status
        if status.state == "failed":
            failed[name] = status.message if status.foreseen else status.error
        yield progress()


def sessions(folder: Path) -> list[dict[str, Any]]:
    """The sessions of a run, each with its seconds and its number of epochs. Raises StoreError."""
    return read_json(folder / SESSIONS) if (folder / SESSIONS).exists() else []


def _runner(config: RunConfig, folder: Path, data: Data) -> Runner:
    if (folder / "config.json").exists():
        return Runner.resume(folder, data=data)
    shutil.rmtree(folder, ignore_errors=True)  # killed while it was created: it has no results
    return Runner.new(config, folder, data=data)


def _run_session(runner: Runner, is_over: Callable[[], bool]) -> Generator[None, None, None]:
    """Train to the end or the time limit; yield at each poll, and store the wall time.

    The wall time excludes preparing the run, up to POLL_EARLY.
    """
    path, n_before = runner.folder / SESSIONS, n_epochs(runner.folder)
    start = time.perf_counter()
    runner.start()
    try:
        while not runner.join(POLL if runner.ready else POLL_EARLY):
            now = time.perf_counter()
            if not runner.ready:
                start = now
            if is_over():
                runner.stop()
            yield
    finally:
        runner.stop()
        runner.join()
        seconds = time.perf_counter() - start
        if runner.ready:
            session = {"seconds": round(seconds, 3), "epochs": n_epochs(path.parent) - n_before}
            write_json(path, [*sessions(path.parent), session])
