"""Settings of the server about runs, from environment variables."""

import functools
import math
import os
from pathlib import Path
from typing import Any

from app.server import environment
from app.server.run_info import RunsError
from app.server.visitors import has_teacher

ROOT = Path(__file__).resolve().parents[2]
GB = 1e9


def from_environment() -> dict[str, Any]:
    """MIXNN_RUNS (folder) and the other arguments of `RunManager`, see app/README.md.

    Without a teacher the visitor is assumed to run the server: nothing is removed then unless the
    settings say so. Raises RunsError for a value that is not a positive number.
    """
    days, size = (30, 20) if has_teacher() else (math.inf, math.inf)
    number = functools.partial(environment.number, error=RunsError)
    return {
        "root": os.environ.get("MIXNN_RUNS") or ROOT / "runs",
        "slots": int(number("MIXNN_SLOTS", 1)),
        "per_visitor": int(number("MIXNN_PER_VISITOR", 3)),
        "per_address": int(number("MIXNN_PER_ADDRESS", 90)),
        "most_queued": int(number("MIXNN_MOST_QUEUED", 200)),
        "reap_after": 60 * number("MIXNN_REAP_MINUTES", 30),
        "keep_days": number("MIXNN_KEEP_DAYS", days),
        "keep_bytes": GB * number("MIXNN_KEEP_GB", size),
    }
