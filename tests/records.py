"""The records of a run folder, read and changed by a test without the engine's reader."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Of complete lines: a run may be writing the next one."""
    text = (folder / "epochs.jsonl").read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def write_records(folder: Path, records: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "epochs.jsonl").write_text(text)


def keep_epochs(folder: Path, epochs: int) -> None:
    """Cut a run to its first epochs."""
    write_records(folder, read_records(folder)[:epochs])


def as_format_1(folder: Path) -> None:
    """Turn a run folder into one of format 1, whose records are one list."""
    (folder / "epochs.json").write_text(json.dumps(read_records(folder)))
    (folder / "epochs.jsonl").unlink()
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 1}))


def renamed_copy(template: Path, folder: Path, names: Sequence[str]) -> Path:
    """A copy of a run whose classes, notes, warnings and ids have these ten names."""
    shutil.copytree(template, folder)
    info = json.loads((folder / "config.json").read_text())
    info["data"]["classes"] = info["data"]["notes"] = list(names)
    (folder / "config.json").write_text(json.dumps(info))
    records = read_records(folder)
    for record in records:
        record["mixture"]["warning"] = names[0]
    write_records(folder, records)
    with np.load(folder / "labels.npz") as file:
        arrays = dict(file)
    arrays["ids"] = np.array([f"{names[i % 10][:70]} {i}.png" for i in range(len(arrays["given"]))])
    np.savez(folder / "labels.npz", **arrays)
    return folder
