"""How many runs train at once and how many one visitor may have; the teacher changes both."""

from collections.abc import Callable

from app.server.run_info import RunsError
from app.server.run_jobs import Job
from app.server.storage import Storage
from app.server.visitors import Visitor


class Limits:
    """The server's limits. What the teacher sets survives a restart, until the server is started
    with another setting of the same limit.

    slots: runs that train at once. per_visitor, per_address, most_queued: runs that one visitor,
    all visitors of one address, and all visitors may have queued or running; not for teachers. Runs
    that were requested together, such as the seeds of one setting, count as one.
    """

    def __init__(self, slots: int, per_visitor: int, per_address: int, most_queued: int):
        self.slots, self.per_visitor = slots, per_visitor
        self.per_address, self.most_queued = per_address, most_queued
        self._settings = {"slots": slots, "per_visitor": per_visitor}

    def load(self, storage: Storage) -> None:
        """Load what the teacher set. Raises StorageError."""
        for name, (value, setting) in storage.table("limits").items():
            if self._settings.get(name) == setting:
                setattr(self, name, value)

    def change(self, storage: Storage, **values: int) -> None:
        """Set and store slots and per_visitor. Raises StorageError; nothing changes then."""
        with storage.transaction():
            for name, value in values.items():
                storage.put("limits", name, [value, self._settings[name]])
        for name, value in values.items():
            setattr(self, name, value)

    def check(self, live: list[Job], visitor: Visitor) -> None:
        """Raise RunsError if the visitor, its address or the server has reached its limit."""
        counted = [
            (_n(live, lambda job: job.owner == visitor.id), self.per_visitor, "you have"),
            (
                _n(live, lambda job: job.request.get("from") == visitor.address),
                self.per_address,
                "all at your network address together have",
            ),
            (_n(live, lambda job: True), self.most_queued, "this server has"),
        ]
        for number, most, who in counted:
            if number >= most:
                raise RunsError(
                    f"{who} {number} runs queued or running: allowed are {most} at once; wait for "
                    "one to end, or stop one"
                )


def _n(live: list[Job], counts: Callable[[Job], bool]) -> int:
    """The number of jobs that count; a group is one."""
    return len({job.group or job.name for job in live if counts(job)})
