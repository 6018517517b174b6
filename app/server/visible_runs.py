"""The runs of this server as one visitor may see them: what every page gets from `runs()`.

Pages do not import the manager of the runs; `run_manager` connects it here when it is imported.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from app.server.run_info import RunInfo, RunsError, not_found
from app.server.visitors import EVERYONE, Visitor, has_teacher, note_read, on_a_page, visitor

if TYPE_CHECKING:
    from app.server.problems import Problem
    from engine.config import RunConfig


def _gated(method: str) -> Callable:
    """A method of RunManager whose first argument is a run that the visitor has to see."""

    def call(self: "VisibleRuns", name: str, *args: Any, **kwargs: Any) -> Any:
        self._check(name)
        return getattr(self._runs, method)(name, *args, **kwargs)

    return call


class VisibleRuns:
    """The runs of this server as one visitor may see them: what every page gets from `runs()`.

    A run that the visitor may not see is treated like one that does not exist.
    """

    def __init__(self, runs: Any, who: Visitor):
        self._runs, self.who = runs, who

    # by name; everything else that a page may use is listed in OPEN or defined below
    folder, info, may_control, mark_watched = map(
        _gated, ("folder", "info", "may_control", "mark_watched")
    )
    resume, pause, go_on, step, change, stop, pin, delete = map(
        _gated, ("resume", "pause", "go_on", "step", "change", "stop", "pin", "delete")
    )
    share_link, revoke, link_key, private = map(
        _gated, ("share_link", "revoke", "link_key", "private")
    )
    config, annotate, may_delete = map(_gated, ("config", "annotate", "may_delete"))

    def sees(self, name: str) -> bool:
        """Whether the visitor may see a run."""
        return self._runs.access.sees(name, self.who)

    def sees_folder(self, folder: Path) -> bool:
        """Whether the visitor may see the run in a folder below the root."""
        access = self._runs.access
        visible = access.sees_folder(folder, self.who)
        if visible and folder.parent == access.root and access.private(folder.name):
            note_read(folder.name)
        return visible

    def sees_results(self, dataset: str | None) -> bool:
        """Whether the visitor may see results without an owner that were measured on a data set."""
        return self._runs.access.sees_results(dataset, self.who)

    def names(self) -> list[str]:
        """Names of the visible runs, newest first."""
        return [name for name in self._runs.names() if self.sees(name)]

    def active(self) -> list[RunInfo]:
        """The visible runs that are queued, running or paused, see `RunReader.active`."""
        return [run for run in self._runs.active() if self.sees(run.name)]

    def n_active(self) -> tuple[int, int]:
        """Number of runs that train and of runs that wait, of all visitors."""
        active = self._runs.active()
        waiting = sum(run.state == "queued" for run in active)
        return len(active) - waiting, waiting

    @property
    def problems(self) -> list[str]:
        """Problems of the queue that concern this visitor, one sentence each."""
        return [problem.text for problem in self._runs.problems if self._concerns(problem)]

    def submit(self, config: "RunConfig", **options: Any) -> str:
        """Queue a new run, see `RunManager.submit`. Raises RunsError, also for another's data."""
        self._check_data(config.dataset)
        return self._runs.submit(config, **options)

    def submit_together(self, configs: "Sequence[RunConfig]", **options: Any) -> list[str]:
        """Queue runs as one request, see `RunManager.submit_together`. Raises RunsError."""
        for config in configs:
            self._check_data(config.dataset)
        return self._runs.submit_together(configs, **options)

    def fork(self, parent: str, epoch: int, **options: Any) -> str:
        """Queue a fork, see `RunManager.fork`. Raises RunsError, also for another's private run."""
        self._check(parent)
        if self._runs.access.private(parent) and not self._runs.may_control(parent, self.who):
            raise RunsError(f"{parent} was shared for viewing: only its owner can fork it")
        return self._runs.fork(parent, epoch, **options)

    def may_use(self, dataset: str) -> bool:
        """Whether the visitor may train on a data set."""
        return self._runs.access.may_use(dataset, self.who)

    def may_open(self, upload: str) -> bool:
        """Whether the visitor may open the upload with this key."""
        return self._runs.access.may_open(upload, self.who)

    def claim(self, upload: str) -> None:
        """Record the visitor as an owner of an upload."""
        self._runs.claim(upload, self.who)

    def __getattr__(self, name: str) -> Any:
        if name not in OPEN:
            raise AttributeError(f"{name}: not for pages, or to be added to VisibleRuns")
        return getattr(self._runs, name)

    def _concerns(self, problem: "Problem") -> bool:
        if problem.owner == EVERYONE.id or problem.name and self.sees(problem.name):
            return True
        mine = problem.owner == self.who.id if problem.owner else not has_teacher()
        return self.who.teacher or mine

    def _check(self, name: str) -> None:
        self._runs.folder(name)
        if not self.sees(name):
            raise RunsError(not_found(name))
        note_read(name)

    def _check_data(self, dataset: str) -> None:
        if not self.may_use(dataset):
            raise RunsError("this data set is not yours: upload it yourself on Your data")


# attributes of RunManager that say nothing about a single run
OPEN = (
    *("root", "slots", "per_visitor", "limit", "trains_here", "refusal", "stop_group"),
    *("share", "shared", "last_cleanup", "keep_days", "keep_bytes"),
)

_registry: Callable[[], Any] | None = None  # returns a RunManager, which builds on this module


def connect(registry: Callable[[], Any]) -> None:
    """Set the function that returns the one RunManager of this server."""
    global _registry
    _registry = registry


def manager() -> Any:
    """The one RunManager of this server, for the server itself; pages call `runs`."""
    if _registry is None:
        raise RuntimeError("import app.server.run_manager first: it provides the runs")
    return _registry()


def runs() -> VisibleRuns:
    """The runs of this server as the page's visitor may see them.

    Outside a page (in a test, say) it is the manager itself, which restricts nothing.
    """
    return VisibleRuns(manager(), visitor()) if on_a_page() else cast(VisibleRuns, manager())
