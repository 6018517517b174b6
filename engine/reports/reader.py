"""Reads a recording in Python, as the player does in the browser."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.errors import StoreError
from engine.reports import layout


@dataclass(frozen=True, eq=False)
class RecordedEpoch:
    """One epoch of one run."""

    record: dict[str, Any]
    codes: dict[str, np.ndarray]  # as stored, see README.md

    def values(self, name: str) -> np.ndarray:
        """An array in its own unit: float32 for shares, losses and the map, else as stored."""
        codes = self.codes[name]
        if name == "map":
            return layout.map_values(codes, self.record["box"])
        if name == "loss":
            return layout.loss_values(codes)
        return codes / np.float32(255) if name in layout.SHARES else codes


@dataclass(eq=False)
class Recording:
    """What a recording contains. n samples, R runs."""

    head: dict[str, Any]
    samples: np.ndarray  # (n,) uint32, their rows of the data set
    given: np.ndarray  # (R, n) labels
    true: np.ndarray | None  # (n,) labels
    images: bytes | None = None  # a PNG or WebP file
    epochs: list[list[RecordedEpoch]] = field(default_factory=list)  # by run
    ended: list[dict[str, Any] | None] = field(default_factory=list)  # by run: state and message
    seeds: list[list[dict[str, Any]]] = field(default_factory=list)  # by run: curves of other seeds
    # by run: the record and the arrays of its network after the last epoch, float16 as uint16
    networks: list[tuple[dict[str, Any], dict[str, np.ndarray]] | None] = field(
        default_factory=list
    )


def read_recording(content: bytes) -> Recording:
    """Read a recording, also one that is still growing. Raises StoreError."""
    parts = layout.blocks(content)
    start = [next(parts, (b"", b"")) for _ in range(2)]
    if [kind for kind, _ in start] != [layout.HEAD, layout.DATA]:
        raise StoreError("the recording is damaged: it does not begin with HEAD and DATA")
    head, arrays = layout.read_json_bytes(start[0][1]), layout.unpack(start[1][1])[1]
    n_runs = len(head["runs"])
    recording = Recording(
        head,
        arrays["samples"],
        arrays["given"],
        arrays.get("true"),
        epochs=[[] for _ in range(n_runs)],
        ended=[None] * n_runs,
        seeds=[[] for _ in range(n_runs)],
        networks=[None] * n_runs,
    )
    for kind, payload in parts:
        if kind == layout.IMAGES:
            recording.images = payload
        elif kind == layout.EPOCH:
            before = [epochs[-1].codes if epochs else {} for epochs in recording.epochs]
            record, codes = layout.unpack(payload, before)
            recording.epochs[record["run"]].append(RecordedEpoch(record, codes))
        elif kind == layout.SEEDS:
            block = layout.read_json_bytes(payload)
            recording.seeds[block["run"]] = block["seeds"]
        elif kind == layout.NETWORK:
            weights = layout.unpack(payload)
            recording.networks[weights[0]["run"]] = weights
        elif kind == layout.DONE:
            end = layout.read_json_bytes(payload)
            recording.ended[end["run"]] = end
    return recording
