"""Caches that threads share: what several ask for at once is computed by the first of them."""

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
