"""A run in the forms of experiment trackers, opened again by their own libraries."""

import csv
import json
import struct

import numpy as np
import pytest

from engine.analysis.exports import trackers
from engine.cli.parser import main
from engine.config import configure
from engine.errors import StoreError
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    config = configure(dataset="digits", limit=60, epochs=3, warmup=1, correction_start=2, k=3)
    folder = tmp_path_factory.mktemp("trackers") / "small"
    Runner.new(config, folder).run()
    return RunFolder(folder)


def exported(run: RunFolder, form: str, path) -> None:
    assert main(["export", str(run.folder), "--as", form, "--out", str(path)]) == 0


def test_the_table_has_all_numbers_of_all_epochs(run, tmp_path):
    exported(run, "metrics", tmp_path / "m.csv")
    with open(tmp_path / "m.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    for row, record in zip(rows, run.epochs, strict=True):
        for name, value in record["metrics"].items():
            assert row[name] == ("" if value is None else str(float(value))), name
        assert float(row["settings/k"]) == 3


def test_tensorboard_reads_scalars_histograms_images_and_features(run, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    exported(run, "tensorboard", tmp_path / "log")
    log = EventAccumulator(str(tmp_path / "log"), size_guidance={"images": 0, "scalars": 0})
    log.Reload()
    accuracy = [(event.step, event.value) for event in log.Scalars("test_accuracy")]
    expected = [(r["epoch"], r["metrics"]["test_accuracy"]) for r in run.epochs]
    assert accuracy == pytest.approx(np.array(expected))
    last = log.Histograms("loss")[-1]
    losses = run.row("loss", 2)
    assert last.step == 2
    assert last.histogram_value.num == 60
    assert last.histogram_value.max == pytest.approx(losses.max())
    assert last.histogram_value.sum == pytest.approx(losses.sum(), rel=1e-5)
    mixed = [record["epoch"] for record in run.epochs if record["n_neighbors"]]
    assert [event.step for event in log.Images("sample, mixed")] == mixed
    folder = tmp_path / "log" / "00002" / "features"
    assert np.loadtxt(folder / "tensors.tsv") == pytest.approx(
        run.row("panel_features", 2).astype(float), abs=1e-6
    )
    table = (folder / "metadata.tsv").read_text().splitlines()
    assert table[0].split("\t") == ["id", "given", "corrected", "true", "P(clean)"]
    assert [row.split("\t")[1] for row in table[1:]] == [
        run.info["data"]["classes"][c] for c in run.labels["given"][run.labels["panel"]]
    ]
    assert (folder / "sprite.png").exists()


def test_mlflow_reads_settings_and_metrics(run, tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow import MlflowClient

    exported(run, "mlflow", tmp_path / "store")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/store/mlflow.db")
    (found,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert found.data.params["k"] == "3"
    history = client.get_metric_history(found.info.run_id, "test_accuracy")
    expected = [(r["epoch"], r["metrics"]["test_accuracy"]) for r in run.epochs]
    assert sorted((m.step, m.value) for m in history) == expected
    assert list((tmp_path / "store").rglob("epoch-*.png"))


def logged_records(log: bytes):
    """The records of a LevelDB log that begins with seven bytes of wandb's own, by its format:
    blocks of 32 KiB of parts, each with checksum, length and kind (whole, first, middle, last)."""
    place, parts = 7, b""
    while place + 7 <= len(log):
        if 32768 - place % 32768 < 7:  # too short for a header: the rest of a block is zeros
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack_from("<HB", log, place + 4)
        parts += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def test_weights_and_biases_reads_every_epoch(run, tmp_path):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    exported(run, "wandb-offline", tmp_path / "wb")
    (path,) = (tmp_path / "wb").rglob("*.wandb")
    steps = {}
    for raw in logged_records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(raw)
        if record.WhichOneof("record_type") == "history":
            items = {"/".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
            steps[record.history.step.num] = float(json.loads(items["test_accuracy"]))
    assert steps == {r["epoch"]: r["metrics"]["test_accuracy"] for r in run.epochs}


def test_what_cannot_be_written_says_why_and_leaves_nothing(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    monkeypatch.setattr(trackers, "import_module", lambda name: None)
    for form in ("mlflow", "wandb-offline"):
        with pytest.raises(StoreError, match="used .*name a new"):
            trackers.write(run, form, tmp_path / "used")
    with pytest.raises(StoreError, match=r"ends with \.csv"):
        trackers.write(run, "metrics", tmp_path / "m.txt")

    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(trackers, "import_module", missing)
    arguments = ["export", str(run.folder), "--as", "tensorboard", "--out", str(tmp_path / "new")]
    assert main(arguments) == 2
    assert "pip install 'mixnn-lab[tensorboard]'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_a_run_without_its_data_keeps_its_curves(run, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")

    def gone(opened):
        raise StoreError("the images are gone")

    monkeypatch.setattr(trackers, "data_of", gone)
    trackers.write(run, "tensorboard", tmp_path / "log")
    assert (tmp_path / "log" / "00002" / "features" / "tensors.tsv").exists()
    assert not (tmp_path / "log" / "00002" / "features" / "sprite.png").exists()
