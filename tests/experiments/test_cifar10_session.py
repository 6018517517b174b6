"""The timed session on CIFAR-10: its order and limits, and its results whatever stops it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.__main__ import main
from engine.config import configure
from engine.experiments.cifar10 import items
from engine.experiments.cifar10.session import FULL, Item, Session, run_session
from engine.profiling.self_check import self_check
from tests.conftest import blobs, slow
from tests.experiments.conftest import tiny_cifar

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--limit", "60", "--network", "small", "--device", "cpu", "--batch-size", "32"]
# installed where a GPU is lent, and what these need; other libraries of the project are not
THERE = {
    "torch", "torchvision", "numpy", "scikit-learn", "scipy", "pandas", "pillow", "tqdm",
    "filelock", "threadpoolctl", "pydantic", "annotated-types",
}  # fmt: skip
MODULES = {"umap-learn": "umap"}  # of packages whose module has another name


def run_items(made: list[Item], tmp_path: Path, seconds: float = 100.0):
    session = Session(blobs(), torch.device("cpu"), {}, tmp_path / "curves.jsonl")
    path = tmp_path / "results.json"
    ended = run_session(made, session, seconds, path, {"experiment": "x"}, time.monotonic())
    return ended, json.loads(path.read_text()), session


def test_a_failing_item_and_a_slow_one_stop_no_other(tmp_path):
    def fails(session, result):
        result["first"] = 1
        raise RuntimeError("no such kernel")

    def handles_everything(session, result):
        while True:
            try:
                time.sleep(60)
            except Exception:
                result["handled"] = True

    def works(session, result):
        result |= {"number": 1 / 3, "nan": float("nan")}
        session.add_epoch({"epoch": 0, "loss": float("inf")})

    made = [
        Item("fails", FULL / 10, fails),
        Item("slow", 0.2 * FULL / 100, handles_everything),
        Item("too long", FULL * 4, works),
        Item("works", FULL / 10, works),
        Item("rest", float("inf"), works),
    ]
    ended, results, _ = run_items(made, tmp_path)
    found = results["items"]
    assert ended
    assert results["state"] == "done"
    assert list(found) == [item.name for item in made]
    states = [found[item.name]["state"] for item in made]
    assert states == ["failed", "out of time", "done", "done", "done"]
    assert found["fails"]["first"] == 1
    assert found["fails"]["error"] == "RuntimeError: no such kernel"
    assert found["slow"].keys() == {"state", "seconds"}
    assert 0.2 <= found["slow"]["seconds"] < 5
    assert (found["works"]["number"], found["works"]["nan"]) == (0.333333, None)
    lines = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert [line["item"] for line in lines] == ["too long", "works", "rest"]
    assert lines[0]["loss"] is None


def test_limits_scale_with_the_session_and_too_little_time_is_not_begun(tmp_path):
    left = {}

    def looks(session, result):
        left[session.item] = session.left()

    def waits(session, result):
        time.sleep(0.7)

    made = [
        Item("first", FULL / 2, looks),  # half of the session's 3 seconds
        Item("waits", FULL / 2, waits),
        Item("skipped", FULL / 2, looks),
        Item("small", FULL / 100, looks),
        Item("rest", float("inf"), looks),
    ]
    _, results, _ = run_items(made, tmp_path, seconds=3)
    assert 0.9 < left["first"] <= 1  # of 3 seconds, 2 are kept for the end
    states = {name: item["state"] for name, item in results["items"].items()}
    assert states == {
        "first": "done",
        "waits": "done",
        "skipped": "skipped",
        "small": "done",
        "rest": "done",
    }


def test_results_are_on_disk_before_every_item_and_when_it_is_terminated(tmp_path):
    path, seen = tmp_path / "results.json", []

    def reads(session, result):
        seen.append(json.loads(path.read_text()))

    def ends(session, result):
        result["half"] = True
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    before = signal.getsignal(signal.SIGTERM)
    made = [Item("a", 50, reads), Item("b", 50, reads), Item("c", 50, ends), Item("d", 50, reads)]
    ended, results, _ = run_items(made, tmp_path)
    assert signal.getsignal(signal.SIGTERM) == before
    assert not ended
    assert results["state"] == "terminated"
    states = {name: item["state"] for name, item in results["items"].items()}
    assert states == {"a": "done", "b": "done", "c": "terminated", "d": "waiting"}
    assert results["items"]["c"]["half"] is True
    assert [one["state"] for one in seen] == ["running", "running"]
    assert seen[1]["items"]["a"]["state"] == "done"


def test_a_shorter_run_has_its_phases_at_the_same_shares():
    config = configure(preset="cifar10-fast", dataset="cifar10")  # 80 epochs, 16 and 64
    short = items._resized(config, seconds_an_epoch=1.0, left=43.1)  # 0.93 of it: 40 epochs
    assert (short.epochs, short.warmup, short.correction_start) == (40, 8, 32)
    assert items._resized(config, 1.0, 1000.0) == config
    assert items._resized(config, 1.0, 0.0).epochs == 3


def test_the_device_is_compared_piece_by_piece(monkeypatch):
    config, data = configure(network="small"), blobs(n=300)
    cpu = torch.device("cpu")
    rows = list(self_check(config, data, cpu))
    assert len({row["name"] for row in rows}) == len(rows) > 8
    assert all(row["ok"] and row["difference"] == 0 for row in rows)

    original, calls = items.nearest, []
    name = "engine.profiling.self_check.nearest"

    def wrong_there(points, k):  # the second call is the device's
        calls.append(k)
        indices, distances = original(points, k)
        return (indices.roll(1, 0), distances) if len(calls) == 2 else (indices, distances)

    monkeypatch.setattr(name, wrong_there)
    rows = list(self_check(config, data, cpu))
    assert [row["name"] for row in rows if not row["ok"]] == ["neighbors"]


def test_options_that_the_session_does_not_have_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MIXNN_DATA", str(tmp_path))
    tiny_cifar(tmp_path)
    for words, error in (
        (["cifar10", "--jobs", "2"], "jobs = 2: allowed is without cifar10"),
        (["cifar10", "methods"], "allowed is cifar10 alone"),
        (["cifar10", "--rate", "0.2"], "rate = '0.2': the items set it themselves"),
        (["cifar10", "--seconds", "0"], "seconds = 0: allowed is a number above 0"),
        (["methods", "--seconds", "9"], "seconds = 9.0: allowed is with cifar10 alone"),
        (["cifar10", "--seed", "0:2"], "seed = '0:2': allowed is a whole number"),
    ):
        assert main(["experiment", *words, "--out", str(tmp_path / "out")]) == 2
        assert error in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


MISSING = """
import sys
class Missing:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing)
"""


def command(folder: Path, seconds: float, *, before: str = "") -> list[str]:
    words = ["experiment", "cifar10", "--seconds", str(seconds), "--out", str(folder), *TINY]
    return [sys.executable, "-c", f"{before}from engine.__main__ import main; exit(main({words}))"]


def environment(folder: Path) -> dict[str, str]:
    tiny_cifar(folder)
    return os.environ | {"MIXNN_DATA": str(folder), "OMP_NUM_THREADS": "1", "MIXNN_COMMIT": "abc"}


@slow
def test_the_whole_session_needs_only_what_a_machine_with_a_gpu_has(tmp_path):
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    packages = {found[0] for line in lines if (found := re.match(r"[\w.-]+", line))} | {"ray"}
    blocked = {MODULES.get(p, p.replace("-", "_")) for p in packages - THERE}
    assert {"streamlit", "plotly", "umap", "hnswlib", "cleanlab", "pyarrow"} <= blocked
    before = MISSING.format(names=sorted(blocked))
    out = tmp_path / "out"
    result = subprocess.run(
        command(out, 600, before=before),
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert result.returncode == 0, result.stderr
    results = json.loads((out / "cifar10.json").read_text())
    found = results["items"]
    assert list(found) == [item.name for item in items.ITEMS]
    assert {item["state"] for item in found.values()} == {"done"}, found
    assert results["machine"]["torch"] == torch.__version__
    assert found["self-check"]["ok"]
    for name in ("steps of ResNet-9", "steps of ResNet-18", "steps of ResNet-34"):
        ways, least = found[name]["ways"], found[name]["floor"]
        assert list(ways) == ["eager", "not deterministic"]  # a CPU has no more
        for row in ways.values():
            assert row["epoch_s"] > 0
            expected = row["step_ms"] / least["step_ms"]
            assert row["times_the_floor"] == pytest.approx(expected, rel=1e-4)
    lines = [json.loads(line) for line in (out / "cifar10-curves.jsonl").read_text().splitlines()]
    trained = [i.name for i in items.ITEMS if isinstance(i.measure, items.Training)]
    for name in trained:
        own = [line for line in lines if line["item"] == name]
        assert [line["epoch"] for line in own] == list(range(found[name]["epochs"]))
        assert own[-1]["test_accuracy"] == found[name]["test_accuracy"]
        assert own[-1]["wall"] == found[name]["wall"]
    reference = [line["phase"] for line in lines if line["item"] == "three epochs of reference"]
    assert reference == ["warmup", "early", "main"]
    assert found["worse"]["settings"]["noise"] == "human"
    assert found["neighbors"]["n"] == 60
    assert not list(out.glob("**/*.tmp"))


@slow
def test_kill_leaves_what_was_measured(tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(out, 400),
        cwd=ROOT,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    curves, name = out / "cifar10-curves.jsonl", "mixnn-plus by cifar10-best, sized"
    end = time.monotonic() + 120
    while not (curves.exists() and curves.stat().st_size) and time.monotonic() < end:
        time.sleep(0.1)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    results = json.loads((out / "cifar10.json").read_text())
    states = {n: item["state"] for n, item in results["items"].items()}
    assert results["state"] == states[name] == "terminated"
    assert states["self-check"] == states["steps of ResNet-9"] == "done"
    assert states["elr"] == "waiting"
    lines = [json.loads(line) for line in curves.read_text().splitlines()]
    assert results["items"][name]["epochs_done"] in (len(lines), len(lines) - 1)
    assert np.isfinite(lines[0]["train_loss"])
