"""Free memory, and a check before data is read that would not fit."""

import os
from pathlib import Path

from engine.errors import DataError

MB = 1 << 20
GROUP = Path("/sys/fs/cgroup")  # of a container; its files describe this process's own group


def free_memory() -> int:
    """About how many bytes this process could still use without displacing others.

    The smaller of what the machine has free (Linux: MemAvailable) and what its container may use.
    """
    return min(_of_machine(), _of_container())


def check_fits(what: str, n_bytes: int, most: int | None = None) -> None:
    """Raise DataError where n_bytes are more than most.

    what: what needs them, for the message. most: bytes; None: free memory.
    """
    allowed = free_memory() if most is None else most
    if n_bytes > allowed:
        why = "are free" if most is None else "are allowed"
        raise DataError(
            f"{what} would take {n_bytes / MB:,.0f} MB of memory; {allowed / MB:,.0f} MB {why}"
        )


def _of_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    pages = os.sysconf("SC_PHYS_PAGES")  # not Linux: half of what the machine has
    return pages * os.sysconf("SC_PAGE_SIZE") // 2


def _of_container() -> int:
    try:
        most = int((GROUP / "memory.max").read_text())
        used = int((GROUP / "memory.current").read_text())
        kinds = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
        return max(0, most - used + int(kinds.get("inactive_file", 0)))  # the file cache
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return 1 << 62
