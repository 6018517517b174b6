"""Runs of a lesson that all visitors share: one run for the same settings."""

import json
from typing import TYPE_CHECKING

from app.server.run_info import RunInfo, RunsError
from app.server.visitors import EVERYONE
from engine.config import RunConfig

if TYPE_CHECKING:
    from app.server.run_queue import RunQueue
    from app.server.run_reader import RunReader

MOST_SHARED = 12  # shared runs queued or running at once


def find(reader: "RunReader", config: RunConfig) -> RunInfo | None:
    """The shared run of these settings; None if there is none."""
    name = reader.storage.table("shared").get(key_of(config))
    if name is None:
        return None
    try:
        run = reader.info(name)
    except RunsError:  # deleted meanwhile
        return None
    removed = run.state == "done" and not reader.folder(name).is_dir()
    # after the teacher deleted the shared run, its name may belong to another run
    owned = reader.access.owner(name) not in ("", EVERYONE.id)
    return None if removed or owned else run


def check_room(queue: "RunQueue") -> None:
    """Raise RunsError if too many shared runs wait or train."""
    n_active = sum(job.owner == EVERYONE.id for job in queue.live())
    if n_active >= MOST_SHARED:
        raise RunsError(
            f"{n_active} shared runs are queued or running: allowed are {MOST_SHARED} at "
            "once; try again in a minute"
        )


def key_of(config: RunConfig) -> str:
    """The settings as JSON text; equal settings give equal texts."""
    return json.dumps(config.model_dump(mode="json"), sort_keys=True)
