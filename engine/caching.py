"""A cache for what many visitors want at the same moment: computed once, by whoever comes first."""

import functools
import threading
from collections.abc import Callable
from typing import Any


def once(maxsize: int) -> Callable[[Callable], Callable]:
    """Like functools.lru_cache, but others who ask for the same meanwhile wait for the first.

    What the function raises is not kept: the next one tries again.
    """

    def decorate(function: Callable) -> Callable:
        @functools.lru_cache(maxsize)
        def place(*_: Any) -> tuple[threading.Lock, list]:
            return threading.Lock(), []

        @functools.wraps(function)
        def get(*args: Any) -> Any:
            lock, found = place(*args)
            if not found:
                with lock:
                    if not found:
                        found.append(function(*args))
            return found[0]

        return get

    return decorate
