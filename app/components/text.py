"""Durations and shares as short texts."""


def minutes(seconds: float | None) -> str:
    """A duration in seconds as "40 s", "3 min" or "2 h 5 min"; a dash if it is None."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def time_left(seconds: float | None) -> str:
    """The end of a sentence, such as ", about 3 min left"; empty if seconds is None."""
    return "" if seconds is None else f", about {minutes(seconds)} left"


def count(n: int, noun: str) -> str:
    """A number of things: "1 run", "3 runs"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as "97.7 %"; a dash if it is None."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"
