"""Every command, as a person types it."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.analysis.label_issues import label_issues
from engine.cli.parser import COMMANDS, main
from engine.config import GROUPS, METHODS, RunConfig, configure
from engine.runs.folder import RunFolder
from engine.runs.naming import free_folder

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--limit", "150", "--epochs", "4", "--warmup", "1", "--correction-start", "2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", *QUICK, "--k", "3", "--out", str(folder)]) == 0
    return folder


def test_train_prints_one_json_object(tmp_path, capsys):
    assert main(["train", *QUICK, "--seed", "3", "--json", "--out", str(tmp_path / "run")]) == 0
    numbers = json.loads(capsys.readouterr().out)
    expected = {
        "dataset": "digits", "method": "mixnn", "noise": "symmetric", "rate_requested": 0.4,
        "seed": 3, "epochs": 4, "device": "cpu", "state": "done", "best_chosen_on": "test",
    }  # fmt: skip
    assert {name: numbers[name] for name in expected} == expected
    labels = RunFolder(tmp_path / "run").labels
    wrong = (labels["given"] != labels["true"]).mean()
    assert numbers["rate_actual"] == pytest.approx(wrong)
    assert numbers["label_accuracy_given"] == pytest.approx(1 - wrong)
    for name in ("seconds", "test_accuracy_last", "test_accuracy_best", "memorized",
                 "label_accuracy_corrected", "clean_auroc"):  # fmt: skip
        assert isinstance(numbers[name], float), name
    assert numbers["test_accuracy_best"] >= numbers["test_accuracy_last"]


def test_a_line_per_epoch_and_a_closing_table(tmp_path, capsys):
    assert main(["train", *QUICK, "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert [line[:9] for line in printed.err.splitlines() if line.startswith("epoch ")] == [
        "epoch   0",
        "epoch   1",
        "epoch   2",
        "epoch   3",
    ]
    assert "label_accuracy_corrected" in printed.out


def test_show_reads_a_run(run, capsys):
    assert main(["show", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["k"] == 3
    assert main(["show", str(run)]) == 0
    assert "test_accuracy_last" in capsys.readouterr().out


def test_export_is_the_last_epoch_row_by_row(run, tmp_path, capsys):
    out = tmp_path / "new" / "corrected.csv"
    assert main(["export", str(run), "--out", str(out)]) == 0
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    reader = RunFolder(run)
    soft, clean = reader.array("soft")[-1], reader.array("clean")[1]  # the last not corrected
    found = label_issues(reader)
    labels, neighbors = reader.labels, reader.mixing_of(3)[0]
    ids = labels["ids"].tolist()
    assert [row["sample"] for row in rows] == ids
    suspicious = 0
    for i, row in enumerate(rows):
        assert row["given_label"] == str(labels["given"][i])
        assert row["true_label"] == str(labels["true"][i])
        assert row["corrected_label"] == str(found.proposed[i])
        assert row["soft_label_argmax"] == str(soft[i].argmax())
        assert float(row["soft_probability"]) == pytest.approx(soft[i].max(), abs=1e-6)
        assert float(row["p_clean"]) == pytest.approx(clean[i], abs=1e-6)
        doubt = i in found.flagged
        assert row["is_label_issue"] == str(doubt)
        assert row["decision"] == found.decisions()[i]
        assert row["reason"] == found.reason(i, reader.info["data"]["classes"])
        assert row["neighbors"] == ";".join(ids[j] for j in neighbors[i])
        suspicious += doubt
    printed = capsys.readouterr()
    assert printed.out.startswith("About")
    n_proposed = sum(row["corrected_label"] != row["given_label"] for row in rows)
    assert n_proposed == sum(row["decision"] == "change" for row in rows)
    assert f"{suspicious} label issues, {n_proposed} changes proposed" in printed.out
    assert not printed.err
    assert 0 < suspicious < len(rows)


def test_check_prints_and_writes_a_report(run, tmp_path, capsys):
    page, numbers = tmp_path / "new" / "r.html", tmp_path / "r.json"
    assert main(["check", "digits", "--limit", "150", "--out", str(page), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["counts"] == {"train": 150, "test": 360}
    assert "Data check: digits" in page.read_text()
    assert main(["check", "--run", str(run), "--out", str(numbers)]) == 0
    assert "by the run run" in capsys.readouterr().out
    (issues,) = [
        c for c in json.loads(numbers.read_text())["checks"] if c["kind"] == "label_issues"
    ]
    in_train = [item["samples"][0]["row"] for item in issues["items"]
                if item["samples"][0]["part"] == "train"]  # fmt: skip
    assert set(in_train) == set(label_issues(RunFolder(run)).flagged.tolist())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "name a data set"),
        (["digits", "--out", "x.pdf"], "ends with .html or .json"),
        (["npz:missing.npz"], "missing.npz"),
        (["shapes:100", "--run", "RUN"], "is on digits"),
        (["--run", "RUN", "--limit", "9"], "those of the run"),
    ],
)
def test_check_refuses_with_one_sentence(run, words, reason, capsys):
    assert main(["check", *(str(run) if word == "RUN" else word for word in words)]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_resume_and_fork(run, tmp_path, capsys):
    assert main(["resume", str(run)]) == 2
    assert "has all its 4 epochs" in capsys.readouterr().err
    fork = ["fork", str(run), "--epoch", "1", "--out", str(tmp_path / "f"), "--k", "7", "--json"]
    assert main(fork) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert (numbers["k"], numbers["epochs"]) == (7, 2)
    assert main([*fork[:3], "9", *fork[4:]]) == 2
    assert "epoch = 9" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_ends_cleanly_and_the_run_resumes(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "engine", "train", *QUICK[:2], "--epochs", "400",
               "--out", str(folder)]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if line.startswith("epoch   2"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"python -m engine resume {folder}" in err
    assert "stopped" in out
    run = RunFolder(folder)
    n = len(run.epochs)
    assert 3 <= n < 400
    assert run.status["state"] == "stopped"
    process = subprocess.Popen(
        [*command[:3], "resume", str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert next(line for line in process.stderr if "epoch" in line).startswith(f"epoch {n:3d}")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert len(run.epochs) > n


@pytest.mark.slow
def test_a_pipe_that_is_closed_stops_the_run_without_a_word(tmp_path):
    """As `train ... 2>&1 | head -1` closes it."""
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "engine",
            "train",
            *QUICK[:2],
            "--epochs",
            "400",
            "--out",
            str(folder),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout.readline().startswith(b"epoch   0")
    process.stdout.close()
    assert process.wait(60) == 141
    assert RunFolder(folder).status["state"] == "stopped"
    assert 1 <= len(RunFolder(folder).epochs) < 400


def test_output_that_nobody_reads_is_no_failure(tmp_path):
    """Nothing is written to stderr either, where a traceback would show."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "engine", "methods"]
    ended = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_resume_gives_a_complete_run_its_last_word(run, tmp_path, capsys):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    status = (folder / "status.json").read_text()
    (folder / "status.json").write_text(status.replace("done", "running"))
    assert main(["resume", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"
    assert main(["resume", str(folder)]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--k", "0"], "k = '0': allowed is a whole number from 1 to 100"),
        (["--rate", "2"], "rate = '2': allowed is a number from 0 to 1"),
        (["--method", "magic"], "method = 'magic': allowed are ce"),
        (["--noise-matrix", "/no/such/file"], "noise_matrix = '/no/such/file': allowed is a text"),
    ],
)
def test_bad_settings_say_so_and_leave_nothing_behind(arguments, message, tmp_path, capsys):
    assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "digit"], "did you mean 'digits'"),
        (["--dataset", "npz:/no/such.npz"], "such.npz"),
        (["--device", "cuda:77"], "device = 'cuda:77': this machine has"),
        (["--limit", "5"], "limit 5 is less than one sample for each of 10 classes"),
        (["--noise", "asymmetric", "--dataset", "shapes:100"], "pair and matrix"),
        (["--limit", "100", "--k", "100"], "k = 100: allowed is 1 to 99 for 100 samples"),
    ],
)
def test_bad_data_says_so_without_a_traceback(arguments, message, tmp_path, capsys):
    assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(run, capsys):
    before = (run / "epochs.jsonl").read_bytes()
    assert main(["train", *QUICK, "--out", str(run)]) == 1
    assert "already holds a run: resume it" in capsys.readouterr().err
    assert (run / "epochs.jsonl").read_bytes() == before


def test_no_run_there(tmp_path, capsys):
    for command in (["show"], ["export", "--out", "x.csv"], ["resume"]):
        assert main([command[0], str(tmp_path / "none"), *command[1:]]) == 2
        assert "no run folder" in capsys.readouterr().err


def test_a_matrix_from_a_file(tmp_path, capsys):
    matrix = 0.7 * np.eye(10) + 0.3 * np.eye(10)[[(c + 1) % 10 for c in range(10)]]
    path = tmp_path / "matrix.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in matrix))
    arguments = ["train", *QUICK, "--noise-matrix", str(path), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["noise"] == "matrix"
    assert numbers["rate_requested"] == pytest.approx(0.3)
    np.testing.assert_allclose(RunFolder(tmp_path / "run").labels["matrix"], matrix)


def test_listings(capsys):
    assert main(["datasets"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("digits", "shapes[:N]", "1,437", "npz:PATH"))
    assert main(["methods"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in (*METHODS, "symmetric-exclusive"))


def test_help_lists_every_command_with_its_summary(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name, (command, _) in COMMANDS.items():
        assert f" {name} {' '.join(command.__doc__.split())} " in text


def test_help_names_every_setting_in_its_group_with_default_and_range(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    printed = capsys.readouterr().out
    text = " ".join(printed.split())
    assert "a whole number from 1 to 100; default: 1, tuned: 1 or 5" in text
    # each group's heading is followed by its settings, before the next heading
    starts = [printed.index(f"\n{title}:\n") for title in GROUPS.values()] + [len(printed)]
    assert starts == sorted(starts)
    for group, start, end in zip(GROUPS, starts, starts[1:], strict=False):
        for name, field in RunConfig.model_fields.items():
            within = f"  --{name.replace('_', '-')} V" in printed[start:end]
            assert within == (field.json_schema_extra["group"] == group), name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["quux"], "unknown command 'quux'"),
        (["train", "--lerning-rate", "1"], "unknown option '--lerning-rate'; did you mean '--lear"),
        (["show", "x", "--jsno"], "unknown option '--jsno'; did you mean '--json'?"),
        (["methods", "--q=1"], "unknown option '--q'"),
        (["--verison", "methods"], "unknown option '--verison'; did you mean '--version'?"),
    ],
)
def test_unknown_words_are_answered_with_the_nearest_one(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "mixn"], "did you mean 'mixnn'?"),
        (["--preset", "cifar10-fats"], "did you mean 'cifar10-fast'?"),
        (["--mixing", "neighbor"], "none | mixup | neighbors; did you mean 'neighbors'?"),
        (["--network", "resnet-18"], "did you mean 'resnet18'?"),
    ],
)
def test_unknown_values_are_answered_with_the_nearest_one(arguments, message, tmp_path, capsys):
    assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err


def test_the_settings_of_a_run_are_taken_from_its_file(run, tmp_path):
    """Given as the file or as the run's folder; options and a method override it."""
    command = ["train", "--config", str(run / "config.json"), "--seed", "7", "--epochs", "3"]
    assert main([*command, "--out", str(tmp_path / "file")]) == 0
    assert RunFolder(tmp_path / "file").config == RunFolder(run).config.changed(seed=7, epochs=3)
    command = ["train", "--config", str(run), "--method", "elr", "--epochs", "1"]
    assert main([*command, "--out", str(tmp_path / "folder")]) == 0
    config = RunFolder(tmp_path / "folder").config
    assert (config.method, config.k, config.limit) == ("elr", 3, 150)


def test_a_file_of_settings_by_name(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"preset": "auto", "limit": 150, "epochs": 1, "noise": "none"}))
    assert main(["train", "--config", str(file), "--out", str(tmp_path / "run")]) == 0
    expected = configure(limit=150, epochs=1, noise="none")
    assert RunFolder(tmp_path / "run").config == expected


def test_a_sweep_over_the_settings_of_a_run(run, tmp_path, capsys):
    command = ["sweep", "--config", str(run), "--seed", "1,2", "--epochs", "2", "--jobs", "1"]
    assert main([*command, "--correction-start", "1", "--out", str(tmp_path)]) == 0
    configs = sorted((RunFolder(f).config for f in tmp_path.glob("digits-*")), key=lambda c: c.seed)
    expected = RunFolder(run).config.changed(epochs=2, correction_start=1, state_interval=2)
    assert configs == [expected.changed(seed=seed) for seed in (1, 2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "allowed is a JSON object of settings"),
        ('{"alhpa": 3}', "alhpa = 3: no such setting; did you mean 'alpha'?"),
        ('{"alpha": 7}', "alpha = 7: allowed is a number from 0 to 1"),
        ("{", "cannot be read"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(content, message, tmp_path, capsys):
    (tmp_path / "bad.json").write_text(content)
    command = ["train", "--config", str(tmp_path / "bad.json"), "--out", str(tmp_path / "run")]
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert main([*command, "--preset", "plain"]) == 2
    assert "preset = 'plain': allowed without --config" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["show", "RUN"]])
def test_a_closed_pipe_leaves_no_traceback(arguments, run):
    """As `train --help | head -1` closes it, here before the first line."""
    reader, writer = os.pipe()
    os.close(reader)
    words = [str(run) if word == "RUN" else word for word in arguments]
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}  # as in a shell
    ended = subprocess.run(
        [sys.executable, "-m", "engine", *words],
        cwd=ROOT,
        env=buffered,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_default_folders_do_not_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configure(dataset="npz:/a/b.npz", rate=0.2)
    first = free_folder(config, Path("runs"))
    first.mkdir(parents=True)
    second = free_folder(config, Path("runs"))
    assert first.parent == second.parent == Path("runs")
    assert (first.name, second.name) == (
        "npz-b-mixnn-symmetric0.2-seed0",
        "npz-b-mixnn-symmetric0.2-seed0-2",
    )
