"""Run folders of strangers and damaged ones: refused with a reason, and nothing is executed."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine.analysis.summary import summary
from engine.embedding.maps import embedded_epochs, map_file, read_map
from engine.errors import StoreError
from engine.files import read_json
from engine.runs import schema
from engine.runs.folder import RunFolder
from engine.runs.predictor import load_predictor
from engine.runs.runner import Runner
from engine.runs.schema import ARRAYS
from tests.conftest import blobs, quick
from tests.poison import IN_ARRAYS, IN_LABELS, IN_ROWS, IN_STATES, POISONS


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "run"
    Runner.new(quick(epochs=3, state_interval=1, k=2), folder, data=blobs()).run()
    return folder


@pytest.fixture
def folder(good, tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNN_TEST_MARK", str(tmp_path / "executed"))
    shutil.copytree(good, tmp_path / "poisoned")
    yield tmp_path / "poisoned"
    assert not (tmp_path / "executed").exists()


def test_a_good_folder_is_read_whole(good):
    run = RunFolder(good)
    assert run.status["state"] == "done"
    assert run.checkpoints() == [0, 1, 2]
    for name in ARRAYS:
        assert len(run.array(name)) == 3
    assert load_predictor(run, 2).epoch == 2
    summary(run)


@pytest.mark.parametrize("kind", POISONS)
def test_a_poisoned_description_is_refused_with_a_sentence(kind, folder):
    POISONS[kind](folder)

    def read():
        run = RunFolder(folder)
        run.status, run.epochs, run.config  # noqa: B018
        summary(run)

    with pytest.raises(StoreError) as caught:
        read()
    assert "poisoned" in str(caught.value)
    assert 20 < len(str(caught.value)) < 1000
    assert "root:" not in str(caught.value)


@pytest.mark.parametrize("kind", IN_LABELS)
def test_poisoned_labels_are_refused_before_they_are_loaded(kind, folder):
    IN_LABELS[kind](folder)
    with pytest.raises(StoreError, match=r"labels\.npz cannot be read: "):
        RunFolder(folder).labels  # noqa: B018


@pytest.mark.parametrize("kind", IN_ARRAYS)
def test_poisoned_arrays_are_refused(kind, folder):
    IN_ARRAYS[kind](folder)
    run, refused = RunFolder(folder), []
    for name in ARRAYS:
        try:
            np.array(run.array(name))
        except StoreError:
            refused.append(name)
    assert refused == (list(ARRAYS) if kind == "arrays lead out" else [kind.split()[0]])


@pytest.mark.parametrize("kind", IN_ROWS)
def test_rows_that_name_what_is_not_there_are_refused(kind, folder):
    IN_ROWS[kind](folder)
    run, name = RunFolder(folder), kind.split()[0]
    with pytest.raises(StoreError, match=f"array {name} has "):
        run.sample(3)
    with pytest.raises(StoreError, match=f"array {name} has "):
        run.check_ids(name, np.array(run.array(name)[-1]))


@pytest.mark.parametrize("kind", IN_STATES)
def test_poisoned_networks_are_refused_and_never_unpickled(kind, folder):
    IN_STATES[kind](folder)
    run = RunFolder(folder)
    if kind == "state names":
        assert run.checkpoints() == [0, 1, 2]
        return
    with pytest.raises(StoreError):
        load_predictor(run, 1)


def test_a_state_of_another_network_is_refused(folder, tmp_path):
    Runner.new(quick(epochs=1, network="resnet9-w16"), tmp_path / "other", data=blobs()).run()
    shutil.copy(tmp_path / "other" / "states" / "0.pt", folder / "states" / "1.pt")
    with pytest.raises(StoreError, match="no network of its own"):
        load_predictor(RunFolder(folder), 1)


def test_a_json_file_without_end_is_not_read_whole(folder, monkeypatch):
    monkeypatch.setattr("engine.files.MOST_JSON", 10_000)
    (folder / "status.json").write_text('{"state": "' + "x" * 20_000)
    with pytest.raises(StoreError, match="larger than"):
        RunFolder(folder).status  # noqa: B018
    with pytest.raises(StoreError, match="larger than"):
        read_json(folder / "status.json")


def test_a_folder_whose_name_is_not_utf8_says_so(good, tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    shutil.copytree(os.fsencode(good), folder)
    with pytest.raises(StoreError, match=r"caf\\udce9: the folder's name is not UTF-8"):
        RunFolder(os.fsdecode(folder))


def test_maps_that_are_none_are_left_out(folder):
    path = map_file(folder, 2, 1)
    path.parent.mkdir(parents=True)
    for name in ("x.npy", "²3.npy", "99999999999999999999.npy"):
        (path.parent / name).write_bytes(b"")
    assert embedded_epochs(folder, 2) == []
    np.save(path, np.zeros((4, 2), np.float32))
    assert read_map(folder, 2, 1).shape == (4, 2)
    for bad in (np.zeros((4, 3), np.float32), np.full((4, 2), np.nan, np.float32), np.zeros(4)):
        np.save(path, bad)
        assert read_map(folder, 2, 1) is None
    path.unlink()
    path.symlink_to("/etc/hostname")
    assert read_map(folder, 2, 1) is None


def test_the_check_of_a_long_run_takes_little(good):
    run = RunFolder(good)
    records = [record | {"epoch": epoch} for epoch in range(300) for record in run.epochs[:1]]
    start = time.process_time()
    schema.records(records, 0, run.info["k_max"])
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("epochs.jsonl", "status.json", "lock")),
    ],
)
def test_a_pipe_in_a_run_folder_is_not_waited_for(folder, name):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    code = (
        "import sys; from engine.errors import StoreError\n"
        "from engine.runs.folder import RunFolder\n"
        "try: run = RunFolder(sys.argv[1]); run.epochs; print(run.status['state'])\n"
        "except StoreError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    words = ("no file", "no plain file", "no run folder")
    assert output.strip() in ("done", "running") or any(word in output for word in words)


def test_a_json_file_of_endless_lists_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("[" + "[]," * 600_000 + "1]")
    with pytest.raises(StoreError, match="more than 500,000 lists and objects"):
        read_json(path)
