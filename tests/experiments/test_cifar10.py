"""The headline benchmark: its runs, and its results against the run folders."""

import json
import os
import signal
import threading
import time
from collections import Counter

import numpy as np
import pytest

from engine.__main__ import main
from engine.cli.console import watch_sweep
from engine.config import BEST, FAST, METHODS
from engine.errors import NoiseError
from engine.experiments import cifar10
from engine.runs.folder import RunFolder
from engine.runs.naming import run_name
from engine.runs.runner import Runner
from engine.training.state import State

TINY = dict(
    network="small", epochs=3, warmup=1, correction_start=2, batch_size=32, cutout=2, device="cpu"
)
# what the plain method does of everything that a preset may do otherwise
PLAIN = dict(
    loss="ce",
    sharpen=1.0,
    align="none",
    weight_ema=0.0,
    flip_average="none",
    cutout=0,
    jitter=0.0,
    nesterov=False,
    schedule="cosine",
    neighbor_scope="dataset",
    early_mixing="neighbors",
    early_loss="same",
    early_extra=0,
    loss_history=1,
    correction_interval=1,
    correction_source="evaluation",
    warmup_shuffle=True,
    warmup_augment=True,
    unmixed_forward=False,
)
REFERENCE_QUIRKS = {
    "schedule", "neighbor_scope", "early_mixing", "early_loss", "early_extra", "loss_history",
    "correction_interval", "correction_source", "warmup_shuffle", "warmup_augment",
    "unmixed_forward",
}  # fmt: skip


def options(**settings) -> list[str]:
    pairs = (TINY | settings).items()
    return [word for name, value in pairs for word in (f"--{name.replace('_', '-')}", str(value))]


def changed(config, other) -> set[str]:
    """Names of the settings in which two settings differ."""
    mine, theirs = config.model_dump(), other.model_dump()
    return {name for name in mine if mine[name] != theirs[name]}


# --- which runs


def test_noises_are_the_ones_of_the_issue():
    made = cifar10.rows(["cifar10-fast"], ["all"])
    found = {r.noise: (c.noise, c.rate, c.human_labels) for r in made for c in r.configs}
    simulated = {"symmetric0.8", "symmetric0.6", "symmetric0.4", "symmetric0.2", "asymmetric0.4"}
    assert found.keys() == simulated | {"worse", "aggre"}
    for name in simulated:
        assert found[name][0] + str(found[name][1]) == name
    assert found["worse"][::2] == ("human", "worse")
    assert found["aggre"][::2] == ("human", "aggre")
    assert made[0].noise == "symmetric0.8"  # the headline itself comes first


def test_reference_is_the_authors():
    for row in cifar10.rows(["reference"], ["all"]):
        config = row.configs[0]
        expected = dict(
            dataset="cifar10",
            network="resnet34",
            epochs=300,
            batch_size=128,
            learning_rate=0.02,
            warmup=9,
            correction_start=59,
            correction_interval=10,
            neighbor_scope="batch",
            loss_history=5 if row.noise == "symmetric0.8" else 1,
            state_interval=300,
        )
        assert {name: getattr(config, name) for name in expected} == expected, row.noise


@pytest.mark.parametrize(("preset", "settings"), [("cifar10-fast", FAST), ("cifar10-best", BEST)])
def test_other_presets_are_theirs(preset, settings):
    expected = dict(
        state_interval=settings["epochs"], method="mixnn-elr", dataset="cifar10", limit=None
    )
    (row,) = cifar10.rows([preset], ["symmetric0.8"], seeds=[3])
    assert {n: getattr(row.configs[0], n) for n in settings | expected} == settings | expected
    assert (row.configs[0].seed, row.kind, row.name) == (3, "whole", "mixnn")


def test_knobs_come_last():
    (row,) = cifar10.rows(
        ["cifar10-best"],
        ["worse"],
        dataset="digits",
        epochs="7",
        state_interval="2",
        seeds=[0, 1],
        correction_start="3",
        warmup="1",
    )
    assert [(c.dataset, c.epochs, c.state_interval, c.seed) for c in row.configs] == [
        ("digits", 7, 2, 0),
        ("digits", 7, 2, 1),
    ]


@pytest.mark.parametrize("preset", cifar10.PRESETS)
def test_methods_beside_share_network_and_budget(preset):
    whole, *others = cifar10.rows([preset], ["symmetric0.4"], baselines=["ce", "mixup", "elr"])
    assert [row.name for row in others] == ["ce", "mixup", "elr"]
    for row in others:
        config = row.configs[0]
        own = METHODS[row.name]
        assert {name: getattr(config, name) for name in own} == own
        assert changed(config, whole.configs[0]) <= own.keys()
        assert config.method == row.name


@pytest.mark.parametrize("preset", cifar10.PRESETS)
def test_an_ablation_changes_one_ingredient(preset):
    whole, *less = cifar10.rows([preset], ["symmetric0.8"], ablation=True)
    lost = {row.name: changed(row.configs[0], whole.configs[0]) for row in less}
    assert lost.pop("mixnn, equal weights") == {"weighting"}
    assert lost.pop("mixnn, no correction") == {"correction"}
    random = next(row.configs[0] for row in less if row.name == "mixnn, random partners")
    assert random.early_mixing == "mixup"
    assert random.early_extra == random.epochs  # to the end
    assert lost.pop("mixnn, random partners") <= {"early_mixing", "early_extra"}
    assert all(len(settings) == 1 for settings in lost.values())
    for row in less[3:]:
        (setting,) = lost[row.name]
        assert getattr(row.configs[0], setting) == PLAIN[setting]
        assert row.name == f"mixnn, {setting} {str(PLAIN[setting]).lower()}"
    of_preset = {"cifar10-fast": FAST, "cifar10-best": BEST}
    settings = of_preset.get(preset, dict.fromkeys(REFERENCE_QUIRKS))
    expected = {name for name in PLAIN if name in settings and settings[name] != PLAIN[name]}
    assert set().union(*lost.values()) == expected
    assert len(lost) == len(expected)


def test_an_ablation_leaves_out_what_a_knob_has_taken_away():
    made = cifar10.rows(["fast"], ["symmetric0.8"], ablation=True, cutout=0, weighting="equal")
    names = {row.name for row in made}
    assert "mixnn, align none" in names
    assert not {"mixnn, cutout 0", "mixnn, equal weights"} & names


def test_first_seeds_come_first():
    made = cifar10.rows(
        ["cifar10-fast", "cifar10-best"], ["symmetric0.8", "worse"], baselines=["ce"], seeds=[0, 1]
    )
    order = [(c.epochs, c.seed, c.noise, c.method) for c in cifar10.configs_of(made)]
    assert order == [
        (epochs, seed, noise, method)
        for epochs in (FAST["epochs"], BEST["epochs"])
        for seed in (0, 1)
        for noise in ("symmetric", "human")
        for method in ("mixnn-elr", "ce")
    ]


def test_a_run_of_two_rows_is_made_once():
    made = cifar10.rows(["cifar10-fast"], ["symmetric0.8"], baselines=["mixnn-elr"], ablation=True)
    assert max(Counter(map(run_name, cifar10.configs_of(made))).values()) == 1
    assert len(cifar10.configs_of(made)) == len(made) - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "quick"], "preset = 'quick': allowed are reference, cifar10-fast"),
        (["--noise", "symmetric0.3"], "noise = 'symmetric0.3': allowed are symmetric0.8, "),
        (["--noise", "all,worse"], "each value once"),
        (["--baselines", "ce,mixnn"], "baselines = 'mixnn': allowed are ce, mixup, "),
        (["--seed", ""], "seed = []: allowed is one value or more"),
        (["--seed", "1.5"], "seed = 1.5: allowed is a whole number"),
        (["--minutes", "0"], "minutes = 0.0: allowed is a number above 0"),
        (["--epochs", "0"], "epochs = '0': allowed is"),
        (["--k", "90"], "k = '90': allowed is 1 to 63 for 64 samples"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(cifar, capsys, arguments, message):
    places = ["--out", str(cifar / "out"), "--runs", str(cifar / "runs")]
    assert main(["headline", *options(), *arguments, *places]) == 2
    assert message.replace("'90'", "90") in capsys.readouterr().err
    assert not (cifar / "out").exists()
    assert not (cifar / "runs").exists()


def test_noise_that_is_not_there(cifar):
    (cifar / "cifar10n_labels.npz").unlink()
    _, kept, notes = cifar10.load(cifar10.rows(["cifar10-fast"], ["all"], **TINY), lenient=True)
    assert {row.noise for row in kept} == cifar10.NOISES.keys() - {"worse", "aggre"}
    assert len(notes) == 2
    assert "aggre is left out: no human labels of cifar10: put" in notes[1]
    with pytest.raises(NoiseError, match="no human labels of cifar10: put"):
        cifar10.load(cifar10.rows(["cifar10-fast"], ["worse"], **TINY))


# --- from the command to the files


def test_headline_from_command_to_files(cifar, capsys):
    command = ["headline", *options(), "--noise", "all", "--out", str(cifar / "out")]
    command += ["--runs", str(cifar / "runs")]
    assert main(command) == 0
    summary = json.loads((cifar / "out" / "headline-cifar10-fast.json").read_text())
    assert [row["noise"] for row in summary["rows"]] == list(cifar10.NOISES)
    assert summary["paper"]["test_accuracy"] == 0.8608
    assert any("JPEG" in note for note in summary["notes"])
    assert summary["settings"]["cutout"] == 2
    assert summary["rows"][5]["knobs"] == {"noise": "human", "rate": 0.4, "human_labels": "worse"}
    assert summary["data"][0]["n"] == 64
    lines = capsys.readouterr().out.splitlines()
    assert lines[-9].startswith("-")
    assert lines[-8].split()[:4] == ["paper", "symmetric0.8", "mixnn,", "resnet34,"]
    assert "86.08 %" in lines[-8]
    assert [line.split()[1] for line in lines[-7:]] == list(cifar10.NOISES)
    (name,) = summary["rows"][0]["runs"]
    last = RunFolder(cifar / "runs" / name).epochs[-1]["metrics"]["test_accuracy"]
    assert lines[-7].split()[2:5] == ["mixnn", "1", f"{100 * last:.2f}"]
    worse = RunFolder(cifar / "runs" / summary["rows"][5]["runs"][0]).labels
    assert (worse["given"] != worse["true"]).sum() == 16


def test_rows_against_the_run_folders(cifar, capsys):
    command = ["headline", *options(), "--baselines", "ce", "--seed", "0:2", "--limit", "50"]
    command += ["--out", str(cifar / "out"), "--runs", str(cifar / "runs")]
    assert main(command) == 0
    path = cifar / "out" / "headline-cifar10-fast.json"
    summary = json.loads(path.read_text())
    assert summary["paper"] is None  # not on all of CIFAR-10
    assert "86.08" not in capsys.readouterr().out
    lasts = {}
    for row in summary["rows"]:
        runs = [RunFolder(cifar / "runs" / name) for name in row["runs"]]
        assert [run.config.seed for run in runs] == summary["seeds"] == [0, 1, 2]
        tests = np.array([[r["metrics"]["test_accuracy"] for r in run.epochs] for run in runs])
        lasts[row["method"]] = tests[:, -1]
        for name, values in (
            ("test_accuracy_last", tests[:, -1]),
            ("test_accuracy_best", tests.max(1)),
            ("label_accuracy", [run.epochs[-1]["metrics"]["label_accuracy"] for run in runs]),
            ("memorized", [run.epochs[-1]["metrics"]["memorized"] for run in runs]),
        ):
            assert row[name]["n"] == row["n"] == 3
            assert row[name]["mean"] == pytest.approx(np.mean(values))
            assert row[name]["std"] == pytest.approx(np.std(values, ddof=1))
        for run, accuracy in zip(runs, tests, strict=True):
            one = summary["runs"][run.folder.name]
            spent = np.cumsum([sum(r["seconds"].values()) for r in run.epochs])
            assert one["curve"]["epoch"] == [0, 1, 2]
            assert one["curve"]["test_accuracy"] == accuracy.tolist()
            assert one["curve"]["seconds"] == pytest.approx(spent, abs=1e-3)
            assert one["seconds"] == pytest.approx(spent[-1], abs=0.01)
            assert one["best_chosen_on"] == "test"
            assert (one["done"], one["sittings"]) == (True, 1)
            assert one["wall_seconds"] > spent[-1] - 0.01
    whole, ce = summary["rows"]
    assert whole["against_whole"] is None
    more = lasts["ce"] - lasts["mixnn"]
    assert ce["against_whole"]["mean"] == pytest.approx(more.mean())
    assert ce["against_whole"]["std"] == pytest.approx(more.std(ddof=1))
    assert ce["knobs"] == {"mixing": "none", "loss": "ce", "correction": "none"}
    assert whole["knobs"] == {}
    for machine in summary["machines"]:
        assert {"processor", "torch", "commit", "device", "version"} <= machine.keys()

    # the same command makes none of them again, and more seeds only the new ones
    files = {p: p.stat().st_mtime_ns for p in (cifar / "runs").glob("*/epochs.jsonl")}
    assert main(command) == 0
    assert files == {p: p.stat().st_mtime_ns for p in (cifar / "runs").glob("*/epochs.jsonl")}
    assert json.loads(path.read_text()) == summary


def test_an_ablation_runs(cifar, capsys):
    command = ["headline", *options(epochs=2, correction_start=1), "--ablation"]
    assert main([*command, "--out", str(cifar / "o"), "--runs", str(cifar / "r")]) == 0
    rows = json.loads((cifar / "o" / "headline-cifar10-fast.json").read_text())["rows"]
    assert [row["kind"] for row in rows] == ["whole"] + ["ablation"] * (len(rows) - 1)
    assert all(row["n"] == 1 and row["test_accuracy_last"]["std"] is None for row in rows)
    assert {tuple(row["knobs"]) for row in rows[4:]} < {(name,) for name in PLAIN}
    assert capsys.readouterr().out.count("cifar10-fast  symmetric0.8") == len(rows)


# --- cut off, and gone on with


def test_a_cut_run_goes_on(cifar, monkeypatch):
    monkeypatch.setattr(cifar10.runs, "POLL", 0.005)
    made = cifar10.rows(["reference"], ["symmetric0.8"], seeds=[0, 1], **TINY | {"epochs": 14})
    data, made, _ = cifar10.load(made)
    configs = cifar10.configs_of(made)
    root, uncut = cifar / "runs", cifar / "uncut"
    first, second = (root / run_name(config) for config in configs)

    def clock() -> float:  # the time is up once two epochs are there
        exists = (first / "config.json").exists()  # the last file of a new run
        return 61.0 if exists and len(RunFolder(first).epochs) >= 2 else 0.0

    begun = time.perf_counter()
    *_, last = cifar10.run_all(configs, root, data, minutes=1, clock=clock)
    assert 2 <= last.epochs_done < 14
    n_cut = last.epochs_done
    assert (last.runs_done, last.n_runs, dict(last.failed)) == (0, 2, {})
    assert RunFolder(first).status["state"] == "stopped"
    assert not second.exists()
    summary = cifar10.summarize("reference", made, root)
    assert summary["rows"][0]["n"] == 0
    assert summary["rows"][0]["test_accuracy_last"]["mean"] is None
    assert any(f"{first.name} has {n_cut} of its 14 epochs" in n for n in summary["notes"])
    assert len(summary["runs"][first.name]["curve"]["epoch"]) == n_cut
    assert cifar10.table([summary])[-1][3:] == ("0", "-", "-", "-", "-", "-")

    *_, last = cifar10.run_all(configs, root, data)
    took = time.perf_counter() - begun
    assert (last.runs_done, last.epochs_done) == (2, 28)
    summary = cifar10.summarize("reference", made, root)
    one = summary["runs"][first.name]
    sittings = json.loads((first / "sittings.json").read_text())
    assert [sitting["epochs"] for sitting in sittings] == [n_cut, 14 - n_cut]
    assert one["sittings"] == 2
    assert one["wall_seconds"] == pytest.approx(sum(s["seconds"] for s in sittings), abs=0.01)
    assert one["seconds"] - 0.01 < one["wall_seconds"] < took
    assert summary["rows"][0]["n"] == 2

    # as if it had never been cut
    for _ in cifar10.run_all(configs[:1], uncut, data):
        pass
    numbers = [[r["metrics"] for r in RunFolder(f / first.name).epochs] for f in (root, uncut)]
    assert numbers[0] == numbers[1]

    # a sitting that was killed has left no time
    (first / "sittings.json").write_text(json.dumps(sittings[1:]))
    summary = cifar10.summarize("reference", made, root)
    assert summary["runs"][first.name]["wall_seconds"] is None
    assert summary["rows"][0]["wall_seconds"]["n"] == 1


def test_preparing_a_run_is_no_part_of_its_wall_time(cifar, monkeypatch):
    prepare = State.__init__

    def slow(*arguments, **named):
        time.sleep(0.6)
        prepare(*arguments, **named)

    monkeypatch.setattr(State, "__init__", slow)
    data, made, _ = cifar10.load(cifar10.rows(["cifar10-fast"], ["symmetric0.8"], **TINY))
    begun = time.perf_counter()
    for _ in cifar10.run_all(cifar10.configs_of(made), cifar, data):
        pass
    took = time.perf_counter() - begun
    (run,) = cifar10.summarize("cifar10-fast", made, cifar)["runs"].values()
    assert run["seconds"] - 0.01 < run["wall_seconds"] < took - 0.3


def test_time_that_is_up_is_said(cifar, capsys):
    places = ["--out", str(cifar / "out"), "--runs", str(cifar / "runs")]
    assert main(["headline", *options(), "--minutes", "1e-9", *places]) == 130
    printed = capsys.readouterr()
    assert "time limit reached, 1 runs left; run the same command to continue" in printed.err
    assert printed.out.splitlines()[-1].split()[:4] == [
        "cifar10-fast",
        "symmetric0.8",
        "mixnn",
        "0",
    ]
    assert main(["headline", *options(), *places]) == 0


def test_a_run_that_fails_is_no_row(cifar, capsys):
    row = cifar10.rows(["cifar10-fast"], ["symmetric0.8"], baselines=["ce"], **TINY)[1]
    (cifar / "runs").mkdir()
    (cifar / "runs" / run_name(row.configs[0])).write_text("a file where a folder belongs")
    command = ["headline", *options(), "--beside", "ce", "--noise", "symmetric0.8,symmetric0.2"]
    assert main([*command, "--out", str(cifar / "out"), "--runs", str(cifar / "runs")]) == 1
    printed = capsys.readouterr()
    assert f"error: {run_name(row.configs[0])} failed: " in printed.err
    counts = [line.split()[1:4] for line in printed.out.splitlines()[-4:]]
    assert counts == [
        ["symmetric0.8", "mixnn", "1"],
        ["symmetric0.8", "ce", "0"],
        ["symmetric0.2", "mixnn", "1"],
        ["symmetric0.2", "ce", "1"],
    ]


def test_an_interrupt_waits_for_the_run(cifar, monkeypatch):
    """Thread.join does not, after one: the process would abort while its run still ends."""
    end = Runner._end

    def slow(runner, *words):
        time.sleep(0.3)
        end(runner, *words)

    monkeypatch.setattr(Runner, "_end", slow)
    data, made, _ = cifar10.load(
        cifar10.rows(["cifar10-fast"], ["symmetric0.8"], **TINY | {"epochs": 1000})
    )
    (config,) = cifar10.configs_of(made)
    folder = cifar / "runs" / run_name(config)

    def interrupt() -> None:
        while not ((folder / "epochs.jsonl").exists() and RunFolder(folder).epochs):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        watch_sweep(cifar10.run_all([config], cifar / "runs", data))
    assert RunFolder(folder).status["state"] == "stopped"


def test_a_closed_generator_stops_the_run(cifar):
    made = cifar10.rows(["cifar10-fast"], ["symmetric0.8"], **TINY | {"epochs": 1000})
    data, made, _ = cifar10.load(made)
    (config,) = cifar10.configs_of(made)
    progress = cifar10.run_all([config], cifar / "runs", data)
    while next(progress).epochs_done < 1:
        pass
    progress.close()
    run = RunFolder(cifar / "runs" / run_name(config))
    assert run.status["state"] == "stopped"
    assert 1 <= len(run.epochs) < 1000
    (sitting,) = json.loads((run.folder / "sittings.json").read_text())
    assert sitting["epochs"] == len(run.epochs)
