"""Device, number format and CPU threads of a run, and a description of the machine."""

import contextlib
import ctypes
import logging
import os
import platform
import shutil
import subprocess
import sysconfig
import threading
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from engine.errors import DeviceError

# torch's default, cores or OMP_NUM_THREADS; read now, since runs change the current number
_THREADS = torch.get_num_threads()


# Networks with so little work that numbers in float32 by one thread are the fastest, or nearly so
SMALL = ("small", "linear", "mlp")
COMPILES_IN_THREADS = 2, 14  # version of torch
# Images from which on compiling saves several times what it costs; on a GPU not measured yet
COMPILE_FROM = {"cpu": 1_000_000, "cuda": 10_000_000}
# Compiled shapes that a process keeps for all its runs; above, torch silently stops compiling
COMPILED_SHAPES = 64
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt, see malloc.h
_GLIBC_LIMITS = 2**25, 2**26  # bytes up to which glibc raises its mmap and trim thresholds itself


def choose_device(name: str) -> torch.device:
    """The device of this name; "auto" is the GPU if there is one, else the CPU.

    Raises DeviceError for a GPU that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device = {name!r}: this machine has {torch.cuda.device_count()} CUDA devices, "
            "numbered from 0; auto and cpu are always allowed"
        )
    return device


def choose_precision(name: str, network: str, device: torch.device) -> str:
    """The number format; "auto" is bf16 where it is native, and float32 for the small network.

    Decided by the machine's features, not by timing, so that a run is reproducible. On two cores
    with AMX a step of resnet9-w16 took 0.54 x as long with bf16 as in float32
    (assets/results/precision.json). The small network would gain as well, but uses float32, so that
    the numbers of a lesson do not depend on the processor.
    """
    if name != "auto":
        return name
    if network in SMALL:
        return "float32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    has = torch.cpu.get_capabilities()
    return "bf16" if has.get("avx512_bf16") or has.get("amx_bf16") else "float32"


def choose_compile(name: str, network: str, device: torch.device, n_images: int) -> str:
    """The mode of `torch.compile`; "auto" is "default" for a long run, else "none".

    n_images: images that the run trains on, over all epochs. A step of resnet9-w16 takes 0.7 x as
    long compiled, one of a ResNet-18 0.8 x (assets/results/precision.json); compiling takes up to a
    minute the first time on a machine, and needs a compiler with Python's headers. The small
    network is not compiled, for the reason given in `choose_precision`.
    """
    if name != "auto":
        return name
    long = network not in SMALL and n_images >= COMPILE_FROM[device.type]
    return "default" if long and can_compile(device) else "none"


def can_compile(device: torch.device = torch.device("cpu")) -> bool:  # noqa: B008 - a constant
    """Whether `torch.compile` has what it needs: a C++ compiler and Python's headers; Triton.

    Triton is for a GPU alone. It also needs a torch in which two runs of one process can compile at
    the same time: 2.11 crashed.
    """
    if device.type == "cuda" and find_spec("triton") is None:
        return False
    if tuple(map(int, torch.__version__.split(".")[:2])) < COMPILES_IN_THREADS:
        return False
    default = "clang++" if platform.system() == "Darwin" else "g++"
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return shutil.which(os.environ.get("CXX", default)) is not None and headers.exists()


def choose_threads(number: int, network: str) -> int:
    """CPU threads of a run; 0 is one for the small network, else as many as available cores.

    With so little work, threads mostly wait for each other: on two idle cores, two threads gain a
    few percent, and next to any other load they make a run many times slower.
    """
    return number or (1 if network in SMALL else min(_THREADS, cores()))


def limit_threads(number: int) -> None:
    """Limit the CPU threads of the runs of this process whose number is chosen automatically."""
    global _THREADS
    _THREADS = number


@contextmanager
def threads(number: int):
    """Run torch with this many CPU threads in the calling thread.

    Other threads keep their number. A new thread starts with the number that any thread set last,
    so that is reset at once to the caller's previous number.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    if number != before:
        with contextlib.suppress(RuntimeError):  # no memory for another thread
            setter = threading.Thread(target=torch.set_num_threads, args=(before,))
            setter.start()
            setter.join()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def session(device: torch.device, compile: str = "none", *, deterministic: bool = True):
    """The process-wide settings that training needs; restored when the last session ends.

    device: on a CPU, the process retains freed memory. deterministic: on a GPU, cuDNN selects
    deterministic algorithms, so that the same seed gives the same arrays; without it, the fastest
    ones for each shape, by a measurement of the first batch; where sessions of both kinds overlap,
    deterministic ones. A CPU always computes the same. compile: the mode of `torch.compile`; except
    for "none", torch keeps as many compiled shapes as all runs of a process need, and does not warn
    of a missing GPU. Sessions may overlap in any number of threads. `train` enters one for each
    epoch, so none is open between two epochs; code that executes a complete run enters one around
    it.
    """
    with contextlib.ExitStack() as stack:
        on_gpu = _deterministic if deterministic else _benchmarking
        stack.enter_context(on_gpu if device.type == "cuda" else _retaining)
        if compile != "none":
            stack.enter_context(_quiet_compiler)
            dynamo = torch._dynamo.config  # late: compilers load for a second
            limit = max(dynamo.recompile_limit, COMPILED_SHAPES)
            stack.enter_context(dynamo.patch(recompile_limit=limit))  # of the calling thread
        yield


class _Shared:
    """A process-wide setting that sessions share: the first changes it, the last restores it."""

    def __init__(self, change: Callable[[], Callable[[], None]]):
        self._change, self._lock, self._users = change, threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._restore = self._change()
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._restore()


def retain_freed_memory() -> Callable[[], None]:
    """Let this process keep the memory that a batch frees for the next one; returns the undo.

    The C library would return large blocks to the system each time, and the system would clear
    them again for each batch: retained, a step of the small network on 32 x 32 pixels takes 0.92 x
    as long (medians of four processes each, alternating), one of larger networks gains little or
    nothing. Does nothing where the library is not glibc. The limits cannot be read; the undo sets
    them to the largest that glibc itself chooses.
    """
    _set_memory_limits(2**30, 2**31 - 1)
    return partial(_set_memory_limits, *_GLIBC_LIMITS)


def _set_memory_limits(mmap: int, trim: int) -> None:
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, mmap)
        library.mallopt(_TRIM_THRESHOLD, trim)


def _switch_on(name: str) -> Callable[[], None]:
    before = getattr(torch.backends.cudnn, name)
    setattr(torch.backends.cudnn, name, True)
    return partial(setattr, torch.backends.cudnn, name, before)


def _silence_compiler() -> Callable[[], None]:
    logger = logging.getLogger("torch.utils.cpp_extension")
    before = logger.level
    logger.setLevel(logging.ERROR)  # it warns on machines without a GPU
    return partial(logger.setLevel, before)


_deterministic = _Shared(partial(_switch_on, "deterministic"))
_benchmarking = _Shared(partial(_switch_on, "benchmark"))
_retaining = _Shared(retain_freed_memory)
_quiet_compiler = _Shared(_silence_compiler)


def release_memory() -> None:
    """Return unused memory that `retain_freed_memory` has retained to the system."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def hardware_info(device: torch.device) -> dict[str, str | int | None]:
    """What a measurement was made with: processor, cores, GPU, versions, commit."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "processor": _processor(),
        "cores": cores(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": _commit(),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of the project's checkout, with a plus if files differ.

    Without a checkout, such as in a copy of its files, MIXNN_COMMIT of the environment or None.
    """
    root = Path(__file__).resolve().parents[1]
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
        )
        found = result.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        found = ""
    return found or os.environ.get("MIXNN_COMMIT")
