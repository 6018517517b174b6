"""The run folder: whole epochs only, exact values, fast histories, nothing lost."""

import errno
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import ConfigError, StoreError
from engine.files import write_json
from engine.runs import records, writer
from engine.runs.folder import RunFolder
from engine.runs.forks import fork_config
from engine.runs.runner import Runner
from engine.runs.schema import ARRAYS, BY_RANK
from engine.runs.writer import RunWriter
from engine.training.control import Control
from engine.training.train import prepare_state, train
from tests.conftest import blobs, quick
from tests.records import read_records


def write_run(folder: Path, data, **settings) -> list:
    """A whole run on disk, and its snapshots."""
    config = quick(**settings)
    state = prepare_state(config, data)
    writing = RunWriter.create(folder, state)
    snapshots = []
    for snapshot in train(config, data, state=state):
        writing.write(snapshot, state.state_dict())
        snapshots.append(snapshot)
    writing.write_status("done")
    writing.close()
    return snapshots


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "run"
    return folder, write_run(folder, blobs(), k=2)


def test_what_was_written_is_what_is_read(written):
    folder, snapshots = written
    run = RunFolder(folder)
    assert run.status["state"] == "done"
    assert [record["epoch"] for record in run.epochs] == [0, 1, 2, 3, 4]
    for row, snapshot in enumerate(snapshots):
        for name, (kind, _) in ARRAYS.items():
            if name not in BY_RANK:
                expected = getattr(snapshot, name).astype(kind)
                np.testing.assert_array_equal(run.array(name)[row], expected, err_msg=name)
        neighbors, distances, weights = run.mixing_of(row)
        np.testing.assert_array_equal(neighbors, snapshot.neighbors)
        np.testing.assert_array_equal(distances, snapshot.distances)
        np.testing.assert_array_equal(weights, snapshot.weights)
        assert run.epochs[row]["metrics"] == snapshot.metrics
        assert run.epochs[row]["mixture"] == snapshot.mixture


def test_numpy_alone_reads_a_run(written):
    """The layout in the first lines of folder.py, without one of our functions."""
    folder, snapshots = written
    records = read_records(folder)
    with np.load(folder / "labels.npz", allow_pickle=False) as labels:
        assert {"given", "true", "matrix", "matrix_actual", "panel"} <= set(labels)
        assert (labels["given"] != labels["true"]).any()
    last, k = len(records) - 1, records[-1]["n_neighbors"]
    soft = np.load(folder / "arrays" / "soft.npy")
    weights = np.load(folder / "arrays" / "weights.npy")
    np.testing.assert_array_equal(soft[last], snapshots[-1].soft)
    np.testing.assert_array_equal(weights[last, : k + 1].T, snapshots[-1].weights)


def test_history_of_one_sample(written):
    folder, snapshots = written
    history = RunFolder(folder).sample(7)
    np.testing.assert_array_equal(history["loss"], [s.loss[7] for s in snapshots])
    np.testing.assert_array_equal(history["soft"], [s.soft[7] for s in snapshots])
    assert (history["neighbors"][0] == -1).all(), "the warm-up does not mix"
    np.testing.assert_array_equal(history["neighbors"][1:], [s.neighbors[7] for s in snapshots[1:]])
    np.testing.assert_array_equal(history["weights"][1:], [s.weights[7] for s in snapshots[1:]])
    np.testing.assert_allclose(history["weights"].sum(1), 1, atol=1e-6)
    with pytest.raises(StoreError, match="sample 96: allowed is 0 to 95"):
        RunFolder(folder).sample(96)


def test_history_over_a_change_of_k(tmp_path, data):
    config, control = quick(k=1), Control()
    state = prepare_state(config, data)
    writing = RunWriter.create(tmp_path / "run", state)
    for snapshot in train(config, data, state=state, control=control):
        writing.write(snapshot, state.state_dict())
        if snapshot.epoch == 2:
            control.change(k=4)
    writing.close()
    history = RunFolder(tmp_path / "run").sample(3)
    assert history["neighbors"].shape == history["distances"].shape == (5, 4)
    assert (history["neighbors"] == -1).sum(1).tolist() == [4, 3, 3, 0, 0]
    assert np.isnan(history["distances"]).sum(1).tolist() == [4, 3, 3, 0, 0]
    assert (history["weights"][0] == [1, 0, 0, 0, 0]).all()
    np.testing.assert_allclose(history["weights"].sum(1), 1, atol=1e-6)


def test_readers_see_an_epoch_whole_or_not_at_all(tmp_path, data):
    """A reader that polls all the time never finds a record without its arrays."""
    folder = tmp_path / "run"
    runner = Runner.new(quick(epochs=25), folder, data=data).start()
    counts, broken = set(), []

    def read_all():
        while not runner.join(0):
            if not runner.ready:
                continue
            run = RunFolder(folder)
            n = len(run.epochs)
            if n and n not in counts:
                counts.add(n)
                sums = np.array(run.array("soft")[n - 1]).sum(1)
                if not np.allclose(sums, 1, atol=1e-4) or run.array("clean").shape[0] < n:
                    broken.append(n)
                run.load_checkpoint(run.epochs[-1]["epoch"])

    threads = [threading.Thread(target=read_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runner.status.state == "done", runner.status.error
    assert not broken
    assert len(counts) >= 5


def test_a_crash_while_an_epoch_is_written_leaves_the_epochs_before(tmp_path, data, monkeypatch):
    """Whatever write is the last one before the process dies, the record is not there yet."""
    config = quick(epochs=3)
    calls = []

    def dying(name, real, at):
        def call(*arguments):
            calls.append(name)
            if len(calls) == at:
                raise KeyboardInterrupt
            return real(*arguments)

        return call

    for at in range(1, 13):
        calls.clear()
        folder = tmp_path / str(at)
        state = prepare_state(config, data)
        writing = RunWriter.create(folder, state)
        snapshots = train(config, data, state=state)
        writing.write(next(snapshots), state.state_dict())
        with monkeypatch.context() as patch:
            for module, name in ((writer, "torch_save"), (records, "append")):
                patch.setattr(module, name, dying(name, getattr(module, name), at))
            patch.setattr(RunWriter, "_write_row", dying("row", RunWriter._write_row, at))
            with pytest.raises(KeyboardInterrupt):
                writing.write(next(snapshots), state.state_dict())
        writing.close()
        run = RunFolder(folder)
        assert len(run.epochs) == 1
        assert run.array("soft").shape[0] == 1
        assert run.checkpoints() == [0]
        assert run.status["state"] == "interrupted"
    assert calls[-1] == "append", "the record is the last thing written"


def test_a_full_disk_at_the_last_write_gives_back_what_the_epoch_took(tmp_path, data, monkeypatch):
    config = quick()
    state = prepare_state(config, data)
    writing = RunWriter.create(tmp_path / "run", state)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(records, "append", full)
    with pytest.raises(StoreError, match="the disk is full"):
        writing.write(next(train(config, data, state=state)), state.state_dict())
    writing.close()
    assert not list((tmp_path / "run" / "states").iterdir())


def test_a_folder_has_one_writer(tmp_path, data):
    config = quick()
    writing = RunWriter.create(tmp_path / "run", prepare_state(config, data))
    writing.write_status("running")
    assert RunFolder(tmp_path / "run").status["state"] == "running"
    messages = []

    def second():
        try:
            RunWriter.resume(tmp_path / "run")
        except StoreError as error:
            messages.append(str(error))

    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    assert "is being written by a run in progress" in messages[0]
    writing.close()
    assert RunFolder(tmp_path / "run").status["state"] == "interrupted"


def test_readers_do_not_take_each_other_for_a_writer(written, tmp_path):
    dead = tmp_path / "dead"
    shutil.copytree(written[0], dead)
    write_json(dead / "status.json", {"state": "running", "message": "", "time": 0.0})
    (dead / "lock").touch()
    states = set()

    def ask():
        for _ in range(500):
            states.add(RunFolder(dead).status["state"])

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states == {"interrupted"}


def test_nothing_is_overwritten(tmp_path, data, written):
    with pytest.raises(StoreError, match="already holds a run: resume it"):
        RunWriter.create(written[0], prepare_state(quick(), data))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not empty"):
        RunWriter.create(tmp_path, prepare_state(quick(), data))
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_states_are_kept_at_the_interval_and_at_the_end(tmp_path, data):
    write_run(tmp_path / "run", data, state_interval=3, epochs=6)
    run = RunFolder(tmp_path / "run")
    assert run.checkpoints() == [0, 3, 5]
    with pytest.raises(StoreError, match="epoch = 4.*keeps the network of 0, 3, 5"):
        run.load_checkpoint(4)


def test_broken_folders_say_what_is_wrong(tmp_path, written):
    with pytest.raises(StoreError, match="no run folder"):
        RunFolder(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(written[0], broken)
    (broken / "states" / "3.pt").write_bytes(b"PK")
    with pytest.raises(StoreError, match=r"3.pt cannot be read"):
        RunFolder(broken).load_checkpoint(3)
    (broken / "arrays" / "soft.npy").write_bytes(b"")
    for read in (lambda: RunFolder(broken).array("soft"), lambda: RunFolder(broken).sample(0)):
        with pytest.raises(StoreError, match="array soft cannot be read"):
            read()
    (broken / "epochs.jsonl").write_text("")
    with pytest.raises(StoreError, match="has no epoch yet"):
        RunFolder(broken).sample(0)
    (broken / "epochs.jsonl").write_text("[{\n")
    with pytest.raises(StoreError, match=r"epochs.jsonl cannot be read"):
        RunFolder(broken).epochs  # noqa: B018
    (broken / "labels.npz").write_bytes(b"")
    with pytest.raises(StoreError, match="labels.npz cannot be read"):
        RunFolder(broken).labels  # noqa: B018
    (broken / "config.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(StoreError, match="format 99: this version reads 1 and 2"):
        RunFolder(broken)


def test_fork_settings(written):
    run = RunFolder(written[0])
    config = fork_config(run, 2, k=4, epochs=9)
    assert (config.k, config.epochs, config.rate) == (4, 9, 0.4)
    assert fork_config(run, 2, data_seed="0", epochs="9").epochs == 9, "as a command line says it"
    assert fork_config(run, 2, seed=5, epochs=9).noise_seed == 0, "a new seed keeps the labels"
    assert fork_config(run, 2, method="ce", epochs=9).method == "ce"
    with pytest.raises(ConfigError, match="dataset = 'shapes': a fork keeps 'digits'"):
        fork_config(run, 2, dataset="shapes")
    with pytest.raises(ConfigError, match="epochs = 3: a fork from epoch 2 needs 4 or more"):
        fork_config(run, 2, epochs=3)
    with pytest.raises(StoreError, match="epoch = 7: .* has epochs 0-4"):
        fork_config(run, 7)


def test_no_truth_and_no_neighbors_are_stored_too(tmp_path):
    clean = blobs()
    write_run(tmp_path / "ce", clean, method="ce")
    run = RunFolder(tmp_path / "ce")
    neighbors, distances, weights = run.mixing_of(2)
    assert neighbors.shape == distances.shape == (96, 0)
    assert (weights == 1).all()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB, where the machine lets us make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_fails_the_run_clearly_and_can_be_mended(small_disk, data):
    folder = small_disk / "run"
    runner = Runner.new(quick(epochs=30), folder, data=data)
    runner.run()
    assert runner.status.state == "failed"
    assert "the disk is full" in runner.status.message
    assert runner.status.foreseen
    run = RunFolder(folder)
    n = len(run.epochs)
    assert 0 < n < 30
    assert np.isfinite(run.array("loss")).all()
    assert run.checkpoints()[-1] == n - 1
    assert run.status["state"] == "failed"
    assert "the disk is full" in run.status["message"]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = Runner.resume(folder, data=data)
    again.run()
    assert again.status.state == "done", again.status.error
    assert len(run.epochs) == 30


def test_a_state_holds_nothing_but_tensors_and_plain_values(written):
    """So that it can be read without unpickling arbitrary objects."""
    path = written[0] / "states" / "4.pt"
    assert torch.load(path, weights_only=True)["epoch"] == 4


def test_a_state_that_would_run_code_is_refused(tmp_path, data):
    write_run(tmp_path / "run", data, epochs=2)
    torch.save({"epoch": 1, "model": shutil.rmtree}, tmp_path / "run" / "states" / "1.pt")
    with pytest.raises(StoreError, match="1.pt cannot be read"):
        RunFolder(tmp_path / "run").load_checkpoint(1)


def test_a_table_in_half_precision_is_stored_as_it_is(tmp_path, data, monkeypatch):
    monkeypatch.setattr("engine.training.state.HALF_PRECISION_ENTRIES", 0)
    config = quick(epochs=4)
    Runner.new(config, tmp_path / "run", data=data).run()
    run = RunFolder(tmp_path / "run")
    assert run.status["state"] == "done"
    stored = run.array("soft")
    assert stored.dtype == np.float16
    for row, snapshot in enumerate(train(config, data)):
        np.testing.assert_array_equal(stored[row], snapshot.soft)
