"""A lack of memory, whoever reports it and how, as one sentence that says what to change."""

import errno
import mmap
import re
import resource
import sys
from concurrent.futures.process import BrokenProcessPool

from engine.errors import MemoryShortage

ADVICE = (
    "use fewer samples (limit), smaller images (image_size), a smaller batch (batch_size) or a "
    "smaller network, or stop other runs"
)
# what libraries write that raise no MemoryError: PyTorch, the dynamic linker, LLVM
_WORDS = re.compile(
    r"allocate memory|out of memory|bad_alloc|failed to map segment|_ALLOC_FAILED|MemoryError",
    re.IGNORECASE,
)
_NO_THREAD = re.compile(r"can't start new thread|thread creation failed", re.IGNORECASE)
_ASKED = re.compile(r"allocate (?:more than )?([\d.]+) ?(bytes|[KMGTP]iB)", re.IGNORECASE)
_UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}


RESERVE = 512 * 2**20  # bytes of address space without which no run begins


def as_shortage(error: BaseException) -> MemoryShortage | None:
    """The lack of memory that an exception reports; None where it reports something else.

    Known are MemoryError, ENOMEM, a thread or a process that cannot be started, a pool of
    processes that died, and the words of PyTorch (CPU and GPU), NumPy and the dynamic linker.
    """
    if isinstance(error, MemoryShortage):
        return error
    words = str(error)
    if (isinstance(error, OSError) and error.errno == errno.EAGAIN and not error.filename) or (
        isinstance(error, RuntimeError) and _NO_THREAD.search(words)
    ):
        return _shortage(" for one more thread or process")
    if isinstance(error, OSError):
        known = error.errno == errno.ENOMEM
    elif isinstance(error, RuntimeError | ImportError | SystemError):
        known = isinstance(error, BrokenProcessPool) or _WORDS.search(words)
    else:
        known = isinstance(error, MemoryError)
    if not known:
        return None
    torch = sys.modules.get("torch")  # only where it is loaded can it have raised
    on_gpu = torch is not None and isinstance(error, torch.OutOfMemoryError)
    where = " on the GPU" if on_gpu else ""
    asked = _ASKED.search(words)
    if asked is None:
        return _shortage(where)
    n_bytes = float(asked[1]) * _UNITS[asked[2][0].lower()]
    return _shortage(f"{where}: {n_bytes / 1e6:,.1f} MB more were needed")


def require_reserve() -> None:
    """Raise MemoryShortage where the system would not give this process RESERVE bytes more.

    With less, a library may end the whole process, all its other runs among it: C++ aborts at an
    exception that no one catches, as PyTorch's convolutions were seen to do.
    """
    try:
        mmap.mmap(-1, RESERVE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, ValueError):
        raise _shortage(f": a run needs {RESERVE / 1e6:,.0f} MB to begin") from None


def shows_shortage(words: str) -> bool:
    """Whether the last words of a program that ended speak of a lack of memory."""
    return bool(_WORDS.search(words) or _NO_THREAD.search(words))


def _shortage(what: str) -> MemoryShortage:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:  # set by hand, so by hand it can be raised
        what += f"; this process may use {limit / 1e6:,.0f} MB in all (ulimit -v)"
    return MemoryShortage(f"not enough memory{what}: {ADVICE}")
