"""The decisions on a run, and who may make them."""

from app.server import run_cache
from app.server.decisions import Reviews
from app.server.run_info import RunsError
from app.server.visible_runs import runs
from app.server.visitors import visitor

READ_ONLY = (
    "This run belongs to another visitor, who decides on its labels: you can only view them."
)


def reviews_of(name: str) -> Reviews:
    """The decisions on labels of a run."""
    run = run_cache.run(name)
    return Reviews(run.folder, len(run.labels["given"]), len(run.info["data"]["classes"]))


def check_owner(name: str) -> None:
    """Raise RunsError for a visitor who may not decide on labels of this run."""
    if not runs().may_control(name, visitor()):
        raise RunsError(READ_ONLY)
