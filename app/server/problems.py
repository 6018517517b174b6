"""Problems of the queue, for the Runs page."""

import logging
import time
from typing import NamedTuple

from app.server.visitors import EVERYONE

log = logging.getLogger(__name__)
MOST_FAILURES = 5  # newest failures of the queue itself that are kept


class Problem(NamedTuple):
    """A sentence for the visitors who may see the run `name`; "" if it concerns no single run.

    owner: id of the visitor concerned; "" if unknown.
    """

    name: str
    owner: str
    text: str


class Problems(list[Problem]):
    """Queued runs that could not be restored, and rounds of the queue that failed."""

    def __init__(self) -> None:
        super().__init__()
        self._failing = ""

    def round_failed(self, text: str) -> None:
        """Record that a round of the queue failed, in an except clause; a repeated failure once."""
        if text == self._failing:
            return
        self._failing = text
        log.exception("a round of the queue failed")
        for problem in [p for p in self if p.owner == EVERYONE.id][: 1 - MOST_FAILURES]:
            self.remove(problem)
        at = time.strftime("%H:%M UTC", time.gmtime())
        sentence = (
            f"The queue could not be updated at {at}. {text} Runs that train continue, and the "
            "queue recovers by itself when the cause is removed."
        )
        self.append(Problem("", EVERYONE.id, sentence))

    def round_succeeded(self) -> None:
        """Record that a round of the queue succeeded."""
        self._failing = ""
