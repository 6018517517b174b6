"""Which device and which number format a run uses, and what machine this is."""

import contextlib
import ctypes
import os
import platform
import shutil
import subprocess
import sysconfig
from contextlib import contextmanager
from pathlib import Path

import torch

from engine.errors import DeviceError

# as torch found it: cores, or OMP_NUM_THREADS; later calls would see what a run has set
_THREADS = torch.get_num_threads()


COMPILES_IN_THREADS = 2, 14  # version of torch
COMPILE_FROM = 1_000_000  # images: where compiling has paid several times over
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt, see malloc.h


def choose_device(name: str) -> torch.device:
    """The device of this name; "auto" is the GPU where there is one, else the CPU.

    Raises DeviceError for a GPU that is not there.
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

    Decided by what the machine says it has, not by timing it, so that a run repeats itself. On two
    cores with AMX a step of the fast network took 0.54 x as long with bf16 as in float32
    (assets/results/precision.json). The small one would gain as well, but stays in float32, so that
    the numbers of a lesson do not depend on the processor.
    """
    if name != "auto":
        return name
    if network == "small":
        return "float32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    has = torch.cpu.get_capabilities()
    return "bf16" if has.get("avx512_bf16") or has.get("amx_bf16") else "float32"


def choose_compile(name: str, network: str, device: torch.device, n_images: int) -> str:
    """The mode of `torch.compile`; "auto" is "default" for a long run on a CPU, else "none".

    n_images: how many images the run trains on, in all its epochs. A step of the fast network takes
    0.7 x as long compiled, one of a ResNet-18 0.8 x (assets/results/precision.json); compiling
    takes up to a minute, the first time on a machine, and a compiler with Python's headers. The
    small network stays as it is for the reason given in `choose_precision`.
    """
    if name != "auto":
        return name
    long = device.type == "cpu" and network != "small" and n_images >= COMPILE_FROM
    return "default" if long and can_compile() else "none"


def can_compile() -> bool:
    """Whether `torch.compile` has what it needs on a CPU: a C++ compiler, and Python's headers.

    And a torch in which runs of one process may compile at once: 2.11 crashed on two.
    """
    if tuple(map(int, torch.__version__.split(".")[:2])) < COMPILES_IN_THREADS:
        return False
    usual = "clang++" if platform.system() == "Darwin" else "g++"
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return shutil.which(os.environ.get("CXX", usual)) is not None and headers.exists()


def choose_threads(number: int, network: str) -> int:
    """CPU threads of a run; 0 is one for the small network, else as many as there are cores for us.

    On so little work threads mostly wait for each other: alone on two cores, two of them gain a
    few percent, and next to any other load they make a run many times slower.
    """
    return number or (1 if network == "small" else min(_THREADS, cores()))


def limit_threads(number: int) -> None:
    """From now on, runs of this process that choose for themselves take at most this many."""
    global _THREADS
    _THREADS = number


@contextmanager
def threads(number: int):
    """Run torch with this many CPU threads; the setting belongs to the calling thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_memory() -> None:
    """Let this process keep the memory that a batch leaves for the next one.

    The C library would give large pieces back to the system each time, and the system would clear
    them for each batch anew: without that a step of the small network on 32 x 32 pixels takes 0.92
    x as long (medians of four processes each way, in turns), one of larger networks gains little or
    nothing. Does nothing where the library is not glibc.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 2**30)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def release_memory() -> None:
    """Give back to the system what `keep_memory` has kept and nothing uses."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def machine(device: torch.device) -> dict[str, str | int | None]:
    """What a measured number has to name: processor, cores, GPU, versions, commit."""
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
    """The commit of the project's checkout, with a plus where files differ; None outside one."""
    root = Path(__file__).resolve().parents[1]
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=root, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None
