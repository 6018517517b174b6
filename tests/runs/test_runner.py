"""Runs in background threads: steered, stopped, resumed, forked, killed."""

import copy
import errno
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.data import from_arrays
from engine.errors import ConfigError, StoreError
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner, train_run
from engine.runs.schema import ARRAYS
from engine.runs.writer import RunWriter
from engine.training.control import Stopped
from engine.training.train import prepare_state, train
from tests.conftest import blobs, quick

ROOT = Path(__file__).resolve().parents[2]


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def finish(runner: Runner) -> RunFolder:
    runner.run()
    assert runner.status.state == "done", runner.status.error
    return RunFolder(runner.folder)


def assert_same_rows(first: RunFolder, second: RunFolder, rows: slice = slice(None)) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(first.array(name)[rows], second.array(name), err_msg=name)
    for a, b in zip(first.epochs[rows], second.epochs, strict=True):
        assert a["metrics"] == b["metrics"]
        assert a["settings"] == b["settings"]


def assert_same_state(first, second) -> None:
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict | list):
        keys = first.keys() if isinstance(first, dict) else range(len(first))
        assert len(first) == len(second)
        for key in keys:
            assert_same_state(first[key], second[key])
    else:
        assert first == second


@pytest.fixture
def long_run(tmp_path, data):
    runner = Runner.new(quick(epochs=3000, state_interval=100), tmp_path / "run", data=data)
    yield runner
    runner.stop()
    runner.join()


def test_a_run_in_a_thread_ends_as_done(tmp_path, data):
    runner = Runner.new(quick(), tmp_path / "run", data=data)
    assert runner.status.state == "queued"
    runner.start()
    assert runner.join(60)
    status = runner.status
    assert (status.state, status.n_epochs, status.seconds_left) == ("done", 5, 0)
    assert len(RunFolder(runner.folder).epochs) == 5
    with pytest.raises(RuntimeError, match="started already"):
        runner.start()


def test_pause_stands_still_and_go_on_goes_on(long_run):
    long_run.start()
    wait_for(lambda: long_run.status.epoch >= 1)
    long_run.pause()
    wait_for(lambda: long_run.status.state == "paused")
    before = long_run.status
    time.sleep(0.3)
    assert long_run.status == before
    long_run.go_on()
    wait_for(lambda: long_run.status.epoch > before.epoch)
    assert long_run.status.state == "running"
    assert long_run.status.seconds_left > 0


def test_step_runs_to_the_end_of_one_epoch(long_run):
    long_run.pause()
    long_run.start()
    wait_for(lambda: long_run.status.state == "paused")
    for expected in (1, 2, 3):
        long_run.step()
        wait_for(lambda n=expected: len(RunFolder(long_run.folder).epochs) == n)
        wait_for(lambda: long_run.status.state == "paused")
        time.sleep(0.05)
        assert len(RunFolder(long_run.folder).epochs) == expected


def test_steps_asked_for_at_once_are_all_made(long_run):
    long_run.pause()
    long_run.start()
    wait_for(lambda: long_run.status.state == "paused")
    for _ in range(3):
        long_run.step()
    wait_for(lambda: long_run.status.state == "paused")
    wait_for(lambda: long_run.ready and len(RunFolder(long_run.folder).epochs) == 3)


def test_stop_ends_a_run_that_can_be_resumed(long_run, data):
    long_run.start()
    wait_for(lambda: long_run.status.epoch >= 2)
    long_run.stop()
    assert long_run.join(10)
    run = RunFolder(long_run.folder)
    assert long_run.status.state == run.status["state"] == "stopped"
    assert f"stopped after {len(run.epochs)} of 3000 epochs" in run.status["message"]
    again = Runner.resume(long_run.folder, data=data).start()
    n = len(run.epochs)
    wait_for(lambda: len(run.epochs) > n)
    again.stop()
    assert again.join(10)


def test_stop_reaches_a_paused_run(long_run):
    long_run.start()
    wait_for(lambda: long_run.status.epoch >= 1)
    long_run.pause()
    wait_for(lambda: long_run.status.state == "paused")
    long_run.stop()
    assert long_run.join(10)
    assert long_run.status.state == "stopped"


def test_live_changes_stand_in_the_next_epochs_record(long_run):
    long_run.pause()
    long_run.start()
    wait_for(lambda: long_run.status.state == "paused")
    long_run.step()
    wait_for(lambda: len(RunFolder(long_run.folder).epochs) == 1)
    long_run.change(k=3)
    long_run.change(alpha=0.25, correction_start=4)
    long_run.step()
    wait_for(lambda: len(RunFolder(long_run.folder).epochs) == 2)
    first, second = RunFolder(long_run.folder).epochs
    assert first["settings"] == {"k": 1, "alpha": 0.9, "correction": "ema", "correction_start": 2}
    assert second["settings"] == {"k": 3, "alpha": 0.25, "correction": "ema", "correction_start": 4}
    assert second["n_neighbors"] == 3


def test_bad_changes_are_refused_at_once_and_harm_nothing(long_run):
    long_run.start()
    wait_for(lambda: long_run.status.epoch >= 1)
    for change, message in (
        ({"alpha": 2}, "alpha = 2: allowed is a number from 0 to 1"),
        ({"k": 21}, "k = 21: allowed is 1 to 20 while this run trains"),
        ({"rate": 0.1}, "rate = 0.1 cannot change while a run trains"),
        ({"correction_start": 0}, r"correction_start = 0: allowed is warmup \(1\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            long_run.change(**change)
    epoch = long_run.status.epoch
    wait_for(lambda: long_run.status.epoch > epoch)


def test_changes_before_the_folder_is_there_find_room_or_are_refused(tmp_path, data):
    runner = Runner.new(quick(k=1), tmp_path / "run", data=data)
    with pytest.raises(ConfigError, match="k = 40: allowed is 1 to 20"):
        runner.change(k=40)
    runner.change(k=20)
    run = finish(runner)
    np.testing.assert_allclose(run.mixing_of(3)[2].sum(1), 1, atol=1e-5)
    few = Runner.new(quick(k=1), tmp_path / "few", data=blobs(12))
    few.change(k=15, alpha=0.25)
    run = finish(few)
    assert few.status.message.startswith("k = 15: allowed is 1 to 11 for 12 samples")
    assert run.status["message"] == few.status.message
    for record in run.epochs:
        assert (record["settings"]["k"], record["settings"]["alpha"]) == (1, 0.25)


def test_a_k_changed_while_queued_is_checked_against_the_batches_too(tmp_path, data):
    config = quick(k=1, neighbor_scope="batch", batch_size=8)
    runner = Runner.new(config, tmp_path / "run", data=data)
    runner.change(k=8)
    assert {record["settings"]["k"] for record in finish(runner).epochs} == {1}
    assert runner.status.message.startswith("k = 8: allowed is 1 to 7 inside batches of 8")


def test_ctrl_c_without_a_thread_leaves_a_run_that_resumes(tmp_path, data, monkeypatch):
    runner = Runner.new(quick(), tmp_path / "run", data=data)
    real = RunWriter.write

    def interrupted(self, snapshot, packed):
        real(self, snapshot, packed)
        if snapshot.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunWriter, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert RunFolder(runner.folder).status["state"] == "stopped"
    monkeypatch.undo()
    assert len(finish(Runner.resume(runner.folder, data=data)).epochs) == 5


@pytest.fixture
def gate(monkeypatch):
    """Opens the way to the disk; until then each epoch waits before it."""
    opened, real = threading.Event(), RunWriter.write

    def gated(self, snapshot, packed):
        assert opened.wait(30)
        real(self, snapshot, packed)

    monkeypatch.setattr(RunWriter, "write", gated)
    yield opened
    opened.set()


@pytest.mark.parametrize("method", ["mixnn", "elr"])
def test_an_epoch_is_written_while_one_more_is_trained(method, tmp_path, data, gate):
    """And what is written is as it was when it was handed over."""
    settings = dict(method=method, epochs=4, correction_start=1, state_interval=1)
    config = (
        quick(**settings, correction_source="batch") if method == "mixnn" else quick(**settings)
    )
    state, packed = prepare_state(config, data), []
    for _ in train(config, data, state=state):
        packed.append(copy.deepcopy(state.state_dict()))
    runner = Runner.new(config, tmp_path / "run", data=data).start()
    wait_for(lambda: runner.status.epoch == 1 and runner.status.stage == "test")
    time.sleep(0.2)
    assert runner.status.epoch == 1, "the second epoch has to wait for the first"
    run = RunFolder(runner.folder)
    assert run.epochs == []
    assert run.status["state"] == "running"
    gate.set()
    assert runner.join(60)
    assert [record["epoch"] for record in run.epochs] == run.checkpoints() == [0, 1, 2, 3]
    for epoch, expected in enumerate(packed):
        assert_same_state(run.load_checkpoint(epoch), expected)


@pytest.mark.parametrize("end", ["done", "stopped", "interrupted", "failed"])
def test_what_was_handed_over_is_on_disk_before_the_last_word(end, tmp_path, data, monkeypatch):
    events, real_write, real_status = [], RunWriter.write, RunWriter.write_status
    runner = Runner.new(quick(), tmp_path / "run", data=data)

    def slow(self, snapshot, packed):
        time.sleep(0.1)
        real_write(self, snapshot, packed)
        events.append(snapshot.epoch)

    def ending(*arguments, **keywords):
        for snapshot in train(*arguments, **keywords):
            yield snapshot
            if snapshot.epoch == 2 and end != "done":
                runner.stop()
                raise {"stopped": Stopped, "interrupted": KeyboardInterrupt}.get(end, OSError)

    monkeypatch.setattr(RunWriter, "write", slow)
    monkeypatch.setattr(
        RunWriter, "write_status", lambda *a: (events.append(a[1]), real_status(*a))
    )
    monkeypatch.setattr("engine.training.train.train", ending)
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt) if end == "interrupted" else nullcontext():
        runner.run()
    n = 5 if end == "done" else 3
    last = "stopped" if end == "interrupted" else end
    assert events == ["running", *range(n), last]
    assert runner.status.state == last
    assert len(RunFolder(runner.folder).epochs) == n
    assert threading.active_count() == threads


@pytest.mark.parametrize("broken", [1, 4])
def test_an_epoch_that_cannot_be_written_fails_the_run(broken, tmp_path, data, monkeypatch):
    real, trained = RunWriter._write_row, []

    def full(self, name, row, values):
        if row == broken:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, name, row, values)

    def counted(*arguments, **keywords):
        for snapshot in train(*arguments, **keywords):
            trained.append(snapshot.epoch)
            yield snapshot

    monkeypatch.setattr(RunWriter, "_write_row", full)
    monkeypatch.setattr("engine.training.train.train", counted)
    runner = Runner.new(quick(), tmp_path / "run", data=data)
    runner.run()
    status = runner.status
    assert (status.state, status.foreseen) == ("failed", True)
    assert "the disk is full" in status.message
    assert RunFolder(runner.folder).status["message"] == status.message
    assert len(RunFolder(runner.folder).epochs) == broken
    assert trained[-1] == min(broken + 1, 4), "training ends at the next epoch"
    monkeypatch.undo()
    assert len(finish(Runner.resume(runner.folder, data=data)).epochs) == 5


def test_a_step_pauses_once_its_epoch_is_on_disk(long_run, gate):
    long_run.pause()
    long_run.start()
    wait_for(lambda: long_run.status.state == "paused")
    long_run.step()
    wait_for(lambda: long_run.status.stage == "test")
    time.sleep(0.2)
    assert (long_run.status.state, long_run.status.epoch) == ("running", 0)
    gate.set()
    wait_for(lambda: long_run.status.state == "paused")
    assert len(RunFolder(long_run.folder).epochs) == 1


def test_a_failure_is_kept_whole(tmp_path, data):
    config = quick(learning_rate=100, weight_decay=1, momentum=0.99, epochs=60)
    runner = Runner.new(config, tmp_path / "run", data=data)
    runner.run()
    status = runner.status
    assert status.state == "failed"
    assert "learning_rate below 100" in status.message
    assert "Traceback" in status.error
    assert status.foreseen
    assert RunFolder(runner.folder).status["message"] == status.message


def test_missing_data_fails_the_run_with_the_datas_own_words(tmp_path):
    runner = Runner.new(quick(dataset=f"npz:{tmp_path}/no.npz"), tmp_path / "run")
    runner.run()
    assert runner.status.state == "failed"
    assert "no.npz" in runner.status.message
    assert not runner.ready


@pytest.mark.parametrize("method", ["mixnn", "elr"])
def test_resume_is_bit_equal_to_an_uninterrupted_run(method, tmp_path, data):
    config = quick(method=method, epochs=8, k=2)
    whole = finish(Runner.new(config, tmp_path / "whole", data=data))
    runner = Runner.new(config, tmp_path / "parts", data=data)
    runner.pause()
    runner.start()
    for n in (1, 2, 3):
        runner.step()
        wait_for(lambda n=n: runner.ready and len(RunFolder(runner.folder).epochs) == n)
    runner.go_on()
    runner.stop()  # in the middle of an epoch
    assert runner.join(10)
    assert len(RunFolder(runner.folder).epochs) < 8
    parts = finish(Runner.resume(runner.folder, data=data))
    assert_same_rows(whole, parts)


def test_courtesy_slows_a_run_and_changes_nothing(tmp_path, data):
    config, calls = quick(epochs=2), []
    plain = finish(Runner.new(config, tmp_path / "plain", data=data))
    polite = Runner.new(config, tmp_path / "polite", data=data)
    polite.run(lambda: calls.append(time.sleep(0.001)))
    assert_same_rows(plain, RunFolder(polite.folder))
    assert_same_state(plain.load_checkpoint(1), RunFolder(polite.folder).load_checkpoint(1))
    assert len(calls) > 2


def test_resume_keeps_live_changes(tmp_path, data):
    runner = Runner.new(quick(epochs=6), tmp_path / "run", data=data)
    runner.pause()
    runner.start()
    runner.change(k=4)
    runner.step()
    wait_for(lambda: runner.ready and len(RunFolder(runner.folder).epochs) == 1)
    runner.stop()
    assert runner.join(10)
    run = finish(Runner.resume(runner.folder, data=data))
    assert [record["settings"]["k"] for record in run.epochs] == [4] * 6


def test_resume_refuses_a_finished_run_and_changed_data(tmp_path, data):
    finish(Runner.new(quick(), tmp_path / "run", data=data))
    with pytest.raises(StoreError, match="has all its 5 epochs: fork it"):
        Runner.resume(tmp_path / "run")
    fork = Runner.fork(tmp_path / "run", 2, tmp_path / "fork", data=blobs(seed=1), epochs=6)
    fork.run()
    assert "has changed since" in fork.status.message


def test_a_fork_without_changes_repeats_its_parent(tmp_path, data):
    parent = finish(Runner.new(quick(epochs=6), tmp_path / "run", data=data))
    fork = finish(Runner.fork(tmp_path / "run", 2, tmp_path / "fork", data=data))
    assert [record["epoch"] for record in fork.epochs] == [3, 4, 5]
    assert_same_rows(parent, fork, slice(3, None))
    assert fork.info["parent"]["epoch"] == 2


def test_a_fork_with_other_knobs_goes_its_own_way(tmp_path, data):
    parent = finish(Runner.new(quick(epochs=6), tmp_path / "run", data=data))
    fork = finish(Runner.fork(parent.folder, 2, tmp_path / "f", data=data, k=5, alpha=0.5))
    assert {record["n_neighbors"] for record in fork.epochs} == {5}
    noisier = finish(Runner.fork(parent.folder, 2, tmp_path / "g", data=data, rate=0.8))
    assert noisier.info["rate_actual"] > parent.info["rate_actual"]
    assert (noisier.labels["given"] != parent.labels["given"]).any()
    plain = finish(Runner.fork(parent.folder, 2, tmp_path / "h", data=data, method="elr"))
    assert plain.config.method == "elr"
    resumed = Runner.fork(parent.folder, 2, tmp_path / "i", data=data, k=2)
    resumed.stop()
    resumed.run()  # stopped before its first epoch: it starts from the parent again
    assert len(finish(Runner.resume(tmp_path / "i", data=data)).epochs) == 3


@pytest.mark.slow
def test_three_runners_at_once_with_threads_of_their_own(tmp_path, data):
    """Two CPU threads each, on the same machine at the same time: the arrays of a run alone."""
    config = quick(epochs=4, k=2, threads=2, network="resnet9-w16")
    alone = finish(Runner.new(config, tmp_path / "alone", data=data))
    runners = [Runner.new(config, tmp_path / str(i), data=data).start() for i in range(3)]
    for runner in runners:
        assert runner.join(120)
        assert_same_rows(alone, RunFolder(runner.folder))


@pytest.mark.parametrize(
    "seconds", [0.4, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.0, 0.15, 0.7))]
)
def test_kill_minus_nine_loses_at_most_the_running_epoch(seconds, tmp_path):
    folder = tmp_path / "run"
    command = [
        sys.executable, "-m", "engine", "train", "--epochs", "500", "--limit", "200",
        "--out", str(folder), "--state-interval", "50",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    n_lines = 0
    for line in process.stderr:
        n_lines += line.startswith("epoch")
        if n_lines == 3:
            break
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    n_lines += process.stderr.read().count("epoch ")
    process.wait()
    run = RunFolder(folder)
    assert run.status["state"] == "interrupted"
    n = len(run.epochs)
    assert n >= n_lines >= 3, "an epoch that was printed is on disk"
    assert np.isfinite(run.array("loss")).all()
    np.testing.assert_allclose(run.array("soft").sum(2), 1, atol=1e-4)
    runner = Runner.resume(folder)
    runner.pause()
    runner.start()
    runner.step()
    wait_for(lambda: len(run.epochs) == n + 1)
    runner.stop()
    assert runner.join(10)
    assert run.checkpoints()[-1] == n


# --- the state is written every few epochs


class Killed(BaseException):
    """As if the process had been killed: nothing is written after it."""


def killed_after(folder: Path, epochs: int, config, data, monkeypatch, changes=None) -> None:
    """A run that is killed once so many epochs are on disk. changes: epoch -> live settings."""
    runner = Runner.new(config, folder, data=data)

    def ending(*arguments, **keywords):
        for snapshot in train(*arguments, **keywords):
            yield snapshot
            runner.change(**(changes or {}).get(snapshot.epoch + 1, {}))
            if snapshot.epoch + 1 == epochs:
                for name in ("write_state", "write_status"):
                    monkeypatch.setattr(RunWriter, name, lambda *_: None)
                raise Killed

    monkeypatch.setattr("engine.training.train.train", ending)
    with pytest.raises(Killed):
        runner.run()
    monkeypatch.undo()


@pytest.fixture(scope="module")
def every_third(tmp_path_factory) -> RunFolder:
    """A finished run of eight epochs that wrote its state after every third."""
    config = quick(k=2, epochs=8, checkpoint_every=3, state_interval=100)
    return finish(Runner.new(config, tmp_path_factory.mktemp("third") / "whole", data=blobs()))


@pytest.mark.parametrize("killed", [1, 2, 3, 5, 6, 7])
def test_a_run_that_writes_its_state_every_few_epochs_resumes_to_the_same(
    killed, tmp_path, data, monkeypatch, every_third
):
    whole = every_third
    assert whole.checkpoints() == [0, 7]
    killed_after(tmp_path / "run", killed, whole.config, data, monkeypatch)
    run = RunFolder(tmp_path / "run")
    assert (len(run.epochs), run.status["state"]) == (killed, "interrupted")
    newest = {1: 0, 2: 0, 3: 2, 5: 2, 6: 5, 7: 5}[killed]
    assert run.checkpoints() == sorted({0, newest})
    trained = []

    def counted(*arguments, **keywords):
        for snapshot in train(*arguments, **keywords):
            trained.append(snapshot.epoch)
            yield snapshot

    monkeypatch.setattr("engine.training.train.train", counted)
    runner = Runner.resume(run.folder, data=data)
    runner.run()
    assert runner.status.state == "done", runner.status
    assert trained == list(range(newest + 1, 8))
    assert_same_rows(whole, run)
    assert run.checkpoints() == [0, 7]
    assert_same_state(run.load_checkpoint(7), whole.load_checkpoint(7))


def test_epochs_that_are_computed_again_have_the_settings_they_had(tmp_path, data, monkeypatch):
    config = quick(k=2, epochs=8, checkpoint_every=4, state_interval=100)
    changes = {5: {"k": 4}, 6: {"alpha": 0.3}}
    killed_after(tmp_path / "whole", 8, config, data, monkeypatch, changes)
    whole = RunFolder(tmp_path / "whole")
    assert [record["settings"]["k"] for record in whole.epochs] == [2] * 5 + [4] * 3
    for name in ("same", "changed"):
        killed_after(tmp_path / name, 7, config, data, monkeypatch, changes)
    same = finish(Runner.resume(tmp_path / "same", data=data))
    assert_same_rows(whole, same)
    runner = Runner.resume(tmp_path / "changed", data=data)
    runner.change(k=3)
    changed = finish(runner)
    assert [record["settings"]["k"] for record in changed.epochs] == [2] * 4 + [3] * 4
    assert [record["settings"]["alpha"] for record in changed.epochs] == [0.9] * 6 + [0.3] * 2


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_a_run_that_is_stopped_or_paused_loses_no_epoch(how, tmp_path, data):
    config = quick(epochs=2000, checkpoint_every=500, state_interval=2000)
    runner = Runner.new(config, tmp_path / "run", data=data)
    runner.pause()
    runner.start()
    for _ in range(3):
        runner.step()
    wait_for(lambda: runner.ready and len(RunFolder(runner.folder).epochs) == 3)
    wait_for(lambda: runner.status.state == "paused")
    run = RunFolder(runner.folder)
    assert run.checkpoints() == [0, 2]
    if how == "stop":
        runner.go_on()
        wait_for(lambda: len(run.epochs) > 5)
    runner.stop()
    assert runner.join(30)
    assert run.checkpoints() == [0, len(run.epochs) - 1]
    assert run.n_resumable() == len(run.epochs)


def test_a_fork_that_was_killed_before_its_first_state_begins_at_its_parent(
    tmp_path, data, monkeypatch
):
    finish(Runner.new(quick(epochs=4), tmp_path / "run", data=data))
    settings = dict(epochs=9, checkpoint_every=4, state_interval=100)
    whole = finish(Runner.fork(tmp_path / "run", 1, tmp_path / "whole", data=data, **settings))
    fork = Runner.fork(tmp_path / "run", 1, tmp_path / "fork", data=data, **settings)
    monkeypatch.setattr(RunWriter, "write_state", lambda *_: None)
    real = RunWriter.write

    def killed(self, snapshot, packed):
        real(self, snapshot, packed)
        if snapshot.epoch == 2:
            raise OSError("killed")

    monkeypatch.setattr(RunWriter, "write", killed)
    fork.run()
    monkeypatch.undo()
    run = RunFolder(tmp_path / "fork")
    assert (len(run.epochs), run.checkpoints(), run.n_resumable()) == (1, [], 0)
    shutil.rmtree(tmp_path / "run")
    assert_same_rows(whole, finish(Runner.resume(run.folder, data=data)))


def test_states_that_were_deleted_are_named_and_no_epoch_is_removed(tmp_path, data):
    config = quick(epochs=9, checkpoint_every=2, state_interval=4)
    runner = Runner.new(config, tmp_path / "run", data=data)
    runner.pause()
    runner.start()
    for _ in range(7):
        runner.step()
    wait_for(lambda: runner.ready and len(RunFolder(runner.folder).epochs) == 7)
    runner.stop()
    assert runner.join(30)
    for path in (tmp_path / "run" / "states").glob("[1-9].pt"):
        path.unlink()
    resumed = Runner.resume(tmp_path / "run", data=data)
    resumed.run()
    assert "epoch = 6" in resumed.status.message
    assert "keeps the network of 0 " in resumed.status.message
    assert len(RunFolder(tmp_path / "run").epochs) == 7


def test_the_wait_for_the_writer_is_a_stage_of_the_epoch(tmp_path, data, monkeypatch):
    real = RunWriter.write

    def slow(self, snapshot, packed):
        time.sleep(3)  # longer than an epoch takes on a busy machine
        real(self, snapshot, packed)

    monkeypatch.setattr(RunWriter, "write", slow)
    run = finish(Runner.new(quick(epochs=2), tmp_path / "run", data=data))
    waits = [record["seconds"]["writing"] for record in run.epochs]
    assert waits[0] < waits[1]
    assert waits[1] > 0.1


def test_train_run_reads_no_other_run_and_raises_what_failed(tmp_path, monkeypatch, data):
    own = from_arrays(data.images, data.labels)
    first = train_run(quick(), tmp_path, data=own)
    assert len(first.epochs) == quick().epochs
    written = (first.folder / "epochs.jsonl").stat().st_mtime_ns
    assert train_run(quick(), tmp_path, data=own).folder == first.folder
    assert (first.folder / "epochs.jsonl").stat().st_mtime_ns == written, "read, not trained again"
    assert train_run(quick(epochs=2), tmp_path, data=own).folder != first.folder
    other = from_arrays(data.images, (data.labels + 1) % 3)
    assert train_run(quick(), tmp_path, data=other).folder != first.folder
    monkeypatch.setattr(RunWriter, "write", failing)
    with pytest.raises(StoreError, match="failed: no space"):
        train_run(quick(seed=5), tmp_path, data=own)


def failing(*_):
    raise StoreError("no space")
