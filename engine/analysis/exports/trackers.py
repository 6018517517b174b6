"""A run in the forms of experiment trackers: curves, histograms, mixed images and features.

TensorBoard, MLflow and Weights & Biases are extras, each written by its own library; `metrics` is a
table for anything else. Epochs are the steps. A fork has the epochs after its parent's.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine.analysis.review import sample_ids
from engine.analysis.sample_history import mixed_image, training_mix
from engine.errors import StoreError
from engine.files import frame_csv, written_whole
from engine.runs.folder import RunFolder
from engine.runs.forks import data_of

MOST_VALUES = 50_000  # of a histogram, evenly spaced samples
MOST_MIXED, MOST_MIXED_EPOCHS = 8, 12  # mixed images per epoch, and epochs that show some
SPRITE_SIDE = 32  # pixels of an image in the projector, at most
HISTOGRAMS = {"loss": "loss", "clean": "P(clean)"}  # array -> name


@dataclass(frozen=True)
class Tracker:
    """A form. suffix: of the file to write; "": a new folder. module: the library it needs."""

    description: str
    suffix: str
    module: str
    write: Callable[["Tracked", Path], None]


class Tracked:
    """What trackers show of a run. Raises StoreError, as `RunFolder` does."""

    def __init__(self, run: RunFolder):
        self.run, self.records = run, run.epochs
        self.settings = {
            key: value
            for key, value in run.config.model_dump(mode="json").items()
            if value is not None
        }
        n = len(run.labels["given"])
        self._shown = np.linspace(0, n - 1, min(n, MOST_VALUES)).round().astype(np.int64)

    @property
    def name(self) -> str:
        """That of the run."""
        return self.run.folder.resolve().name

    def scalars(self, record: dict[str, Any]) -> dict[str, float]:
        """The numbers of an epoch: metrics, settings that may change while training, seconds."""
        groups = {"": record["metrics"], "settings/": record["settings"]}
        groups["seconds/"] = record["seconds"]
        return {
            prefix + name: float(value)
            for prefix, group in groups.items()
            for name, value in group.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }

    def histograms(self, row: int) -> dict[str, np.ndarray]:
        """Losses and P(clean) of up to MOST_VALUES samples after the epoch in a row, finite."""
        found = {}
        for array, name in HISTOGRAMS.items():
            values = self.run.row(array, row)[self._shown]
            if (finite := values[np.isfinite(values)]).size:
                found[name] = finite
        return found

    @cached_property
    def images(self) -> np.ndarray | None:
        """(N, H, W, C) uint8, a view; None for rows of numbers, or where the data are missing."""
        try:
            data = data_of(self.run)
        except StoreError:
            return None
        return None if data.is_rows else data.images.permute(0, 2, 3, 1).numpy()

    def mixed(self) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        """Records of some epochs, and what was trained on: (n, H, 2 W, C) uint8.

        Each is a sample beside its mix with its neighbors. Empty where no samples were mixed.
        """
        rows = [row for row, record in enumerate(self.records) if record["n_neighbors"]]
        if not rows or self.images is None:
            return
        samples = self.run.labels["panel"][:MOST_MIXED]
        chosen = np.linspace(0, len(rows) - 1, min(len(rows), MOST_MIXED_EPOCHS)).round()
        for row in (rows[int(i)] for i in chosen):
            pairs = []
            for sample in samples:
                mix = training_mix(self.run, self.records, row, int(sample))
                image = mixed_image(self.images[mix.parts], mix.weights).round().astype(np.uint8)
                pairs.append(np.concatenate([self.images[sample], image], axis=1))
            yield self.records[row], np.stack(pairs)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Names of columns, and one row per sample of the panel: its id and labels."""
        known, classes = self.run.labels, self.run.info["data"]["classes"]
        panel, ids = known["panel"], sample_ids(self.run)
        last = len(self.records) - 1
        corrected = self.run.row("soft", last)[panel].argmax(1)
        columns = {"id": [_one_line(ids[i]) for i in panel]}
        labels = {"given": known["given"][panel], "corrected": corrected}
        if "true" in known:
            labels["true"] = known["true"][panel]
        columns |= {key: [_one_line(str(classes[c])) for c in of] for key, of in labels.items()}
        columns["P(clean)"] = [f"{p:.3f}" for p in self.run.row("clean", last)[panel]]
        return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def write(run: RunFolder, form: str, path: Path) -> None:
    """Write a run in a form of TRACKERS to path, whole or not at all.

    Raises StoreError where it has no epoch, its files are damaged, the form's library is missing,
    or path is in use.
    """
    tracker = TRACKERS[form]
    if not run.epochs:
        raise StoreError(f"{run.folder} has no epoch yet: there is nothing to export")
    if tracker.suffix and path.suffix.lower() != tracker.suffix:
        raise StoreError(f"{path}: the form {form} is a file that ends with {tracker.suffix}")
    try:
        import_module(tracker.module)
    except ImportError as error:
        raise StoreError(
            f"the form {form} needs {tracker.module}, which cannot be imported ({error}): "
            f"pip install 'mixnn-lab[{tracker.module}]'"
        ) from None
    tracker.write(Tracked(run), path)


def _metrics(tracked: Tracked, path: Path) -> None:
    rows = [
        {"epoch": record["epoch"], "phase": record["phase"]} | tracked.scalars(record)
        for record in tracked.records
    ]
    with written_whole(path) as temporary:
        frame_csv(pd.DataFrame(rows), temporary)


def _tensorboard(tracked: Tracked, path: Path) -> None:
    import torch
    from torch.utils.tensorboard import SummaryWriter

    with written_whole(path) as temporary, SummaryWriter(str(temporary)) as writer:
        text = "\n".join(f"    {key}: {value}" for key, value in tracked.settings.items())
        writer.add_text("settings", text)
        for row, record in enumerate(tracked.records):
            for name, value in tracked.scalars(record).items():
                writer.add_scalar(name, value, record["epoch"])
            for name, values in tracked.histograms(row).items():
                writer.add_histogram(name, values, record["epoch"])
        for record, images in tracked.mixed():
            writer.add_images("sample, mixed", images, record["epoch"], dataformats="NHWC")
        if tracked.run.has("panel_features"):
            features = tracked.run.row("panel_features", len(tracked.records) - 1)
            names, rows = tracked.table()
            sprites = _sprites(tracked)
            writer.add_embedding(
                torch.from_numpy(features.astype(np.float32)),
                metadata=rows,
                metadata_header=names,
                label_img=sprites,
                global_step=tracked.records[-1]["epoch"],
                tag="features",
            )


def _sprites(tracked: Tracked) -> Any:
    """Images of the panel (P, 3, S, S) in [0, 1] for the projector; None where there are none."""
    import torch

    if tracked.images is None:
        return None
    images = torch.from_numpy(tracked.images[tracked.run.labels["panel"]]).permute(0, 3, 1, 2)
    side = min(SPRITE_SIDE, max(images.shape[-2:]))
    small = torch.nn.functional.interpolate(images.float() / 255, (side, side), mode="area")
    return small.expand(-1, 3, -1, -1) if small.shape[1] == 1 else small[:, :3]


def _mlflow(tracked: Tracked, path: Path) -> None:
    """A folder with MLflow's database and the images. It names its own place, so it cannot move."""
    with _new_folder(path):
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        client = MlflowClient(tracking_uri=f"sqlite:///{path.resolve()}/mlflow.db")
        place = (path.resolve() / "artifacts").as_uri()
        experiment = client.create_experiment("MixNN Lab", artifact_location=place)
        run = client.create_run(experiment, run_name=tracked.name).info.run_id
        params = [Param(key, str(value)[:6000]) for key, value in tracked.settings.items()]
        client.log_batch(run, params=params[:100])
        client.log_batch(run, params=params[100:])
        for record in tracked.records:
            numbers = tracked.scalars(record)
            client.log_batch(run, [Metric(k, v, 0, record["epoch"]) for k, v in numbers.items()])
        for record, images in tracked.mixed():
            column = np.concatenate(images)
            client.log_image(run, column, f"mixed/epoch-{record['epoch']:04d}.png")
        client.set_terminated(run)


def _wandb(tracked: Tracked, path: Path) -> None:
    """A folder that `wandb sync` sends; nothing is sent here."""
    with _new_folder(path):
        import wandb

        own = dict(
            x_disable_stats=True,
            x_disable_meta=True,
            disable_git=True,
            disable_code=True,
            console="off",
        )
        settings = wandb.Settings(**own, silent=True)
        run = wandb.init(
            mode="offline",
            dir=path,
            project="mixnn-lab",
            name=tracked.name,
            config=tracked.settings,
            settings=settings,
        )
        try:
            pictures = {record["epoch"]: images for record, images in tracked.mixed()}
            for row, record in enumerate(tracked.records):
                logged: dict[str, Any] = dict(tracked.scalars(record))
                for name, values in tracked.histograms(row).items():
                    logged[name] = wandb.Histogram(values.tolist())
                if record["epoch"] in pictures:
                    logged["sample, mixed"] = wandb.Image(
                        np.concatenate(pictures[record["epoch"]]).squeeze()
                    )
                run.log(logged, step=record["epoch"])
        finally:
            run.finish()
            wandb.teardown()  # waits until all is written


@contextmanager
def _new_folder(path: Path) -> Iterator[None]:
    """Make a folder, and remove it if the block fails. Raises StoreError."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise StoreError(f"{path} exists: name a new folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        shutil.rmtree(path, ignore_errors=True)
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise StoreError(f"{path} cannot be written: {reason}") from error
        raise


def _one_line(text: str) -> str:
    """Without tabs and line breaks, which separate the projector's metadata."""
    return " ".join(text.split()) or "-"


TRACKERS: dict[str, Tracker] = {
    "metrics": Tracker("a table of all epochs", ".csv", "pandas", _metrics),
    "tensorboard": Tracker("a log folder of TensorBoard", "", "tensorboard", _tensorboard),
    "mlflow": Tracker("a database of MLflow with its images", "", "mlflow", _mlflow),
    "wandb-offline": Tracker("an offline run of Weights & Biases", "", "wandb", _wandb),
}
