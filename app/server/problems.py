"""What went wrong with the queue, for the Runs page."""

import logging
import time
from typing import NamedTuple

from app.server.visitors import EVERYONE

log = logging.getLogger(__name__)
MOST_FAILURES = 5  # of the queue itself that are kept, the newest


class Problem(NamedTuple):
    """A sentence for whoever may see the run that it names; "" where there is none.

    owner: the visitor concerned; "" where that is not known.
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
        """A round of the queue failed, in an except clause; the same failure in a row counts
        once."""
        if text == self._failing:
            return
        self._failing = text
        log.exception("a round of the queue failed")
        for problem in [p for p in self if p.owner == EVERYONE.id][: 1 - MOST_FAILURES]:
            self.remove(problem)
        at = time.strftime("%H:%M UTC", time.gmtime())
        sentence = (
            f"The queue could not be updated at {at}. {text} Runs that train go on, and the queue "
            "goes on by itself once this is over."
        )
        self.append(Problem("", EVERYONE.id, sentence))

    def round_succeeded(self) -> None:
        """A round of the queue ended well."""
        self._failing = ""
