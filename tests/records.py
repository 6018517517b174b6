"""The records of a run folder, read and changed by a test without the engine's reader."""

import json
from pathlib import Path
from typing import Any


def read_records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]


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
