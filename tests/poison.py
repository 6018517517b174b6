"""Poisoned run folders: each kind changes a good one so that it must be refused."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.records import as_format_1, read_records, write_records


def _json(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def poison(folder: Path) -> None:
        if name == EPOCHS:
            write_records(folder, change(read_records(folder)))
        else:
            value = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps(change(value)))

    return poison


def _text(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def _set(name: str, *path: str | int, to: Any) -> Callable[[Path], None]:
    def change(value: Any) -> Any:
        inner = value
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to
        return value

    return _json(name, change)


def _link(name: str, target: str) -> Callable[[Path], None]:
    def poison(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to(target)

    return poison


def _old(text: str) -> Callable[[Path], None]:
    """Records of format 1."""

    def poison(folder: Path) -> None:
        as_format_1(folder)
        (folder / "epochs.json").write_text(text)

    return poison


def _labels(**arrays: Any) -> Callable[[Path], None]:
    def poison(folder: Path) -> None:
        with np.load(folder / "labels.npz") as file:
            kept = dict(file)
        np.savez(folder / "labels.npz", **kept | {k: f(kept) for k, f in arrays.items()})

    return poison


def _array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def poison(folder: Path) -> None:
        path = folder / "arrays" / f"{name}.npy"
        np.save(path, change(np.load(path)), allow_pickle=True)

    return poison


def _head(name: str, kind: str, shape: str) -> Callable[[Path], None]:
    """A .npy file whose head claims another type and shape than it holds."""

    def poison(folder: Path) -> None:
        head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
        head = head.ljust(-(-(len(head) + 11) // 64) * 64 - 11) + b"\n"
        raw = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(64)
        if name == "given":
            with zipfile.ZipFile(folder / "labels.npz", "w", zipfile.ZIP_DEFLATED) as archive:
                for member in ("given", "matrix", "panel"):
                    archive.writestr(f"{member}.npy", raw)
        else:
            (folder / "arrays" / f"{name}.npy").write_bytes(raw)

    return poison


class Bomb:
    """Unpickled, it leaves a mark."""

    def __reduce__(self):
        return os.mkdir, (os.environ["MIXNN_TEST_MARK"],)


def _pickled_state(folder: Path) -> None:
    import torch

    for path in (folder / "states").glob("*.pt"):
        torch.save({"model": Bomb()}, path)


DEEP = "[" * 100_000 + "]" * 100_000
CONFIG, EPOCHS, STATUS = "config.json", "epochs.jsonl", "status.json"
POISONS: dict[str, Callable[[Path], None]] = {  # what the run itself is refused for
    "deep config": _text(CONFIG, DEEP),
    "deep epochs": _text(EPOCHS, DEEP + "\n"),
    "deep status": _text(STATUS, DEEP),
    "config a list": _text(CONFIG, "[]"),
    "config a number": _text(CONFIG, "1"),
    "config empty": _text(CONFIG, ""),
    "config not UTF-8": lambda f: (f / CONFIG).write_bytes(b"\xff\xfe{") and None,
    "format a list": _set(CONFIG, "format", to=[1]),
    "format true": _set(CONFIG, "format", to=True),
    "data null": _set(CONFIG, "data", to=None),
    "machine a text": _set(CONFIG, "machine", to="x"),
    "classes a text": _set(CONFIG, "data", "classes", to="abc"),
    "classes numbers": _set(CONFIG, "data", "classes", to=[1] * 10),
    "class half a character": _set(CONFIG, "data", "classes", 0, to="\ud800"),
    "no classes": _set(CONFIG, "data", "classes", to=[]),
    "shape huge": _set(CONFIG, "data", "shape", to=[1, 10**9, 10**9]),
    "n a text": _set(CONFIG, "data", "n", to="many"),
    "n negative": _set(CONFIG, "data", "n", to=-1),
    "rate a list": _set(CONFIG, "rate_actual", to=[0.4]),
    "first epoch huge": _set(CONFIG, "first_epoch", to=10**30),
    "parent itself": _set(CONFIG, "parent", to={"run": "poisoned", "epoch": 0}),
    "parent a text": _set(CONFIG, "parent", to="x"),
    "settings a list": _set(CONFIG, "config", to=[]),
    "settings deep": _set(CONFIG, "config", to={"k": {}}),
    "created a number": _set(CONFIG, "created", to=5),
    "network a list": _set(CONFIG, "network", to=[]),
    "state unknown": _set(STATUS, "state", to="flying"),
    "state a list": _set(STATUS, "state", to=[]),
    "state null": _set(STATUS, "state", to=None),
    "message a number": _set(STATUS, "message", to=7),
    "status a list": _text(STATUS, "[]"),
    "time a text": _set(STATUS, "time", to="now"),
    "record empty": _text(EPOCHS, "{}\n"),
    "record a list": _text(EPOCHS, "[]\n"),
    "records numbers": _text(EPOCHS, "1\n2\n"),
    "records without a line": _text(EPOCHS, "\n"),
    "records of format 1 a dict": _old("{}"),
    "records of format 1 numbers": _old("[1, 2]"),
    "records of format 1 deep": _old(DEEP),
    "records without metrics": _json(EPOCHS, lambda v: [{"epoch": r["epoch"]} for r in v]),
    "epoch a text": _set(EPOCHS, 0, "epoch", to="0"),
    "epoch huge": _set(EPOCHS, 1, "epoch", to=10**23),
    "epochs with a gap": _json(EPOCHS, lambda v: v[::2]),
    "metric a text": _set(EPOCHS, 0, "metrics", "test_accuracy", to="much"),
    "metric nan": _set(EPOCHS, 0, "metrics", "test_accuracy", to=float("nan")),
    "mixture empty": _set(EPOCHS, 0, "mixture", to={}),
    "neighbors too many": _set(EPOCHS, 0, "n_neighbors", to=10**6),
    "seconds a list": _set(EPOCHS, 0, "seconds", to=[]),
    "config leads out": _link(CONFIG, "/etc/hostname"),
    "config a device": _link(CONFIG, "/dev/zero"),
    "epochs lead out": _link(EPOCHS, "/etc/hostname"),
    "status leads out": _link(STATUS, "/etc/hostname"),
}
IN_LABELS = {
    "labels lead out": _link("labels.npz", "/etc/hostname"),
    "labels no zip": _text("labels.npz", "x"),
    "given pickled": _labels(given=lambda kept: np.array([Bomb()] * len(kept["given"]), object)),
    "given too large": _labels(given=lambda kept: kept["given"] + 10**6),
    "given negative": _labels(given=lambda kept: kept["given"] - 10**6),
    "given short": _labels(given=lambda kept: kept["given"][:5]),
    "given texts": _labels(given=lambda kept: kept["given"].astype(str)),
    "true floats": _labels(true=lambda kept: kept["given"] * 1.0),
    "panel outside": _labels(panel=lambda kept: kept["panel"] + 10**6),
    "matrix small": _labels(matrix=lambda kept: np.eye(2)),
    "matrix nan": _labels(matrix=lambda kept: kept["matrix"] * np.nan),
    "ids numbers": _labels(ids=lambda kept: kept["given"]),
    "a foreign array": _labels(other=lambda kept: kept["given"]),
    "given claims a terabyte": _head("given", "<i8", "(137438953472,)"),
    "given without size": _head("given", "<U0", "(3000000000,)"),
    "given head of signs": _head("given", "<i8", "(" + "-" * 5000 + "1,)"),
    "given shape True": _head("given", "<i8", "(True,)"),
}
IN_ARRAYS = {
    "arrays lead out": _link("arrays", "/etc"),
    "loss leads out": _link("arrays/loss.npy", "/etc/hostname"),
    "loss claims a terabyte": _head("loss", "<f4", "(6, 45812984490)"),
    "loss objects": _array("loss", lambda a: np.array([[Bomb()] * a.shape[1]] * len(a), object)),
    "soft of texts": _array("soft", lambda a: a.astype(str)),
    "soft too narrow": _array("soft", lambda a: a[..., :2]),
    "clean too short": _array("clean", lambda a: a[:1]),
    "neighbors doubles": _array("neighbors", lambda a: a.astype(float)),
}
IN_ROWS = {
    "neighbors outside": _array("neighbors", lambda a: a + np.int32(10**6)),
    "prediction negative": _array("prediction", lambda a: a - np.int32(10**6)),
}
IN_STATES = {
    "states lead out": _link("states", "/etc"),
    "state pickled": _pickled_state,
    "state no zip": lambda f: [p.write_bytes(b"x") for p in (f / "states").glob("*.pt")] and None,
    "state names": lambda f: (f / "states" / "²3.pt").write_bytes(b"") and None,
}
