"""Sweeps: refused before they start, equal to single runs, and finished whatever dies meanwhile."""

import multiprocessing
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.__main__ import main
from engine.cli import console
from engine.config import RunConfig
from engine.data import load_data
from engine.errors import ConfigError, StoreError
from engine.runs import executors
from engine.runs.folder import RunFolder
from engine.runs.grid import grid, values
from engine.runs.naming import run_name
from engine.runs.progress import Progress
from engine.runs.schema import ARRAYS
from engine.runs.sweep import sweep
from engine.runs.table import save_table, table
from engine.runs.writer import RunWriter
from engine.training.train import prepare_state

ROOT = Path(__file__).resolve().parents[2]
QUICK = dict(limit=60, epochs=3, warmup=1, correction_start=2)
AXES = QUICK | dict(k="1:2", seed="0,1")  # four runs


def command(root: Path, **axes) -> list[str]:
    """The sweep as a person types it."""
    options = [(f"--{name.replace('_', '-')}", str(text)) for name, text in axes.items()]
    return ["sweep", *(word for option in options for word in option), "--out", str(root)]


def runs_of(**axes) -> list[RunConfig]:
    return grid({n: v if isinstance(v, list) else [v] for n, v in (QUICK | axes).items()})


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    """Four runs, trained by one command."""
    root = tmp_path_factory.mktemp("swept")
    assert main([*command(root, **AXES), "--jobs", "2"]) == 0
    return root


def runs_in(root: Path) -> dict[str, RunFolder]:
    return {path.parent.name: RunFolder(path.parent) for path in sorted(root.glob("*/config.json"))}


def assert_same_run(a: RunFolder, b: RunFolder) -> None:
    """The same numbers bit by bit, all but the seconds."""
    assert a.config == b.config
    assert [r | {"seconds": 0} for r in a.epochs] == [r | {"seconds": 0} for r in b.epochs]
    for name in ARRAYS:
        np.testing.assert_array_equal(a.array(name), b.array(name), name)
    for name, labels in a.labels.items():
        np.testing.assert_array_equal(labels, b.labels[name], name)


# --- which runs


def test_values():
    assert values("1,2, 5") == [1, 2, 5]
    assert values("1:4") == [1, 2, 3, 4]
    assert values("0:0.9:0.1") == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert values("7:8,digits,shapes:500,npz:/a/b.npz,none") == [
        7,
        8,
        "digits",
        "shapes:500",
        "npz:/a/b.npz",
        "none",
    ]
    assert all(isinstance(value, int) for value in values("1e2,3,4.0"))
    assert values(" , ") == []


@pytest.mark.parametrize("text", ["3:1", "1:2:0", "1:9:-1", "1:2:3:4", "nan", "0:inf", "0:1:1e-9"])
def test_bad_ranges_are_refused(text):
    with pytest.raises(ConfigError, match=re.escape(repr(text))):
        values(text)


def test_a_grid_is_every_combination():
    configs = grid({"seed": [0, 1], "method": ["ce", "mixnn"], "epochs": [5]})
    assert [(c.seed, c.method, c.epochs) for c in configs] == [
        (0, "ce", 5),
        (0, "mixnn", 5),
        (1, "ce", 5),
        (1, "mixnn", 5),
    ]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"kk": [1]}, "kk = [1]: no such setting"),
        ({"k": []}, "k = []: allowed is one value or more"),
        ({"k": [1, 2, 1]}, "k = [1, 2, 1]: each value once"),
        ({"k": [0, 1]}, "k = 0: allowed is a whole number from 1 to 100 (at k 0)"),
        ({"warmup": [1, 4], "correction_start": [3, 9]},
         "correction_start = 3: allowed is warmup (4) or later (at warmup 4, correction_start 3)"),
        ({"device": ["cpu", "auto"]}, "device auto: another combination makes the same run"),
        ({"seed": range(9999), "k": [1, 2]}, "a grid of 19998 runs"),
    ],
)  # fmt: skip
def test_bad_grids_are_refused(axes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        grid(axes)


def test_a_name_stands_for_the_settings_and_not_for_the_machine():
    config = RunConfig()
    assert run_name(config).startswith("digits-mixnn-symmetric0.4-seed0-")
    assert run_name(RunConfig(k=3, rate=0.2)) == run_name(RunConfig(rate=0.2, k=3))
    aside = dict(device="cpu", threads=2, state_interval=7)
    assert run_name(config.changed(**aside)) == run_name(config)
    changes = dict(
        k=2,
        alpha=0.5,
        rate=0.2,
        seed=1,
        epochs=9,
        limit=100,
        noise="pair",
        precision="float32",
        mixing="mixup",
        batch_size=64,
        network="small",
        warmup=3,
        panel_size=9,
        data_seed=1,
    )
    names = {run_name(config.changed(**{name: value})) for name, value in changes.items()}
    assert len(names | {run_name(config)}) == len(changes) + 1


# --- refused before anything starts


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (dict(k="1,60"), "k = 60: allowed is 1 to 59 for 60 samples"),
        (dict(k=""), "k = []: allowed is one value or more"),
        (dict(rate="0.5:0.1"), "'0.5:0.1' is no range"),
        (dict(warmup="1,3"), "correction_start = 2: allowed is warmup (3) or later (at warmup 3)"),
        (dict(dataset="digits,npz:/no/such.npz"), "such.npz"),
        (dict(noise="symmetric,asymmetric", dataset="shapes:100"), "no class map for 'shapes:100'"),
        (dict(noise="instance,human"), "no published human labels of 'digits'"),
        (dict(noise_matrix="/no/such/file"), "noise_matrix = '/no/such/file'"),
        (dict(jobs="0"), "jobs = 0: allowed is 1 to"),
        (dict(jobs="999"), "jobs = 999: allowed is 1 to"),
        (dict(device="cuda:77"), "device = 'cuda:77': this machine has"),
        (dict(table="numbers.xlsx"), "names ending in .csv and .parquet"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(axes, message, tmp_path, capsys):
    assert main(command(tmp_path / "new", **QUICK | axes)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(command(tmp_path / "file" / "runs", **QUICK)) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_folder_of_other_settings_is_not_taken_for_the_run(swept, tmp_path):
    wanted = run_name(runs_of(k=7)[0])
    shutil.copytree(swept / run_name(runs_of(k=1, seed=0)[0]), tmp_path / wanted)
    with pytest.raises(StoreError, match="holds a run of other settings"):
        next(sweep(runs_of(k=7), tmp_path))


# --- what comes out


def test_runs_are_those_of_train(swept, tmp_path):
    options = command(tmp_path / "single", **QUICK | dict(k=2, seed=1, state_interval=3))
    assert main(["train", *options[1:]]) == 0
    own = RunFolder(swept / run_name(runs_of(k=2, seed=1)[0]))
    assert_same_run(own, RunFolder(tmp_path / "single"))
    assert own.checkpoints() == [0, 2]  # of three


def test_the_table_has_a_row_per_run_and_epoch(swept):
    frame = pd.read_parquet(swept / "table.parquet")
    runs = runs_in(swept)
    assert len(frame) == len(frame.groupby(["run", "epoch"])) == 4 * 3
    for row in frame.to_dict("records"):
        run = runs[row["run"]]
        record = run.epochs[row["epoch"]]
        assert row["state"] == "done"
        metrics = dict(record["metrics"])
        assert row["learning_rate_used"] == metrics.pop("learning_rate")
        for name, value in metrics.items():
            assert row[name] == value or (value is None and np.isnan(row[name])), name
        assert [row["mixture_means_low"], row["mixture_means_high"]] == record["mixture"]["means"]
        assert row["seconds"] == sum(record["seconds"].values())
        for setting in ("k", "seed", "limit", "alpha", "method", "noise", "learning_rate"):
            assert row[setting] == getattr(run.config, setting)


def test_csv_and_parquet_say_the_same_and_miss_no_run(swept, tmp_path):
    config = runs_of(k=9)[0]
    RunWriter.create(tmp_path / "begun", prepare_state(config, load_data(config))).close()
    frame = table([*(run.folder for run in runs_in(swept).values()), tmp_path / "begun"])
    assert frame.iloc[-1][["run", "state", "k"]].tolist() == ["begun", "interrupted", 9]
    assert frame["epoch"].isna().tolist() == [False] * 12 + [True]
    for name in ("a.csv", "b.parquet"):
        save_table(frame, tmp_path / "new" / name)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "new" / "a.csv"),
        pd.read_parquet(tmp_path / "new" / "b.parquet"),
        check_dtype=False,
        check_exact=True,
    )
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.csv", "b.parquet"]


# --- finished runs are kept, others are continued


def test_what_is_there_is_skipped_and_what_lacks_is_made(swept, tmp_path, capfd):
    root = tmp_path / "runs"
    shutil.copytree(swept, root)
    names = sorted(runs_in(root))
    write = root / names[0] / "status.json"  # killed before its last word
    write.write_text(write.read_text().replace("done", "running"))
    shutil.rmtree(root / names[1])  # killed while it was made
    (root / names[1] / "arrays").mkdir(parents=True)
    (root / names[1] / "labels.npz").write_bytes(b"half")
    kept = [path for name in names[2:] for path in (root / name).rglob("*") if path.is_file()]
    before = [path.stat().st_mtime_ns for path in kept]
    assert main([*command(root, **AXES), "--table", str(tmp_path / "t.csv")]) == 0
    assert [path.stat().st_mtime_ns for path in kept] == before
    printed = capfd.readouterr()
    assert "4 of 4 runs" in printed.out
    assert "\r" not in printed.err
    assert re.findall(r"(\d)/4 runs", printed.err)[-1] == "4"
    for name, run in runs_in(root).items():
        assert run.status["state"] == "done"
        assert_same_run(run, RunFolder(swept / name))


@pytest.mark.slow
def test_a_run_that_dies_goes_on_once_and_is_then_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "POLL", 0.02)
    configs = runs_of(seed=[0, 1, 2], epochs=12)
    deaths = {run_name(config): n for config, n in zip(configs, (1, 2, 0), strict=True)}
    killed, epochs_at_death = dict.fromkeys(deaths, 0), {}
    pids = set()
    for now in sweep(configs, tmp_path, jobs=1):
        for child in multiprocessing.active_children():
            name = now.running[0] if now.running else None
            if child.pid in pids or name is None or killed[name] >= deaths[name]:
                continue
            folder = tmp_path / name
            epochs = len(RunFolder(folder).epochs) if (folder / "config.json").exists() else 0
            if epochs > epochs_at_death.get(name, 0):
                os.kill(child.pid, signal.SIGKILL)
                pids.add(child.pid)
                killed[name] += 1
                epochs_at_death[name] = epochs
    once, twice, never = deaths
    assert killed == deaths
    assert set(now.retried) == {once, twice}
    assert now.failed[twice].startswith("its process died with exit code -9 (killed, as")
    assert len(now.failed) == 1
    assert now.runs_done == 2
    assert (
        RunFolder(tmp_path / once).status["state"]
        == RunFolder(tmp_path / never).status["state"]
        == "done"
    )
    assert RunFolder(tmp_path / twice).status["state"] == "interrupted"
    again = list(sweep(configs, tmp_path, jobs=1))[-1]
    assert (again.runs_done, again.failed) == (3, {})
    list(sweep(configs[:2], tmp_path / "undisturbed", jobs=2))
    for name in (once, twice):
        assert_same_run(RunFolder(tmp_path / name), RunFolder(tmp_path / "undisturbed" / name))


def test_a_run_that_fails_is_named_and_the_others_finish(tmp_path, capsys):
    lost = dict(batch_size=2, weight_decay=1)
    axes = QUICK | lost | dict(learning_rate="0.05,100")
    assert main(command(tmp_path, **axes)) == 1
    errors = capsys.readouterr().err
    bad = run_name(runs_of(learning_rate=100, **lost)[0])
    assert f"{bad} died and was restarted" in errors
    assert f"error: {bad} failed twice: the training loss became nan" in errors
    frame = pd.read_parquet(tmp_path / "table.parquet")
    assert frame.groupby("learning_rate")["state"].first().to_dict() == {
        0.05: "done",
        100: "failed",
    }


@pytest.mark.slow
def test_two_sweeps_over_one_folder_share_the_work(swept, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "POLL", 0.1)
    configs = runs_of(k=[1, 2], seed=[0, 1])
    both = [sweep(configs, tmp_path, jobs=1), sweep(configs, tmp_path, jobs=1)]
    last = {}
    while len(both) > len([n for n in last.values() if n.runs_done == 4]):
        for number, one in enumerate(both):
            last[number] = next(one, last.get(number))
    assert not any(now.failed or now.retried for now in last.values())
    for name, run in runs_in(tmp_path).items():
        assert_same_run(run, RunFolder(swept / name))


def _begin(arguments: list[str], **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "engine", *arguments], cwd=ROOT, **options)


@pytest.mark.slow
def test_a_killed_sweep_and_a_stopped_one_go_on_as_if_nothing_had_been(tmp_path, capsys):
    axes = QUICK | dict(seed="0,1", epochs=50)
    arguments = [*command(tmp_path / "a", **axes), "--jobs", "2"]
    process = _begin(arguments, stderr=subprocess.DEVNULL)
    while sum(len(run.epochs) > 1 for run in runs_in(tmp_path / "a").values()) < 2:
        time.sleep(0.05)
    process.kill()
    process.wait()

    # the same command at once, on a terminal, while the killed one's processes may still live
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 100))
    process = _begin(arguments, stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    shown = _read(ours, until=r"[1-9]\d*/100 \[")
    first = int(re.findall(r"(\d+)/100 \[", shown)[-1])
    shown += _read(ours, until=rf"{first + 1}/100 \[|{first + 2}/100 \[|[1-9]epoch/s")
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    shown += _read(ours)
    assert process.wait(60) == 130
    assert first >= 4
    assert "stopped; run the same command to continue" in shown
    assert "2 of 2 runs" in shown
    assert "Traceback" not in shown
    assert {run.status["state"] for run in runs_in(tmp_path / "a").values()} == {"stopped"}
    assert len(pd.read_parquet(tmp_path / "a" / "table.parquet")) > first

    assert main(arguments) == 0
    assert main([*command(tmp_path / "b", **axes), "--jobs", "2"]) == 0
    for name, run in runs_in(tmp_path / "a").items():
        assert_same_run(run, RunFolder(tmp_path / "b" / name))


def _read(descriptor: int, until: str = "(?!)") -> str:
    """What a terminal shows up to a pattern, or to its end."""
    text = ""
    while not re.search(until, text):
        try:
            text += os.read(descriptor, 65536).decode(errors="replace")
        except OSError:  # the other side is closed
            break
    return text


def test_a_second_interrupt_does_not_wait():
    class Stuck:
        signals: list[str] = []

        def terminate(self):
            self.signals.append("terminate")

        def join(self):
            raise KeyboardInterrupt

        def kill(self):
            self.signals.append("kill")

    with pytest.raises(KeyboardInterrupt):
        executors.ProcessExecutor(1, []).stop([(Stuck(), None, None)])
    assert Stuck.signals == ["terminate", "kill"]


# --- how far it is


def test_the_time_left_does_not_count_what_was_there(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    def slow():
        yield Progress(10, 1000, 5, 500)
        for n in (505, 510):
            time.sleep(0.2)
            yield Progress(10, 1000, 5, n, retried=("a",))

    console.watch_sweep(slow())
    shown = capsys.readouterr().err
    assert "5/10 runs:  51%" in shown
    assert "510/1000 [00:00<00:" in shown
    speeds = [float(word) for word in re.findall(r"([\d.]+)epoch/s", shown)]
    assert 0 < speeds[-1] <= 25
    assert shown.count("a died and was restarted") == 1


# --- on a Ray cluster


@pytest.fixture(scope="module")
def cluster():
    """Two machines of one CPU each, as far as Ray can tell."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    pytest.importorskip("ray", reason="Ray is an extra: pip install -e '.[ray]'")
    from ray.cluster_utils import Cluster

    node = dict(num_cpus=1, object_store_memory=100_000_000)
    made = Cluster()
    try:
        made.add_node(**node, include_dashboard=False)
        made.add_node(**node)
    except Exception as error:  # Ray gives its own helpers 15 seconds to start, whatever the load
        if "timed out during startup" not in str(error):
            raise
        made.shutdown()
        pytest.skip(f"Ray did not start on this busy machine: {error}")
    yield made
    made.shutdown()


@pytest.mark.slow
def test_a_cluster_makes_the_same_table(cluster, swept, tmp_path, monkeypatch, capfd):
    notes = tmp_path / "notes"
    notes.mkdir()
    work = executors._work_in_task

    def noted(config, folder, threads, home, origins):  # a closure: it travels without this file
        import ray

        (notes / ray.get_runtime_context().get_node_id()).touch()
        if config.k == 2 and config.seed == 1 and not (notes / "died").exists():
            (notes / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return work(config, folder, threads, home, origins)

    monkeypatch.setattr(executors, "_work_in_task", noted)
    assert main([*command(tmp_path / "runs", **AXES), "--ray", cluster.address]) == 0
    dead = run_name(runs_of(k=2, seed=1)[0])
    assert f"{dead} died and was restarted" in capfd.readouterr().err
    assert len(list(notes.iterdir())) == 2 + 1  # both machines, and the death
    here, there = (pd.read_parquet(root / "table.parquet") for root in (swept, tmp_path / "runs"))
    pd.testing.assert_frame_equal(here.drop(columns="seconds"), there.drop(columns="seconds"))
    for name, run in runs_in(tmp_path / "runs").items():
        assert_same_run(run, RunFolder(swept / name))


@pytest.mark.slow
def test_a_sweep_on_a_cluster_stops_and_leaves_nothing_running(cluster, tmp_path):
    axes = QUICK | dict(seed="0,1", epochs=20_000)
    arguments = [*command(tmp_path / "runs", **axes), "--ray", cluster.address]
    process = _begin(arguments, stderr=subprocess.PIPE, text=True)
    while sum(len(run.epochs) for run in runs_in(tmp_path / "runs").values()) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert "stopped; run the same command to continue" in process.communicate(timeout=120)[1]
    assert process.returncode == 130
    states = {run.status["state"] for run in runs_in(tmp_path / "runs").values()}
    assert states == {"stopped"}


@pytest.mark.slow
def test_a_missing_cluster_or_machine_without_the_folder_says_so(tmp_path, capsys):
    pytest.importorskip("ray", reason="Ray is an extra: pip install -e '.[ray]'")
    assert main([*command(tmp_path / "new", **QUICK), "--ray", "127.0.0.1:1"]) == 2
    assert "ray = '127.0.0.1:1': no such cluster" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    message = executors._work(runs_of()[0], tmp_path / "elsewhere" / "run", 1, [], lambda: False)
    assert f"does not see {tmp_path / 'elsewhere'}" in message


def _talk(sender) -> None:
    sender.send("x" * 200_000)


def test_a_message_larger_than_the_pipe_does_not_hang_the_sweep():
    backend = executors.ProcessExecutor(1, runs_of(k=[1]))
    receiver, sender = backend.context.Pipe(duplex=False)
    process = backend.context.Process(target=_talk, args=(sender,), daemon=True)
    process.start()
    sender.close()
    job, deadline = (process, receiver, None), time.monotonic() + 30
    try:
        while not backend.poll({"run": job}):
            assert time.monotonic() < deadline, "the run does not end"
        assert backend.result(job) == "x" * 200_000
        assert process.exitcode == 0
    finally:
        process.kill()


class Pinned:
    """A context that starts no process, and notes the GPU that each would be alone with."""

    def __init__(self):
        self.pins = []

    def Pipe(self, duplex):  # noqa: N802
        return open(os.devnull), open(os.devnull)  # noqa: SIM115

    def Process(self, target, args, daemon):  # noqa: N802
        self.pins.append((args[0].device, args[3]))
        return self

    def start(self):
        pass


@pytest.fixture
def three_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)


def test_a_run_on_a_gpu_that_is_named_sees_all_gpus(three_gpus, tmp_path):
    (config,) = runs_of(k=[1])
    configs = [config.changed(device=device) for device in ("cuda:1", "auto", "cuda")]
    backend = executors.ProcessExecutor(1, configs)
    backend.context = Pinned()
    for number, config in enumerate(configs):
        backend.start(config, tmp_path / str(number))
    assert backend.context.pins == [("cuda:1", None), ("auto", 0), ("cuda", 2)]
    assert backend.runs_on == {0: 1, 1: 1, 2: 1}


def test_a_run_that_was_begun_on_a_gpu_that_is_named_goes_on_there(three_gpus, swept, tmp_path):
    (config,) = runs_of(k=[1], seed=[0])
    folder = tmp_path / run_name(config)
    shutil.copytree(swept / folder.name, folder)
    text = (folder / "config.json").read_text()
    assert '"device": "auto"' in text
    (folder / "config.json").write_text(text.replace('"device": "auto"', '"device": "cuda:2"', 1))
    backend = executors.ProcessExecutor(1, [config])
    backend.context = Pinned()
    backend.start(config, folder)
    assert backend.context.pins == [("auto", None)]
    assert backend.runs_on == {0: 0, 1: 0, 2: 1}
