"""Parquet tables of uploads, which only a separate process with limits reads and writes.

    python -m app.server.uploads.parquet '{"name": "labels.parquet", "limits": {...}}' < TABLE

prints the rows as JSON; with "labels", [row, label or null] pairs, the changed table instead.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from app.server.uploads.jobs import ROOT, environment
from app.server.uploads.limits import Limits
from app.server.uploads.safe_zip import UploadError, shown
from engine.data import tables
from engine.errors import DataError

log = logging.getLogger(__name__)
REFUSED = 2  # exit status
COMMAND = [sys.executable, "-m", "app.server.uploads.parquet"]


def read_rows(raw: bytes, name: str) -> tables.Rows:
    """`tables.read_rows`; Parquet is read by a process of its own. Raises DataError."""
    if not _is_parquet(name):
        return tables.read_rows(raw, name)
    rows: tables.Rows = json.loads(_asked(raw, {"name": name}))
    return rows


def changed(raw: bytes, name: str, labels: Mapping[int, str | None]) -> bytes:
    """`tables.changed`; Parquet is written by a process of its own. Raises DataError."""
    if not _is_parquet(name):
        return tables.changed(raw, name, labels)
    return _asked(raw, {"name": name, "labels": list(labels.items())})


def _is_parquet(name: str) -> bool:
    return name.lower().endswith(".parquet")


def _asked(raw: bytes, request: dict[str, Any]) -> bytes:
    """What the process answers. Raises DataError where it fails."""
    limits = Limits.from_environment()
    command = [*COMMAND, json.dumps({"limits": asdict(limits), "name": request["name"]})]
    head = json.dumps(request.get("labels")).encode() + b"\n"
    try:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(),
            input=head + raw,
            capture_output=True,
            check=False,
            timeout=limits.seconds,
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{shown(request['name'])} takes too long to read") from None
    errors = ended.stderr.decode(errors="replace").strip()
    if ended.returncode == REFUSED:
        raise DataError(errors)
    if ended.returncode:
        log.error("reading a table ended with %s: %s", ended.returncode, errors)
        raise DataError(
            f"{shown(request['name'])} cannot be read within the limits of uploads; save it as CSV"
        )
    return ended.stdout


def main(request: dict[str, Any], content: bytes) -> bytes:
    """Read or change one table under limits; content: the labels as a line of JSON, the table."""
    from app.server.uploads.sandbox import confine

    head, _, raw = content.partition(b"\n")
    confine(Limits(**request["limits"]))
    labels = json.loads(head)
    if labels is None:
        rows = tables.read_rows(raw, request["name"])
        return json.dumps(rows, default=lambda value: None).encode()
    return tables.changed(raw, request["name"], dict(labels))


if __name__ == "__main__":
    status = 0
    try:
        sys.stdout.buffer.write(main(json.loads(sys.argv[1]), sys.stdin.buffer.read()))
    except (DataError, UploadError) as error:
        print(error, file=sys.stderr)
        status = REFUSED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # without destructors: Arrow's threads sometimes abort the process at its end
