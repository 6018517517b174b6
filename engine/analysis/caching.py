"""A cache of values that are read from files and change with them."""

import functools
import threading
from collections.abc import Callable
from typing import Any


def newest(maxsize: int) -> Callable[[Callable], Callable]:
    """Cache a function of a key and a stamp; of each key only the newest value is kept.

    Threads that ask for the same key at once wait for the first. What it raises is not kept.
    """

    def decorate(function: Callable) -> Callable:
        @functools.lru_cache(maxsize)
        def place(_: Any) -> tuple[threading.Lock, dict[Any, Any]]:
            return threading.Lock(), {}

        @functools.wraps(function)
        def get(key: Any, stamp: Any) -> Any:
            lock, kept = place(key)
            with lock:
                if stamp not in kept:
                    value = function(key, stamp)
                    kept.clear()
                    kept[stamp] = value
                return kept[stamp]

        return get

    return decorate
