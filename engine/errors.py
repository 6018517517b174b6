"""The expected failures. Each message is one sentence that says what to change.

Code that reports failures catches EngineError and shows the message; any other exception is a
bug. The second base classes are for callers that expect Python's own exceptions.
"""

import errno
import mmap
import re
import resource
import sys
from concurrent.futures.process import BrokenProcessPool


class EngineError(Exception):
    """An expected failure: bad input, a missing device, damaged files, too little memory."""


class ConfigError(EngineError, ValueError):
    """A setting or a combination of settings that is not allowed."""


class DataError(EngineError, ValueError):
    """A data set that is unknown, missing or not usable."""


class ImageError(DataError):
    """A file that is not a readable image."""


class NoiseError(EngineError, ValueError):
    """Label noise that cannot be generated for these labels."""


class DeviceError(EngineError, ValueError):
    """A device that this machine does not have."""


class StoreError(EngineError, RuntimeError):
    """A run folder or a stored file that is missing, damaged or in use."""


class TrainingError(EngineError, RuntimeError):
    """Training that cannot continue, such as with a loss that is not finite."""


class MemoryShortage(EngineError, RuntimeError):
    """Not enough memory; the message says how much was needed and what to change."""


# A lack of memory is reported in many ways; here it becomes one sentence.
ADVICE = (
    "use fewer samples (limit), smaller images (image_size), a smaller batch (batch_size) or a "
    "smaller network, or stop other runs"
)
# messages of libraries that raise no MemoryError: PyTorch, the dynamic linker, LLVM
_PATTERN = re.compile(
    r"allocate memory|out of memory|bad_alloc|failed to map segment|_ALLOC_FAILED|MemoryError",
    re.IGNORECASE,
)
_NO_THREAD = re.compile(r"can't start new thread|thread creation failed", re.IGNORECASE)
_REQUESTED = re.compile(r"allocate (?:more than )?([\d.]+) ?(bytes|[KMGTP]iB)", re.IGNORECASE)
_UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
RESERVE = 512 * 2**20  # bytes of address space that a run needs to start


def as_shortage(error: BaseException) -> MemoryShortage | None:
    """The memory shortage that an exception reports; None where it reports something else.

    Recognized are MemoryError, ENOMEM, a thread or a process that cannot be started, a pool of
    processes that died, and the messages of PyTorch (CPU and GPU), NumPy and the dynamic linker.
    """
    if isinstance(error, MemoryShortage):
        return error
    message = str(error)
    if (isinstance(error, OSError) and error.errno == errno.EAGAIN and not error.filename) or (
        isinstance(error, RuntimeError) and _NO_THREAD.search(message)
    ):
        return _shortage(" for another thread or process")
    if isinstance(error, OSError):
        known = error.errno == errno.ENOMEM
    elif isinstance(error, RuntimeError | ImportError | SystemError):
        known = isinstance(error, BrokenProcessPool) or bool(_PATTERN.search(message))
    else:
        known = isinstance(error, MemoryError)
    if not known:
        return None
    torch = sys.modules.get("torch")  # if it is not loaded, it did not raise
    on_gpu = torch is not None and isinstance(error, torch.OutOfMemoryError)
    where = " on the GPU" if on_gpu else ""
    requested = _REQUESTED.search(message)
    if requested is None:
        return _shortage(where)
    n_bytes = float(requested[1]) * _UNITS[requested[2][0].lower()]
    return _shortage(f"{where}: {n_bytes / 1e6:,.1f} MB more were needed")


def require_reserve() -> None:
    """Raise MemoryShortage where the system would not give this process RESERVE more bytes.

    With less, a library may end the process with all its runs: C++ aborts at an uncaught
    exception, as observed in PyTorch's convolutions.
    """
    try:
        mmap.mmap(-1, RESERVE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, ValueError):
        raise _shortage(f": a run needs {RESERVE / 1e6:,.0f} MB to start") from None


def shows_shortage(message: str) -> bool:
    """Whether the last output of a process that ended reports a memory shortage."""
    return bool(_PATTERN.search(message) or _NO_THREAD.search(message))


def _shortage(detail: str) -> MemoryShortage:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:  # set by the user, who can raise it
        detail += f"; this process may use {limit / 1e6:,.0f} MB in all (ulimit -v)"
    return MemoryShortage(f"not enough memory{detail}: {ADVICE}")
