"""epochs.jsonl: lines that are complete, lines that are torn, and folders of format 1."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.runs import records
from engine.runs.folder import RunFolder, StoreError, open_run
from engine.runs.runner import Runner
from engine.runs.schema import ARRAYS
from engine.runs.writer import RunWriter
from tests.conftest import blobs, quick
from tests.records import as_format_1, read_records, write_records

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("records") / "whole"
    Runner.new(quick(k=2, epochs=5), folder, data=blobs()).run()
    return folder


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.fixture
def parsed(monkeypatch) -> list[bytes]:
    """The texts of records that were parsed as JSON, one line each."""
    texts, loads = [], json.loads

    def noted(text: str | bytes):
        text = text if isinstance(text, bytes) else text.encode()
        texts.extend([part for part in text.split(b'{"epoch"') if b"seconds" in part])
        return loads(text)

    monkeypatch.setattr(records.json, "loads", noted)
    return texts


def without_seconds(run: RunFolder) -> list[dict]:
    return [record | {"seconds": 0} for record in run.epochs]


def assert_same(a: RunFolder, b: RunFolder) -> None:
    assert without_seconds(a) == without_seconds(b)
    for name in ARRAYS:
        np.testing.assert_array_equal(a.array(name), b.array(name))


def cut(folder: Path, epochs: int) -> None:
    """A run that was killed after so many epochs, with the state that it would have left."""
    state = folder / "states" / f"{epochs - 1}.pt"
    assert state.exists()
    for path in (folder / "states").glob("*.pt"):
        if int(path.stem) >= epochs:
            path.unlink()
    write_records(folder, read_records(folder)[:epochs])
    (folder / "status.json").write_text('{"state": "running", "message": "", "time": 0}')


def test_a_line_is_parsed_once_and_only_new_lines_are(folder, parsed):
    every = read_records(folder)
    write_records(folder, every[:3])
    parsed.clear()
    run = RunFolder(folder)
    first = run.epochs
    assert run.epochs is first
    assert len(run.sample(3)["loss"]) == 3
    assert len(parsed) == 3
    records.append(folder / "epochs.jsonl", every[3])
    assert [record["epoch"] for record in run.epochs] == [0, 1, 2, 3]
    assert len(parsed) == 4
    assert len(first) == 3, "a list that was read does not change"


def test_a_line_counts_once_it_is_complete(folder):
    path = folder / "epochs.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    run = RunFolder(folder)
    for n, torn in ((2, b""), (2, lines[2][:50]), (2, lines[2][:-1]), (3, b""), (4, b"{")):
        path.write_bytes(b"".join(lines[:n]) + torn)
        assert len(run.epochs) == n


@pytest.mark.parametrize("replaced", [True, False])
def test_records_that_were_changed_are_read_anew(folder, replaced):
    run = RunFolder(folder)
    every = run.epochs
    changed = [record | {"seconds": {"training": 7.0}} for record in every[1:]]
    if replaced:
        (folder / "epochs.jsonl").unlink()
    write_records(folder, [every[0], *changed, changed[-1] | {"epoch": 5}])
    assert [record["seconds"] for record in run.epochs[1:]] == [{"training": 7.0}] * 5
    write_records(folder, every[:2])
    assert run.epochs == every[:2]


def test_a_damaged_line_is_named_as_often_as_it_is_read(folder):
    run = RunFolder(folder)
    run.epochs  # noqa: B018
    with open(folder / "epochs.jsonl", "a") as file:
        file.write("{]\n")
    for _ in range(2):
        with pytest.raises(StoreError, match="epochs.jsonl cannot be read: record 5: Expecting"):
            run.epochs  # noqa: B018
    every = read_records_before_damage(folder)
    write_records(folder, [*every, every[-1]])
    with pytest.raises(StoreError, match="damaged: record 5: epoch = 4: allowed is 5"):
        run.epochs  # noqa: B018


def read_records_before_damage(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()[:5]]


def test_a_torn_line_is_gone_after_resume_and_the_run_is_the_same(folder, whole):
    cut(folder, 5)
    with open(folder / "epochs.jsonl", "ab") as file:
        file.write(b'{"epoch": 5, "pha')
    run = RunFolder(folder)
    assert run.status["message"].startswith("the process ended after 5 epochs")
    writer = RunWriter.resume(folder)
    writer.close()
    assert (folder / "epochs.jsonl").read_bytes() == (whole / "epochs.jsonl").read_bytes()


def test_a_line_that_finds_no_room_leaves_nothing(folder, monkeypatch):
    path = folder / "epochs.jsonl"
    before = path.read_bytes()
    code = (
        "import resource, signal, sys; from pathlib import Path; from engine.runs import records\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 20}, -1))\n"
        "try: records.append(Path(sys.argv[1]), {'epoch': 5, 'x': 'y' * 100})\n"
        "except OSError as error: print('refused')"
    )
    command = [sys.executable, "-c", code, str(path)]
    output = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert output == "refused\n"
    assert path.read_bytes() == before


def test_a_folder_of_format_1_is_read_as_before(folder, whole):
    as_format_1(folder)
    run, expected = RunFolder(folder), RunFolder(whole)
    assert run.epochs == expected.epochs
    assert run.epochs is run.epochs
    assert run.status == expected.status
    assert run.checkpoints() == expected.checkpoints()
    assert_same(run, expected)


def test_a_folder_of_format_1_is_resumed_to_the_same_run(tmp_path):
    data = blobs()
    longer = tmp_path / "longer"
    Runner.new(quick(k=2, epochs=7), longer, data=data).run()
    begun = Path(shutil.copytree(longer, tmp_path / "begun"))
    cut(begun, 5)
    as_format_1(begun)
    reader = RunFolder(begun)  # one that was opened before
    runner = Runner.resume(begun, data=data)
    runner.run()
    assert runner.status.state == "done", runner.status
    assert not (begun / "epochs.json").exists()
    assert json.loads((begun / "config.json").read_text())["format"] == 2
    assert_same(RunFolder(begun), RunFolder(longer))
    assert len(reader.epochs) == len(open_run(begun).epochs) == 7


def test_a_folder_of_format_1_is_forked(folder, whole, tmp_path):
    as_format_1(folder)
    for parent, fork in ((folder, "old"), (whole, "new")):
        Runner.fork(parent, 4, tmp_path / fork, data=blobs(), epochs=7).run()
    assert_same(RunFolder(tmp_path / "old"), RunFolder(tmp_path / "new"))
    assert (folder / "epochs.json").exists(), "a parent is not written"


@pytest.mark.parametrize("left", ["both", "config"])
def test_a_resume_of_format_1_that_was_killed_is_made_again(folder, whole, left):
    """Killed after the new records were written, or after config.json was."""
    lines = (folder / "epochs.jsonl").read_bytes()
    as_format_1(folder)
    (folder / "epochs.jsonl").write_bytes(lines)
    if left == "config":
        info = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(info | {"format": 2}))
    RunWriter.resume(folder).close()
    assert not (folder / "epochs.json").exists()
    assert RunFolder(folder).epochs == RunFolder(whole).epochs


def test_kill_minus_nine_in_mid_write_leaves_whole_records(folder, tmp_path):
    """A process that does nothing but append is killed; its file is read and continued."""
    code = (
        "import sys; from pathlib import Path; from engine.runs import records\n"
        "from tests.records import read_records\n"
        "folder = Path(sys.argv[1]); last = read_records(folder)[-1]\n"
        "for epoch in range(5, 10**6):\n"
        "    records.append(folder / 'epochs.jsonl', last | {'epoch': epoch})\n"
        "    print(epoch, flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if int(line) == 60:
            break
    os.kill(process.pid, signal.SIGKILL)
    written = [int(line) for line in process.stdout if line.endswith("\n")]
    process.wait()
    run = RunFolder(folder)
    assert run.epochs[-1]["epoch"] >= max(written, default=60)
    assert [record["epoch"] for record in run.epochs] == list(range(len(run.epochs)))


def test_an_opened_run_is_opened_again_once_its_settings_were_replaced(folder):
    first = open_run(folder)
    assert open_run(folder) is first
    assert open_run(folder, alone=True) is not first
    info = json.loads((folder / "config.json").read_text()) | {"method": "other"}
    (folder / "config.json").write_text(json.dumps(info, indent=1))
    assert open_run(folder).info["method"] == "other"
    shutil.rmtree(folder)
    with pytest.raises(StoreError, match="is no run folder"):
        open_run(folder)
