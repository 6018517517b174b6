"""From the folders of one or two runs to a recording, which grows while they train.

    recorder = RecordingWriter(RunFolder("runs/mixnn"), RunFolder("runs/ce"))
    recorder.to_bytes()  # the whole recording so far
    recorder.update()  # the bytes that the epochs written since then append to it

README.md of this folder describes the layout; engine/reports/reader.py reads it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import __version__
from engine.analysis.label_evidence import RunEpoch, epoch_history
from engine.analysis.label_outcomes import LabelOutcome, outcome_counts, outcomes
from engine.analysis.statistics import CONFIDENCE
from engine.embedding import projection
from engine.embedding.maps import read_map
from engine.errors import StoreError
from engine.reports import layout
from engine.reports.images import sprite_sheet
from engine.reports.names import public_name, titles
from engine.reports.network import network_block
from engine.runs.folder import RunFolder

if TYPE_CHECKING:
    from engine.data import Data

MOST_SAMPLES = 5000
MOST_NEIGHBORS, LEAST_NEIGHBORS = 20, 5
NEIGHBOR_BYTES = 8_000_000  # of one run before compression; a neighbor and its weight take 3
CURVES = ("test_accuracy", "memorized")  # metrics that the player draws over the epochs
ENDED = ("done", "stopped", "failed", "interrupted")


class RecordingWriter:
    """The recording of one run or of two that are compared; `update` appends what is new.

    runs: with the same data set, otherwise StoreError is raised. data: that data set, for the
    images; None records none. seeds: by run, other seeds of it, of which only curves are recorded,
    up to their last epoch now.
    """

    def __init__(
        self,
        *runs: RunFolder,
        data: "Data | None" = None,
        seeds: Sequence[Sequence[RunFolder]] = (),
    ):
        if not 1 <= len(runs) <= 2:
            raise StoreError(f"{len(runs)} runs: a recording has one or two")
        self.runs = runs
        _require_comparable(*runs, *(run for others in seeds for run in others))
        self.samples = recorded_samples(runs[0])
        self._recorders = [_RunRecorder(run, self.samples) for run in runs]
        self._chunks = [layout.prologue(), *self._start(data)]
        for number, others in enumerate(seeds):
            if others:
                block = layout.json_bytes(_curves(number, others))
                self._chunks.append(layout.block(layout.SEEDS, block))
        self.update()

    def update(self) -> bytes:
        """Append the epochs on disk that are not recorded yet; returns the bytes appended.

        What was written before does not change. Raises StoreError.
        """
        n_before, first = len(self._chunks), self._recorders[0]
        for number, recorder in enumerate(self._recorders):
            start = None if recorder is first else first.first_layout
            for block in recorder.new_blocks(number, start):
                self._chunks.append(block)  # at once: an error in a later epoch loses none
        return b"".join(self._chunks[n_before:])

    def to_bytes(self) -> bytes:
        """The whole recording up to the last `update`."""
        return b"".join(self._chunks)

    def _start(self, data: "Data | None") -> list[bytes]:
        """The blocks before the first epoch."""
        run, labels = self.runs[0], self.runs[0].labels
        info, n = run.info["data"], len(self.samples)
        kind = layout.label_type(len(info["classes"]))
        truth_known = all("true" in run.labels for run in self.runs)
        head: dict[str, Any] = {
            "version": __version__,
            "dataset": {
                "name": public_name(run.config.dataset),
                **{k: info[k] for k in ("n", "n_test", "shape", "classes", "fingerprint", "notes")},
            },
            "n_samples": n,
            "truth_known": truth_known,
            "images": None,
            "loss_range": layout.LOSS_RANGE,
            "runs": [
                {"name": recorder.run.folder.name, "title": title, **recorder.described()}
                for recorder, title in zip(self._recorders, titles(*self.runs), strict=True)
            ],
        }
        if "ids" in labels:
            head["ids"] = labels["ids"][self.samples].tolist()
        blocks = []
        if data is not None:
            content, head["images"] = sprite_sheet(data, self.samples)
            blocks = [layout.block(layout.IMAGES, content)]
        given = np.stack([run.labels["given"][self.samples] for run in self.runs]).astype(kind)
        arrays = {"samples": self.samples.astype(np.uint32), "given": given}
        if truth_known:
            arrays["true"] = labels["true"][self.samples].astype(kind)
        return [
            layout.block(layout.HEAD, layout.json_bytes(head)),
            layout.block(layout.DATA, layout.pack({}, arrays)),
            *blocks,
        ]


class _RunRecorder:
    """One run of a recording, and what of its last recorded epoch the next one needs."""

    def __init__(self, run: RunFolder, samples: np.ndarray):
        self.run, self.samples = run, samples
        self.n_epochs = 0  # recorded
        self.before: dict[str, np.ndarray] = {}  # arrays of the last epoch recorded
        self.layout: np.ndarray | None = None  # its map by PCA
        self.first_layout: np.ndarray | None = None
        self.ended = ""
        self.places = np.full(run.info["data"]["n"], layout.NO_PLACE, np.uint16)
        self.places[samples] = np.arange(len(samples))
        self.most_neighbors = most_neighbors(run, len(samples))
        self.has_maps = has_maps(run)

    def described(self) -> dict[str, Any]:
        """The run's part of the header."""
        info, epochs, config = self.run.info, epoch_history(self.run, -1), self.run.config
        parent = info["parent"] and {
            "run": Path(info["parent"]["run"]).name,
            "epoch": info["parent"]["epoch"],
        }
        return {
            "method": config.method,
            "settings": info["config"] | {"dataset": public_name(config.dataset)},
            "parent": parent,
            "first_epoch": epochs[0].record["epoch"] if epochs else info["first_epoch"],
            "epochs_planned": config.epochs,
            "n_neighbors": self.most_neighbors,
            "map": "UMAP" if self.has_maps else "PCA",
            **{k: info[k] for k in _PROVENANCE},
        }

    def new_blocks(self, number: int, start: np.ndarray | None) -> Iterator[bytes]:
        """The blocks of the epochs since the last call. start: a map to align the first one to."""
        state = self.run.status  # before the records: a run that has ended gets no further epoch
        epochs = epoch_history(self.run, len(self.run.epochs) - 1)
        for epoch in epochs[self.n_epochs :]:
            record, arrays = self._epoch(epoch, start)
            payload = layout.pack({"run": number, **record}, arrays, self.before)
            # the map has a box of its own in each epoch
            self.before = {k: v for k, v in arrays.items() if k != "map"}
            self.n_epochs += 1
            yield layout.block(layout.EPOCH, payload)
        if state["state"] in ENDED and state["state"] != self.ended:
            self.ended = state["state"]
            if network := network_block(self.run, number):
                yield network
            end = {"run": number, "state": self.ended, "message": state["message"]}
            yield layout.block(layout.DONE, layout.json_bytes(end))

    def _epoch(
        self, epoch: RunEpoch, start: np.ndarray | None
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The record and the arrays of one epoch."""
        run, row, samples = epoch.run, epoch.row, self.samples
        n_classes = len(run.info["data"]["classes"])
        kind = layout.label_type(n_classes)
        soft = run.row("soft", row)
        current = soft.argmax(1)
        chosen = current[samples]
        arrays = {
            "loss": layout.loss_codes(run.row("loss", row)[samples]),
            **{
                name: layout.share_codes(run.row(name, row)[samples])
                for name in ("scaled_loss", "clean", "confidence")
            },
            "prediction": run.row("prediction", row)[samples].astype(kind),
            "corrected": chosen.astype(kind),
            "soft_weight": layout.share_codes(soft[samples, chosen]),
            **self._mixing(run, row),
        }
        counts = outcome_counts(outcomes(run.labels["given"], run.labels.get("true"), current))
        possible = LabelOutcome.possible("true" in run.labels)
        record = {key: epoch.record[key] for key in _RECORD}
        record["outcomes"] = {outcome.word: counts[outcome] for outcome in possible}
        arrays["map"], record["box"] = layout.map_codes(self._positions(epoch, start))
        return record, arrays

    def _mixing(self, run: RunFolder, row: int) -> dict[str, np.ndarray]:
        """The recorded neighbors and their weights; none where the epoch mixed nothing."""
        neighbors, _, weights = (values[self.samples] for values in run.mixing_of(row))
        k = min(neighbors.shape[1], self.most_neighbors)
        if k == 0:
            return {}
        if k < neighbors.shape[1]:  # those of the largest weights, the nearest first
            heaviest = np.argsort(-weights[:, 1:], axis=1, kind="stable")[:, :k]
            kept = np.sort(heaviest, axis=1)
            neighbors = np.take_along_axis(neighbors, kept, 1)
            own, others = weights[:, :1], np.take_along_axis(weights[:, 1:], kept, 1)
            weights = np.concatenate([own, others], axis=1)
        return {"neighbors": self.places[neighbors], "weights": layout.share_codes(weights)}

    def _positions(self, epoch: RunEpoch, start: np.ndarray | None) -> np.ndarray:
        """(n, 2), nan for samples whose features were not stored."""
        panel = epoch.run.labels["panel"]
        points = None
        if self.has_maps:
            points = read_map(epoch.run.folder, 2, epoch.record["epoch"])
        if points is None or len(points) != len(panel):
            before = start if self.layout is None else self.layout
            if before is not None and len(before) != len(panel):
                before = None  # another panel
            features = epoch.run.row("panel_features", epoch.row)
            points = self.layout = projection.pca(features, 2, before)
            if self.first_layout is None:
                self.first_layout = points
        places = self.places[panel]
        recorded = places != layout.NO_PLACE
        positions = np.full((len(self.samples), 2), np.nan, np.float32)
        positions[places[recorded]] = points[recorded]
        return positions


_PROVENANCE = (
    "network", "precision", "device", "created", "machine", "rate_requested", "rate_actual",
)  # fmt: skip
_RECORD = (
    "epoch", "phase", "n_neighbors", "settings", "metrics", "mixture", "seconds",
)  # fmt: skip


def recorded_samples(run: RunFolder) -> np.ndarray:
    """The samples that are recorded, (n,) int64, ascending: all up to MOST_SAMPLES, else as many of
    the panel at most.
    """
    n, panel = run.info["data"]["n"], run.labels["panel"].astype(np.int64)
    if n <= MOST_SAMPLES:
        return np.arange(n)
    if len(panel) <= MOST_SAMPLES:
        return panel
    return panel[np.linspace(0, len(panel) - 1, MOST_SAMPLES).astype(np.int64)]


def most_neighbors(run: RunFolder, n_samples: int) -> int:
    """How many neighbors of a sample are recorded at most."""
    affordable = NEIGHBOR_BYTES // (3 * n_samples * run.config.epochs)
    return min(max(affordable, LEAST_NEIGHBORS), MOST_NEIGHBORS)


def _curves(number: int, others: Sequence[RunFolder]) -> dict[str, Any]:
    """The metrics of the other seeds of a run, by epoch, for JSON; see README.md.

    number: of the run that is shown in full.
    """
    from scipy.special import stdtrit  # late: importing SciPy takes a while

    half = (1 + CONFIDENCE) / 2
    return {
        "run": number,
        "quantiles": [float(stdtrit(df, half)) for df in range(1, len(others) + 1)],
        "seeds": [
            {
                "name": run.folder.name,
                "seed": run.config.seed,
                "epochs": [record["epoch"] for record in run.epochs],
                "metrics": {
                    name: [record["metrics"].get(name) for record in run.epochs] for name in CURVES
                },
            }
            for run in others
        ],
    }


def has_maps(run: RunFolder) -> bool:
    """Whether the run has ended and each epoch has a UMAP: maps of two kinds would jump."""
    if run.status["state"] not in ENDED:
        return False
    epochs = epoch_history(run, len(run.epochs) - 1)
    maps = (read_map(epoch.run.folder, 2, epoch.record["epoch"]) for epoch in epochs)
    return bool(epochs) and all(layout is not None for layout in maps)


def _require_comparable(first: RunFolder, *others: RunFolder) -> None:
    """Raises StoreError unless all runs have the same data set and true labels."""
    for other in others:
        same = all(
            first.info["data"][key] == other.info["data"][key]
            for key in ("fingerprint", "n", "classes")
        )
        one, two = first.labels.get("true"), other.labels.get("true")
        if one is not None and two is not None:
            same = same and np.array_equal(one, two)
        if not same:
            raise StoreError(
                f"{first.folder.name} and {other.folder.name} have different data sets "
                f"({first.config.dataset} and {other.config.dataset}): a recording compares two "
                "runs on the same one"
            )
