"""The pair that a visitor trains on Home: cross-entropy and a method, on the same wrong labels."""

import contextlib
import time
from collections.abc import Sequence

from app.components.settings_form import settings
from app.server import run_cache
from app.server.run_info import RunInfo, RunsError
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.parameters import Param, names_from
from app.state.url_state import get, put
from engine.config import LIVE, RunConfig
from engine.errors import EngineError

PARAMS = {"pair": Param((), names_from, ",".join, "names of two runs, with a comma", entry=True)}
ADDRESS = frozenset({"pair", "k", "alpha", "rate", "method"})  # parameters in the address of Home
METHODS = {  # that are offered against cross-entropy
    "mixnn": "MixNN", "mixnn-plus": "MixNN+", "mixnn-no-correction": "MixNN, no correction",
    "elr": "ELR", "selc": "SELC", "ssr": "SSR", "mixup": "mixup", "gce": "GCE", "sce": "SCE",
}  # fmt: skip
STOPS = 8.0  # seconds that a pair may take to stop: a batch or two


def configs() -> tuple[RunConfig, RunConfig]:
    """The settings of the next pair: the next run's, with the same noise. Raises ConfigError."""
    plain = settings(method="ce", correction=None)
    other = settings(method=method(), correction=None)
    return plain.changed(noise_seed=plain.seed), other.changed(noise_seed=plain.seed)


def method() -> str:
    """The method that is compared with cross-entropy."""
    return get("method") if get("method") in METHODS else "mixnn"


def shown() -> list[RunInfo]:
    """The runs of the pair in the address that the visitor may see."""
    found = []
    for name in get("pair")[:2]:
        with contextlib.suppress(RunsError):
            found.append(runs().info(name))
    return found


def start() -> None:
    """Show a pair with these settings: one that exists, or a new one in place of the visitor's own.

    Raises RunsError or ConfigError.
    """
    wanted = configs()
    found = existing(wanted)
    if found is None:
        stop(shown())
        found = submit(wanted)
    put(pair=tuple(found), run=found[-1], epoch=None, sample=None, lasso=None)


def restart() -> None:
    """Start a pair with another noise rate at once, if the visitor has started one already."""
    if get("pair"):
        start()


def existing(wanted: Sequence[RunConfig]) -> list[str] | None:
    """Runs with exactly these settings from their first epoch on; None unless there are all."""
    names = runs().names()
    found = [next((n for n in names if _has(n, config)), None) for config in wanted]
    return None if None in found else [name for name in found if name]


def _has(name: str, config: RunConfig) -> bool:
    """Whether a run has these settings, is done or still trains, and was not changed on its way."""
    try:
        if not (runs().folder(name) / "config.json").is_file():
            return False
        run = run_cache.run(name)
        if run.config != config or run.info["parent"] or run.is_recorded:
            return False
        given = {setting: getattr(config, setting) for setting in LIVE}
        if any(record["settings"].items() != given.items() for record in run.epochs):
            return False
        return runs().info(name).state in ("queued", "running", "paused", "done")
    except EngineError:  # it cannot be read
        return False


def submit(wanted: Sequence[RunConfig]) -> list[str]:
    """Queue both runs, which train at the same time in one slot. Raises RunsError."""
    me = visitor()
    names = [runs().submit(wanted[0], visitor=me)]
    try:
        names.append(runs().submit(wanted[1], visitor=me, beside=names[0]))
    except Exception:
        runs().stop(names[0], me)  # half a pair compares nothing
        raise
    return names


def stop(pair: Sequence[RunInfo]) -> None:
    """Stop the visitor's own runs, and wait a moment so that they no longer count."""
    mine = [run.name for run in pair if run.active and may_change(run)]
    for name in mine:
        with contextlib.suppress(RunsError):  # it has just ended
            runs().stop(name, visitor())
    deadline = time.monotonic() + STOPS
    while time.monotonic() < deadline and any(_active(name) for name in mine):
        time.sleep(0.05)


def change(setting: str) -> None:
    """Let the selected K or alpha count from the next epoch on. Raises RunsError or ConfigError."""
    for run in shown():
        if run.name == get("pair")[-1] and run.active and may_change(run):
            runs().change(run.name, visitor(), **{setting: get(setting)})


def may_change(run: RunInfo) -> bool:
    """Whether the run is the visitor's own."""
    return runs().may_control(run.name, visitor())


def _active(name: str) -> bool:
    try:
        return runs().info(name).active
    except RunsError:  # withdrawn from the queue
        return False
