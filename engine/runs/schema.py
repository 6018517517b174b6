"""Checks of the content of a run folder, which may be damaged or untrusted.

Only the headers of arrays are read from disk. Every check raises ValueError with the part of a
sentence that names the value and what is allowed; a record takes microseconds.
"""

import os
import zipfile
from typing import IO, Any

import numpy as np

STATES = ("running", "paused", "done", "stopped", "failed", "interrupted")
PHASES = ("warmup", "early", "main")
MOST_SAMPLES, MOST_CLASSES, MOST_SIDE = 50_000_000, 100_000, 65_536
MOST_NUMBER = 2**53  # whole numbers beyond it are not exact in a browser
MOST_TEXT = 100_000  # characters
MOST_PARTS_OF_OWN = 16
NUMBER = (int, float)
PARENT_COPY = "parent"  # subfolder of a fork
# name -> (type, shape of one row); arrays of BY_RANK hold rank k of all samples together
ARRAYS = {
    "loss": ("float32", "(N,)"),
    "scaled_loss": ("float32", "(N,)"),
    "clean": ("float32", "(N,)"),
    "prediction": ("int32", "(N,)"),
    "confidence": ("float32", "(N,)"),
    "soft": ("float32", "(N, C)"),  # float16 from state.HALF_PRECISION_ENTRIES entries on
    "neighbors": ("int32", "(K_max, N)"),
    "distances": ("float32", "(K_max, N)"),
    "weights": ("float32", "(K_max + 1, N)"),
    "panel_features": ("float16", "(P, D)"),
}
# arrays that a run may lack, and whose rows may be empty (zeros)
OPTIONAL_ARRAYS = {"votes": ("uint8", "(N, C)")}
BY_RANK = ("neighbors", "distances", "weights")
LABELS = {  # of labels.npz: name -> kinds of NumPy's types, shape in N, C and P
    "given": ("iu", "N"),
    "true": ("iu", "N"),
    "panel": ("iu", "P"),
    "ids": ("U", "N"),
    "matrix": ("fiu", "CC"),
    "matrix_actual": ("fiu", "CC"),
}


def info(value: Any) -> None:
    """Check config.json, except for the settings, which RunConfig checks."""
    _is(value, dict, "it")
    of = _parts(value, "", {
        "config": dict, "network": str, "precision": str, "device": str, "first_epoch": int,
        "k_max": int, "parent": (dict, type(None)), "rate_requested": (*NUMBER, type(None)),
        "rate_actual": (*NUMBER, type(None)), "data": dict, "machine": dict, "created": str,
    })  # fmt: skip
    data = _parts(of["data"], "data.", {
        "n": int, "n_test": int, "shape": list, "classes": list, "notes": list, "fingerprint": str,
        "has_validation": bool,
    })  # fmt: skip
    _within(of["first_epoch"], 0, MOST_NUMBER, "first_epoch")
    _within(of["k_max"], 0, MOST_SAMPLES, "k_max")
    _within(data["n"], 1, MOST_SAMPLES, "data.n")
    _within(data["n_test"], 0, MOST_SAMPLES, "data.n_test")
    _within(len(data["classes"]), 1, MOST_CLASSES, "the number of data.classes")
    _each(data["classes"], str, "data.classes")
    _each(data["notes"], str, "data.notes")
    _each(data["shape"], int, "data.shape")
    if len(data["shape"]) != 3 or not all(1 <= side <= MOST_SIDE for side in data["shape"]):
        raise ValueError(f"data.shape = {_short(data['shape'])}: allowed are channels and sides")
    for name in ("mean", "std"):
        if name in data:
            _each(_is(data[name], list, f"data.{name}"), NUMBER, f"data.{name}")
    parts = _is(value.get("parts", []), list, "parts")  # text of the user's own code, only shown
    _within(len(parts), 0, MOST_PARTS_OF_OWN, "the number of parts")
    for part in parts:
        _parts(part, "parts.", dict.fromkeys(("setting", "kind", "name", "hash", "source"), str))
    _is(of["machine"].get("commit"), (str, type(None)), "machine.commit")
    if of["parent"] is not None:
        parent = _parts(of["parent"], "parent.", {"run": str, "epoch": int})
        # so that no chain of parents is a circle
        _within(parent["epoch"], 0, of["first_epoch"] - 1, "parent.epoch")


def records(value: Any, first_epoch: int, k_max: int, start: int = 0) -> None:
    """Check records of epochs.jsonl, one per epoch without gaps; start: number of the first one."""
    for number, record in enumerate(_is(value, list, "it"), start):
        at = f"record {number}: "
        of = _parts(record, at, {
            "epoch": int, "phase": str, "n_neighbors": int, "settings": dict, "metrics": dict,
            "mixture": dict, "seconds": dict,
        })  # fmt: skip
        if of["epoch"] != first_epoch + number:
            raise ValueError(f"{at}epoch = {of['epoch']}: allowed is {first_epoch + number}")
        if of["phase"] not in PHASES:
            raise ValueError(f"{at}phase = {_short(of['phase'])}: allowed are {', '.join(PHASES)}")
        _within(of["n_neighbors"], 0, k_max, f"{at}n_neighbors")
        _each(of["settings"].values(), (*NUMBER, str, type(None)), f"{at}settings")
        _each(of["metrics"].values(), (*NUMBER, type(None)), f"{at}metrics")
        _each(of["seconds"].values(), NUMBER, f"{at}seconds")
        mixture = _parts(of["mixture"], f"{at}mixture.", {
            "means": list, "stds": list, "weights": list, "warning": (str, type(None)),
        })  # fmt: skip
        for name in ("means", "stds", "weights"):
            _each(mixture[name], NUMBER, f"{at}mixture.{name}")
            _within(len(mixture[name]), 2, 2, f"{at}the number of mixture.{name}")


def status(value: Any) -> None:
    """Check status.json."""
    of = _parts(value, "", {"state": str, "message": str, "time": NUMBER})
    if of["state"] not in STATES:
        raise ValueError(f"state = {_short(of['state'])}: allowed are {', '.join(STATES)}")


def label_files(path: Any, n: int, n_classes: int) -> None:
    """Check the headers of labels.npz, before an array is loaded: types, shapes and sizes."""
    with zipfile.ZipFile(path) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        if missing := {"given", "matrix", "panel"} - set(members):
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        for name, member in members.items():
            if name not in LABELS:
                raise ValueError(f"array {name[:60]!r}: allowed are {', '.join(LABELS)}")
            kinds, letters = LABELS[name]
            with archive.open(member) as file:
                kind, shape = array_header(file, member.file_size)
            sides = {"N": n, "C": n_classes, "P": shape[0] if shape else 0}
            allowed = tuple(sides[letter] for letter in letters)
            if kind.kind not in kinds or shape != allowed or sides["P"] > max(n, 0) * len(letters):
                raise ValueError(f"{name} has type {kind} and shape {shape}: allowed is {allowed}")


def labels(arrays: dict[str, np.ndarray], n: int, n_classes: int) -> None:
    """Check the arrays of labels.npz: class and sample ids exist, matrices are finite."""
    for name, most in (("given", n_classes), ("true", n_classes), ("panel", n)):
        values = arrays.get(name)
        if values is not None and len(values) and not 0 <= values.min() <= values.max() < most:
            raise ValueError(f"{name} has {values.min()} to {values.max()}: allowed is 0 to {most}")
    if not all(np.isfinite(arrays[name]).all() for name in arrays if name.startswith("matrix")):
        raise ValueError("the matrix has a number that is not finite")


def array_header(file: IO[bytes], size: int) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape in the header of a .npy file of `size` bytes, which must be large enough."""
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, kind = read(file)
        sides = [int(side) for side in shape]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(f"its header cannot be read ({type(error).__name__})") from None
    if kind.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    needed = int(kind.itemsize)
    for side in sides:
        needed *= side
    if kind.itemsize == 0 or min(sides, default=0) < 0 or needed > size - file.tell():
        raise ValueError(f"its header claims type {kind} and shape {shape}: the file is smaller")
    return kind, tuple(sides)


def own_path(folder: os.PathLike | str, name: str) -> str:
    """The path of a regular file in a run folder. Raises OSError; ValueError if it leads out."""
    path, home = os.path.join(folder, name), os.path.realpath(folder)
    real = os.path.realpath(path, strict=True)
    if not real.startswith(home + os.sep):
        raise ValueError("it leads out of the run folder, and such links are not followed")
    if not os.path.isfile(real):
        raise ValueError("it is no file")
    return path


def _parts(value: Any, at: str, kinds: dict[str, Any]) -> dict[str, Any]:
    """The dict, if it has these keys with values of these types."""
    _is(value, dict, at.rstrip(".: ") or "it")
    for name, kind in kinds.items():
        if name not in value:
            raise ValueError(f"{at}{name} is missing")
        _is(value[name], kind, at + name)
    return value


def _is(value: Any, kind: Any, name: str) -> Any:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        raise ValueError(f"{name} = {_short(value)}: allowed is {names}")
    if isinstance(value, str):
        _within(len(value), 0, MOST_TEXT, f"the length of {name}")
        _encodable(value, name)
    elif isinstance(value, NUMBER) and not abs(value) <= MOST_NUMBER:  # nan, too
        raise ValueError(f"{name} = {_short(value)}: allowed is up to {MOST_NUMBER}")
    return value


def _encodable(value: str, name: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds half a character, a surrogate") from None


def _each(values: Any, kind: Any, name: str) -> None:
    floats = isinstance(kind, tuple) and float in kind
    for value in values:
        if not (floats and type(value) is float and abs(value) <= MOST_NUMBER):  # most of them are
            _is(value, kind, f"a value of {name}")


def _within(value: int, low: int, high: int, name: str) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} = {_short(value)}: allowed is {low} to {high}")


def _short(value: Any) -> str:
    """A value for a message, without the repr of long or deep ones."""
    if isinstance(value, (list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
    return text if len(text) <= 60 else text[:59] + "…"
