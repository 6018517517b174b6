"""The headline's runs, one after the other; what each sitting took stands in its folder."""

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

SESSIONS = "sittings.json"  # in a run folder: seconds and epochs of each time that it was taken up
POLL = 0.5  # seconds between looks at a run
POLL_EARLY = 0.02  # while it is prepared: its wall time begins where that ends


def run_all(
    configs: Sequence[RunConfig],
    root: Path,
    data: Data,
    *,
    minutes: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[Progress, None, None]:
    """Bring the runs to their end, one after the other in folders under root; yield how far it is.

    What is there is skipped, what was begun is resumed. minutes: after so many by clock (in
    seconds) the run under way is stopped and the generator ends; a later call goes on, as it does
    after closing the generator. data: what `load` gave. Raises ConfigError, StoreError.
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
        with closing(_run_session(runner, lambda: clock() >= end)) as looks:
            for _ in looks:
                epochs[name] = max(epochs[name], runner.status.epoch)
                yield progress(name)
        epochs[name] = n_epochs(root / name)
        status = runner.status
        if status.state == "failed":
            failed[name] = status.message if status.foreseen else status.error
        yield progress()


def sessions(folder: Path) -> list[dict[str, Any]]:
    """The times that a run was taken up: seconds, and the epochs it made in them."""
    return read_json(folder / SESSIONS) if (folder / SESSIONS).exists() else []


def _runner(config: RunConfig, folder: Path, data: Data) -> Runner:
    if (folder / "config.json").exists():
        return Runner.resume(folder, data=data)
    shutil.rmtree(folder, ignore_errors=True)  # killed while it was made: nothing in it counts
    return Runner.new(config, folder, data=data)


def _run_session(runner: Runner, is_up: Callable[[], bool]) -> Generator[None, None, None]:
    """Run it to its end, or until time is up; yield at each look, and note how long it took.

    Preparing the run is no part of that; at most one early look too much is.
    """
    path, there = runner.folder / SESSIONS, n_epochs(runner.folder)
    begun = time.perf_counter()
    runner.start()
    try:
        while not runner.join(POLL if runner.ready else POLL_EARLY):
            now = time.perf_counter()
            if not runner.ready:
                begun = now
            if is_up():
                runner.stop()
            yield
    finally:
        runner.stop()
        runner.join()
        seconds = time.perf_counter() - begun
        if runner.ready:
            sitting = {"seconds": round(seconds, 3), "epochs": n_epochs(path.parent) - there}
            write_json(path, [*sessions(path.parent), sitting])
