"""Which runs of visitors are removed, and which are kept."""

import json
import logging
import os
import shutil

import pytest
from filelock import FileLock

from app.server.housekeeping import choose
from app.server.run_manager import RunManager, Visitor
from tests.app.conftest import app, texts, wait_until
from tests.conftest import quick_digits

DAY = 86400.0
NOW = 2_000_000_000.0


@pytest.fixture
def runs(tmp_path, template):
    manager = RunManager(tmp_path / "runs", keep_days=30)
    yield manager
    manager.close()


def add(runs: RunManager, template, name: str, days: float, owner: str = "ann") -> None:
    """A run that ended so many days ago."""
    folder = shutil.copytree(template, runs.root / name)
    for path in (*folder.iterdir(), folder):
        os.utime(path, (NOW - days * DAY,) * 2)
    if owner:
        runs.storage.put("owners", name, owner)


def test_old_runs_of_visitors_are_removed_and_the_others_kept(runs, template, caplog):
    add(runs, template, "old", 31)
    add(runs, template, "young", 29)
    add(runs, template, "by-command", 400, owner="")
    add(runs, template, "lesson", 400, owner="everyone")
    add(runs, template, "pinned", 400)
    runs.pin("pinned", Visitor("ann"), True)
    add(runs, template, "teachers", 400)
    runs.storage.put("kept", "teachers", "teacher")
    add(runs, template, "decided", 400)
    entry = {"sample": 0, "kind": "keep", "label": 0, "at": "", "by": ""}
    (runs.root / "decided" / "review.json").write_text(json.dumps({"format": 1, "log": [entry]}))
    runs.storage.put("links", "old", "key")
    with caplog.at_level(logging.WARNING):
        assert runs.clean_up(NOW) == ["old"]
    assert "1 old runs" in caplog.text
    assert "old" not in runs.names()
    assert "old" not in runs.storage.table("owners")
    assert "old" not in runs.storage.table("links")
    assert {"young", "by-command", "lesson", "pinned", "teachers", "decided"} == set(runs.names())
    assert runs.last_cleanup() == {"at": "2033-05-18T03:33+00:00", "old": 1, "large": 0}
    assert runs.clean_up(NOW) == []


def test_a_run_that_trains_on_the_command_line_and_a_link_are_kept(runs, template, tmp_path):
    for name in ("trains", "elsewhere"):
        add(runs, template, name, 50)
    (runs.root / "elsewhere").rename(tmp_path / "elsewhere")
    (runs.root / "elsewhere").symlink_to(tmp_path / "elsewhere")
    with FileLock(runs.root / "trains" / "lock"):
        assert runs.clean_up(NOW) == []
    assert runs.clean_up(NOW) == ["trains"]
    assert runs.access.owner("elsewhere") == "ann"


def test_a_parent_is_kept_while_a_fork_of_it_waits(runs, template):
    ann = Visitor("ann")
    add(runs, template, "parent", 50)
    runs.limits.slots = 0  # so that it waits
    fork = runs.fork("parent", 2, visitor=ann, epochs=8)
    assert runs.clean_up(NOW) == []
    runs.stop(fork, ann)
    assert runs.clean_up(NOW) == ["parent"]


def test_a_run_that_ended_here_is_removed_like_any_other(runs):
    name = runs.submit(quick_digits(), visitor=Visitor("ann"))
    wait_until(lambda: runs.info(name).state == "done")
    assert runs.clean_up(NOW) == [name]
    assert name not in runs.names()


def test_a_parent_is_kept_as_long_as_its_fork(runs, template):
    add(runs, template, "parent", 50)
    add(runs, template, "fork", 40)
    add(runs, template, "grandchild", 10)
    for child, parent in (("fork", "parent"), ("grandchild", "fork")):
        path = runs.root / child / "config.json"
        info = json.loads(path.read_text()) | {"parent": {"run": f"/x/{parent}", "epoch": 1}}
        times = path.stat().st_mtime
        path.write_text(json.dumps(info))
        os.utime(path, (times, times))
    assert runs.clean_up(NOW) == []
    assert sorted(runs.clean_up(NOW + 25 * DAY)) == ["fork", "grandchild", "parent"]


def test_above_the_total_size_the_oldest_are_removed_first(runs, template):
    for number in range(4):
        add(runs, template, f"run{number}", 4 - number)
    size = sum(512 * p.lstat().st_blocks for p in (runs.root / "run0").rglob("*"))
    old, large = choose(runs.root, runs.storage, set(), NOW, 30 * DAY, 2.5 * size)
    assert (old, large) == ([], ["run0", "run1"])
    assert choose(runs.root, runs.storage, {"run0"}, NOW, 30 * DAY, 2.5 * size)[1] == [
        "run1",
        "run2",
    ]


def test_the_page_says_what_was_removed(root, monkeypatch):
    from app.server.run_manager import runs

    monkeypatch.setenv("MIXNN_PASSCODE", "open sesame")
    runs().storage.replace("tidied", {"at": "2026-11-26T10:00+00:00", "old": 3, "large": 1})
    text = texts(app("runs"))
    assert "removed 30 days after its end" in text
    assert "Last on 2026-11-26: 3 for their age, 1 for their size." in text


def test_without_a_teacher_nothing_is_removed_unless_a_setting_says_so(root, monkeypatch):
    from app.server.run_manager import RunManager

    monkeypatch.delenv("MIXNN_PASSCODE", raising=False)
    assert "Runs are kept until they are deleted." in texts(app("runs"))
    monkeypatch.setenv("MIXNN_KEEP_DAYS", "7")
    registry = RunManager.from_environment()
    registry.close()
    assert (registry.keep_days, registry.keep_bytes) == (7, float("inf"))
