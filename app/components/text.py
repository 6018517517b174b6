"""Numbers as short texts: durations and shares."""


def minutes(seconds: float | None) -> str:
    """A duration in words: "40 s", "3 min", "2 h 5 min"; a dash where it is not known."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def time_left(seconds: float | None) -> str:
    """The end of a sentence: ", about 3 min left"; nothing where it is not known."""
    return "" if seconds is None else f", about {minutes(seconds)} left"


def percent(share: float | None, digits: int = 1) -> str:
    """A share as "97.7 %", a dash where there is nothing to count."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"
