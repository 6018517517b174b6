"""A recording says what the run folders say, within the stated quantization, and only grows."""

import io
import shutil
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from engine.data import load_data
from engine.data.images import open_image
from engine.embedding import projection
from engine.embedding.maps import map_file
from engine.errors import StoreError
from engine.reports import layout, recording
from engine.reports.reader import Recording, read_recording
from engine.reports.recording import RecordingWriter
from engine.runs.folder import RunFolder
from engine.runs.predictor import load_predictor
from engine.runs.runner import Runner
from tests.conftest import blobs, quick, quick_digits
from tests.records import keep_epochs, read_records
from tests.reports.conftest import probabilities

SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "digits.recording"


@pytest.fixture(scope="module")
def runs(pair) -> tuple[RunFolder, ...]:
    return tuple(RunFolder(folder) for folder in pair)


@pytest.fixture(scope="module")
def content(runs) -> bytes:
    return RecordingWriter(*runs, data=load_data(runs[0].config)).to_bytes()


@pytest.fixture(scope="module")
def read(content) -> Recording:
    return read_recording(content)


def test_numbers_are_those_of_the_run_folders(runs, read):
    for number, run in enumerate(runs):
        assert len(read.epochs[number]) == len(run.epochs) == 6
        for row, epoch in enumerate(read.epochs[number]):
            soft = run.array("soft")[row]
            corrected = soft.argmax(1)
            expected = {name: run.array(name)[row] for name in ("scaled_loss", "clean")}
            expected |= {"confidence": run.array("confidence")[row], "soft_weight": soft.max(1)}
            for name, values in expected.items():
                assert np.abs(epoch.values(name) - values).max() <= 0.5 / 255 + 1e-6, name
            loss = run.array("loss")[row].clip(*read.head["loss_range"])
            assert np.abs(epoch.values("loss") / loss - 1).max() <= 0.028
            np.testing.assert_array_equal(epoch.values("prediction"), run.array("prediction")[row])
            np.testing.assert_array_equal(epoch.values("corrected"), corrected)
            k = run.epochs[row]["n_neighbors"]
            assert ("neighbors" in epoch.codes) == (k > 0)
            if k:
                neighbors, _, weights = run.mixing_of(row)
                np.testing.assert_array_equal(epoch.values("neighbors"), neighbors)
                assert np.abs(epoch.values("weights") - weights).max() <= 0.5 / 255 + 1e-6


def test_records_labels_and_provenance_are_those_of_the_run_folders(runs, read):
    for number, run in enumerate(runs):
        np.testing.assert_array_equal(read.given[number], run.labels["given"])
        np.testing.assert_array_equal(read.true, run.labels["true"])
        for record, epoch in zip(read_records(run.folder), read.epochs[number], strict=True):
            assert {key: epoch.record[key] for key in record} == record
        given, true = run.labels["given"], run.labels["true"]
        now = read.epochs[number][-1].values("corrected")
        counts = Counter(zip((given == true).tolist(), (now == true).tolist(), strict=True))
        outcomes = read.epochs[number][-1].record["outcomes"]
        assert outcomes["clean"] == counts[True, True]
        assert outcomes["harmed"] == counts[True, False]
        assert outcomes["corrected"] == counts[False, True]
        assert outcomes["missed"] + outcomes["changed"] == counts[False, False]
        described = read.head["runs"][number]
        assert described["settings"] == run.info["config"]
        assert described["machine"] == run.info["machine"]
        assert read.ended[number] == {"run": number, "state": "done", "message": ""}
    assert [run["title"] for run in read.head["runs"]] == ["cross-entropy", "MixNN"]


def test_the_map_is_pca_with_equal_distances_between_samples(runs, read):
    for number, run in enumerate(runs):
        for row, epoch in enumerate(read.epochs[number]):
            points = epoch.values("map")
            pca = projection.pca(run.array("panel_features")[row])
            apart, expected = (np.linalg.norm(p[:, None] - p, axis=2) for p in (points, pca))
            step = epoch.record["box"][2] / layout.MAP_STEPS
            assert np.abs(apart - expected).max() <= 2 * step + 1e-4 * expected.max()


def test_the_map_of_a_second_run_is_turned_to_the_first(runs, tmp_path):
    other = dict(seed=3, noise_seed=1, epochs=2)
    Runner.new(quick_digits(**other), tmp_path / "other").run()
    read = read_recording(RecordingWriter(runs[0], RunFolder(tmp_path / "other")).to_bytes())
    first, second = (epochs[0].values("map").astype(np.float64) for epochs in read.epochs)
    first, second = first - first.mean(0), second - second.mean(0)
    # orthogonal Procrustes: no rotation brings it closer where the product is symmetric, positive
    product = second.T @ first
    assert abs(product[0, 1] - product[1, 0]) <= 1e-3 * np.abs(product).max()
    assert np.linalg.eigvalsh((product + product.T) / 2).min() >= 0


def test_maps_of_the_run_folder_are_taken(pair, tmp_path):
    folder = Path(shutil.copytree(pair[1], tmp_path / "run"))
    layouts = np.random.default_rng(0).normal(size=(6, 200, 2)).astype(np.float32)
    for epoch, points in enumerate(layouts):
        map_file(folder, 2, epoch).parent.mkdir(parents=True, exist_ok=True)
        np.save(map_file(folder, 2, epoch), points)
    read = read_recording(RecordingWriter(RunFolder(folder)).to_bytes())
    assert read.head["runs"][0]["map"] == "UMAP"
    for points, epoch in zip(layouts, read.epochs[0], strict=True):
        step = epoch.record["box"][2] / layout.MAP_STEPS
        assert np.abs(epoch.values("map") - points).max() <= step


def test_images_of_the_sheet_are_those_of_the_samples(runs, read):
    about = read.head["images"]
    with open_image(io.BytesIO(read.images)) as sheet:
        pixels = np.asarray(sheet)
    images = load_data(runs[0].config).images[:, 0].numpy()
    for place, sample in enumerate(read.samples.tolist()):
        row, column = divmod(place, about["columns"])
        y, x = row * about["height"], column * about["width"]
        cell = pixels[y : y + about["height"], x : x + about["width"]]
        np.testing.assert_array_equal(cell, images[sample])


def test_the_networks_say_what_those_of_the_runs_say(runs, read, tmp_path):
    images = load_data(runs[0].config).images[:40].numpy().astype(np.float32)
    mixed = 0.4 * images[:20] + 0.6 * images[20:]
    for run, network in zip(runs, read.networks, strict=True):
        answer = load_predictor(run, network[0]["epoch"]).predict_proba(mixed)[0]
        assert np.abs(probabilities(network, mixed) - answer).max() < 0.01  # float16
    # what cannot be computed or read leaves the recording without a network
    folder = Path(shutil.copytree(runs[0].folder, tmp_path / "damaged"))
    (folder / "states" / "5.pt").write_bytes(b"no network")
    assert read_recording(RecordingWriter(RunFolder(folder)).to_bytes()).networks == [None]


def test_a_recording_grows_without_changing_what_was_written(pair, tmp_path, content):
    folders = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in pair]
    lines = [(folder / "epochs.jsonl").read_text() for folder in folders]
    for folder, n_epochs in zip(folders, (2, 0), strict=True):
        keep_epochs(folder, n_epochs)
    runs = [RunFolder(folder) for folder in folders]
    recorder = RecordingWriter(*runs, data=load_data(runs[0].config))
    start = recorder.to_bytes()
    for folder, text in zip(folders, lines, strict=True):
        (folder / "epochs.jsonl").write_text(text)
    appended = recorder.update()
    assert recorder.update() == b""
    assert recorder.to_bytes() == start + appended
    whole, grown = read_recording(content), read_recording(start + appended)
    for one, other in zip(whole.epochs, grown.epochs, strict=True):
        assert len(one) == len(other) == 6
        for first, second in zip(one, other, strict=True):
            assert first.record == second.record
            for name, values in first.codes.items():
                np.testing.assert_array_equal(values, second.codes[name], err_msg=name)


def test_a_part_of_a_recording_has_the_epochs_that_are_whole(content):
    at, ends = 16, []
    while at < len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        ends += [at + 8 + length] if kind == b"EPOC" else []
        at += -(-(8 + length) // 8) * 8
    assert len(ends) == 12
    for n_bytes in np.linspace(ends[0] - 1, len(content), 40).astype(int).tolist():
        epochs = read_recording(content[:n_bytes]).epochs
        assert sum(map(len, epochs)) == sum(end <= n_bytes for end in ends)
    with pytest.raises(StoreError, match="does not begin with HEAD"):
        read_recording(content[:40])


def test_unknown_blocks_are_skipped_and_unknown_versions_refused(content):
    more = content + layout.block(b"NEWS", b"of a later version")
    assert len(read_recording(more).epochs[0]) == 6
    newer = content[:8] + struct.pack("<I", 3) + content[12:]
    with pytest.raises(StoreError, match="version 3: this software reads version 2"):
        read_recording(newer)
    with pytest.raises(StoreError, match="no recording"):
        read_recording(b"<!doctype html>" * 10)


def test_a_damaged_recording_is_refused(content):
    kinds = list(layout.blocks(content))
    epoch = next(payload for kind, payload in kinds if kind == layout.EPOCH)
    for broken in (b"", b"x" * 50, epoch[:-9], zlib.compress(b"\xff\xff\xff\xff{}")):
        start = b"".join(layout.block(*pair) for pair in kinds[:2])
        with pytest.raises(StoreError, match="damaged"):
            read_recording(layout.prologue() + start + layout.block(layout.EPOCH, broken))


def test_beyond_the_limit_the_panel_is_recorded(tmp_path, monkeypatch):
    Runner.new(quick(k=3, panel_size=40), tmp_path / "run", data=blobs()).run()
    run = RunFolder(tmp_path / "run")
    monkeypatch.setattr(recording, "MOST_SAMPLES", 50)
    monkeypatch.setattr(recording, "MOST_NEIGHBORS", 2)
    read = read_recording(RecordingWriter(run).to_bytes())
    np.testing.assert_array_equal(read.samples, run.labels["panel"])
    assert read.head["images"] is None
    assert read.images is None
    for row, epoch in enumerate(read.epochs[0]):
        assert epoch.codes["map"].max() <= layout.MAP_STEPS
        if not run.epochs[row]["n_neighbors"]:
            continue
        neighbors, _, weights = (values[read.samples] for values in run.mixing_of(row))
        for place, places in enumerate(epoch.codes["neighbors"].tolist()):
            kept = np.sort(np.argsort(-weights[place, 1:], kind="stable")[:2])
            for there, rank in zip(places, kept, strict=True):
                sample = neighbors[place, rank]
                known = sample in read.samples
                assert known == (there != layout.NO_PLACE)
                assert not known or read.samples[there] == sample
            expected = weights[place, [0, *kept + 1]]
            assert np.abs(epoch.values("weights")[place] - expected).max() <= 0.5 / 255 + 1e-6
    monkeypatch.setattr(recording, "MOST_SAMPLES", 20)
    fewer = read_recording(RecordingWriter(run).to_bytes()).samples
    assert len({*fewer.tolist()} & {*run.labels["panel"].tolist()}) == 20


def test_a_fork_begins_with_the_epochs_of_its_parent(pair, tmp_path):
    Runner.fork(pair[1], 2, tmp_path / "fork", k=2).run()
    read = read_recording(RecordingWriter(RunFolder(tmp_path / "fork")).to_bytes())
    assert [epoch.record["epoch"] for epoch in read.epochs[0]] == list(range(6))
    assert read.head["runs"][0]["first_epoch"] == 0
    assert read.head["runs"][0]["parent"] == {"run": pair[1].name, "epoch": 2}
    for row, epoch in enumerate(read.epochs[0][3:]):  # with another K than the epoch before
        neighbors = RunFolder(tmp_path / "fork").mixing_of(row)[0]
        np.testing.assert_array_equal(epoch.codes["neighbors"], neighbors)
    whole = read_recording(RecordingWriter(RunFolder(pair[1])).to_bytes())
    for epoch in range(3):
        for name, values in whole.epochs[0][epoch].codes.items():
            np.testing.assert_array_equal(read.epochs[0][epoch].codes[name], values)


def test_runs_on_different_data_are_not_compared(runs, tmp_path):
    Runner.new(quick(epochs=1), tmp_path / "other", data=blobs()).run()
    with pytest.raises(StoreError, match="different data sets"):
        RecordingWriter(runs[0], RunFolder(tmp_path / "other"))
    with pytest.raises(StoreError, match="one or two"):
        RecordingWriter(*runs, *runs)


def test_the_shipped_recording_tells_the_story():
    content = SHIPPED.read_bytes()
    assert len(content) <= 1_500_000
    read = read_recording(content)
    assert [run["method"] for run in read.head["runs"]] == ["ce", "mixnn"]
    assert {run["settings"]["rate"] for run in read.head["runs"]} == {0.4}
    plain, mixnn = (epochs[-1].record["metrics"] for epochs in read.epochs)
    assert [len(epochs) for epochs in read.epochs] == [30, 30]
    assert plain["memorized"] > 0.99
    assert plain["test_accuracy"] < 0.8
    assert mixnn["test_accuracy"] > 0.95
    assert mixnn["label_accuracy"] > 0.97
