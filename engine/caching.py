"""Caches for several threads: concurrent requests for a value compute it once."""

import functools
import threading
from collections.abc import Callable
from typing import Any


def once(maxsize: int) -> Callable[[Callable], Callable]:
    """Like functools.lru_cache, but concurrent calls with equal arguments wait for the first.

    Exceptions are not cached: the next call tries again.
    """

    def decorate(function: Callable) -> Callable:
        @functools.lru_cache(maxsize)
        def entry(*_: Any) -> tuple[threading.Lock, list[Any]]:
            return threading.Lock(), []

        @functools.wraps(function)
        def get(*args: Any) -> Any:
            lock, values = entry(*args)
            if not values:
                with lock:
                    if not values:
                        values.append(function(*args))
            return values[0]

        return get

    return decorate


def newest(maxsize: int) -> Callable[[Callable], Callable]:
    """Cache a function of a key and a stamp; for each key only the newest value is kept.

    Concurrent calls with the same key wait for the first. Exceptions are not cached.
    """

    def decorate(function: Callable) -> Callable:
        @functools.lru_cache(maxsize)
        def entry(_: Any) -> tuple[threading.Lock, dict[Any, Any]]:
            return threading.Lock(), {}

        @functools.wraps(function)
        def get(key: Any, stamp: Any) -> Any:
            lock, kept = entry(key)
            with lock:
                if stamp not in kept:
                    value = function(key, stamp)
                    kept.clear()
                    kept[stamp] = value
                return kept[stamp]

        return get

    return decorate
