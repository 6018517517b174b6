"""The app's stored state: transactions, other processes, kills, old files, damaged files."""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.server import class_answers, old_files
from app.server import storage as module
from app.server.lease import Lease
from app.server.run_manager import RunManager, Visitor
from app.server.storage import NAME, Storage, StorageError
from app.state import sample_sets
from tests.app.conftest import locked
from tests.conftest import quick_digits

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def storage(tmp_path):
    database = Storage(tmp_path)
    yield database
    database.close()


def test_entries_are_kept_and_a_second_server_reads_them(storage, tmp_path):
    storage.put("owners", "a", "ann")
    storage.put("owners", "b", "bob")
    storage.put("owners", "a", None)
    storage.add("uploads", "key", "ann")
    storage.add("uploads", "key", "bob")
    storage.add("uploads", "key", "ann")
    storage.save_queue([{"kind": "new", "pinned": True}, {"kind": "fork"}])
    other = Storage(tmp_path)
    assert other.table("owners") == {"b": "bob"}
    assert other.table("uploads") == {"key": ["ann", "bob"]}
    assert other.queue() == [{"kind": "new", "pinned": True}, {"kind": "fork"}]
    storage.put("owners", "c", "cat")
    time.sleep(2 * module.FRESH)
    assert other.table("owners") == {"b": "bob", "c": "cat"}


def test_forget_removes_everything_about_a_run_and_nothing_else(storage):
    for kind in ("owners", "links", "kept"):
        storage.put(kind, "a", "x")
        storage.put(kind, "b", "x")
    storage.put("shared", "settings of a", "a")
    storage.put("shared", "settings of b", "b")
    storage.forget("a")
    assert all(set(storage.table(kind)) == {"b"} for kind in ("owners", "links", "kept"))
    assert storage.table("shared") == {"settings of b": "b"}


def test_a_transaction_is_whole_or_nothing(storage):
    storage.put("owners", "a", "ann")

    def fail() -> None:
        with storage.transaction():
            storage.put("owners", "a", "bob")
            assert storage.table("owners") == {"a": "bob"}
            storage.save_queue([{"kind": "new"}])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert storage.table("owners") == {"a": "ann"}
    assert storage.queue() == []


def test_reading_again_does_not_query_the_database(storage):
    storage.put("owners", "a", "ann")
    statements: list[str] = []
    storage.table("owners")
    storage._connection.set_trace_callback(statements.append)
    for _ in range(50):
        storage.table("owners")
    assert len(statements) <= 1
    time.sleep(2 * module.FRESH)
    del statements[:]
    storage.table("owners")
    assert statements == ["PRAGMA data_version"]


def test_threads_at_once_lose_nothing(storage):
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait()
        for step in range(10):
            storage.put("owners", f"{number} {step}", "x")
            storage.add("uploads", "key", f"{number} {step}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(storage.table("owners")) == len(storage.table("uploads")["key"]) == 80


def _work(job) -> None:
    root, number = job
    storage = module.storage_of(root)
    for step in range(5):
        storage.add("uploads", "key", f"{number} {step}")


def test_forked_processes_at_once_lose_nothing(tmp_path):
    storage = module.storage_of(tmp_path)
    storage.put("owners", "a", "ann")  # so that the children inherit an open connection
    with FORK.Pool(4) as pool:
        pool.map(_work, [(tmp_path, number) for number in range(4)], chunksize=1)
    assert storage.table("owners") == {"a": "ann"}
    time.sleep(2 * module.FRESH)
    assert len(storage.table("uploads")["key"]) == 20


def _write_for_ever(root: Path, pipe) -> None:
    storage, number = Storage(root), 0
    while True:
        with storage.transaction():
            storage.put("owners", "run", number)
            storage.save_queue([{"number": number}] * 3)
        pipe.send(number)
        number += 1


def test_a_killed_server_loses_nothing_committed_and_leaves_nothing_incomplete(tmp_path):
    for after in (1, 7, 20, 55):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = FORK.Process(target=_write_for_ever, args=(tmp_path, sender))
        process.start()
        sender.close()
        sent = [receiver.recv() for _ in range(after)]
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        with contextlib.suppress(EOFError):
            while True:
                sent.append(receiver.recv())
        storage = Storage(tmp_path)
        number = storage.table("owners")["run"]
        assert number in (sent[-1], sent[-1] + 1)  # committed, and killed before it could say so
        assert storage.queue() == [{"number": number}] * 3
        assert storage.read("PRAGMA integrity_check") == [("ok",)]
        storage.close()


def test_processes_that_create_the_tables_at_once_lose_nothing(tmp_path):
    with FORK.Pool(4) as pool:
        pool.map(_work, [(tmp_path, number) for number in range(4)], chunksize=1)
    assert len(Storage(tmp_path).table("uploads")["key"]) == 20


# --- files that cannot be used


def test_a_locked_database_says_so_and_can_still_be_read(storage):
    storage.put("owners", "a", "ann")
    with locked(storage):
        with pytest.raises(StorageError, match="another program has locked it; try again"):
            storage.put("owners", "a", "bob")
        assert storage.table("owners") == {"a": "ann"}
    storage.put("owners", "a", "bob")
    assert storage.table("owners") == {"a": "bob"}


def test_a_full_disk_says_so_and_loses_nothing(storage):
    storage.put("owners", "a", "ann")
    storage.read("PRAGMA max_page_count = 1")
    with pytest.raises(StorageError, match="the disk is full; free some space and try again"):
        storage.put("owners", "b", "x" * 100_000)
    assert storage.table("owners") == {"a": "ann"}
    storage.read("PRAGMA max_page_count = 1000000")
    storage.put("owners", "b", "x" * 100_000)
    assert set(storage.table("owners")) == {"a", "b"}


def test_a_damaged_database_says_so_and_is_unchanged(tmp_path):
    (tmp_path / NAME).write_bytes(b"nothing of use" * 1000)
    storage = Storage(tmp_path)
    for use in (lambda: storage.table("owners"), lambda: storage.put("owners", "a", "b")):
        with pytest.raises(StorageError, match=f"{NAME} cannot be used: it is damaged; restore"):
            use()
    assert (tmp_path / NAME).read_bytes() == b"nothing of use" * 1000
    (tmp_path / NAME).rename(tmp_path / "aside")
    storage.put("owners", "a", "ann")
    assert storage.table("owners") == {"a": "ann"}
    storage.close()


def test_a_restored_copy_is_noticed(storage, tmp_path):
    storage.put("owners", "a", "ann")
    storage.close()
    shutil.copy(tmp_path / NAME, tmp_path / "copy")
    storage.put("owners", "a", "bob")
    for path in tmp_path.glob(f"{NAME}-*"):
        path.unlink()
    os.replace(tmp_path / "copy", tmp_path / NAME)
    time.sleep(2 * module.FRESH)
    assert storage.table("owners") == {"a": "ann"}


def test_a_read_only_folder_is_read_and_a_write_says_so(storage, tmp_path, monkeypatch):
    storage.put("owners", "a", "ann")
    storage.close()
    real = module._prepared

    # as on a read-only file system: no file can be created next to it
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    monkeypatch.setattr(module, "_prepared", lambda *_: (_ for _ in ()).throw(error))
    assert storage.table("owners") == {"a": "ann"}
    with pytest.raises(StorageError, match="it is read-only; allow the server to write it"):
        storage.put("owners", "a", "bob")
    monkeypatch.setattr(module, "_prepared", real)
    storage.close()
    assert storage.table("owners") == {"a": "ann"}


def test_reading_creates_no_file(storage, tmp_path):
    assert storage.table("owners") == {}
    assert storage.queue() == storage.read("SELECT * FROM answers") == []
    assert list(tmp_path.iterdir()) == []
    other = Storage(tmp_path)
    other.put("owners", "a", "ann")
    time.sleep(2 * module.FRESH)
    assert storage.table("owners") == {"a": "ann"}
    other.close()


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(StorageError, match="cannot be opened; check the folder"):
        Storage(tmp_path / "gone").table("owners")


def test_a_database_of_a_newer_version_is_refused(storage, tmp_path):
    storage.put("owners", "a", "ann")
    storage.read(f"PRAGMA user_version = {module.VERSION + 1}")
    with pytest.raises(StorageError, match="of a newer version of this app"):
        Storage(tmp_path).table("owners")


def test_one_server_has_the_lease_until_it_releases_it(tmp_path):
    first, second = Lease(tmp_path), Lease(tmp_path)
    assert first.take()
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    assert not first.held
    second.release()


# --- files of an older server


def old_server(root: Path) -> dict:
    """The files of a server at 3bfff76 (the last one with JSON files), as it left them."""
    config = quick_digits().model_dump(mode="json")
    requests = [
        {
            "config": config,
            "kind": "new",
            "visitor": "ann",
            "pinned": True,
            "from": "",
            "name": "q1",
        },
        {"config": config, "kind": "new", "visitor": "bob", "pinned": False, "from": "192.0.2.7"},
    ]
    tables = {
        "owners": {"mine": "ann", "q1": "ann"},
        "shared": {"{}": "mine"},
        "links": {"mine": "key"},
        "uploads": {"0123456789abcdef": ["ann", "bob"]},
        "kept": {"q1": "pinned"},
        "tidied": {"at": "2026-11-26T10:00+00:00", "old": 3, "large": 1},
        "queue": requests,
        "teachers": ["miss"],
    }
    root.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        (root / f".{name}.json").write_text(json.dumps(table))
    (root / ".answers").mkdir()
    lines = [(1, "rise", "t1"), (1, "peak", "t2"), (1, "peak", "t1")]
    text = "".join(json.dumps(dict(step=s, answer=a, token=t)) + "\n" for s, a, t in lines)
    (root / ".answers" / "7b.jsonl").write_text(text + '{"step": 1, "ans')  # torn
    (root / ".lassos").mkdir()
    (root / ".lassos" / ("0" * 20)).write_text("eJxjAAAAAQAB")
    (root / ".lassos" / ("0" * 20 + ".77.tmp")).write_text("eJ")
    for name in ("mine", "q1"):
        (root / name).mkdir()
    return tables


def test_an_older_servers_files_are_imported_once(tmp_path):
    root = tmp_path / "runs"
    tables = old_server(root)
    names = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    before = RunManager(root, slots=0)
    assert before.problems == []
    for kind in ("shared", "links", "uploads", "tidied"):
        assert before.storage.table(kind) == tables[kind]
    first, second = before.active()
    assert (first.name, first.owner, first.pinned) == ("q1", "ann", True)
    assert (second.owner, second.pinned) == ("bob", False)
    assert before.storage.table("owners") == {"mine": "ann", "q1": "ann", second.name: "bob"}
    assert before.storage.table("teachers") == {"browsers": ["miss"]}
    assert class_answers.counts(root, "7b", 1) == {"peak": 2}
    assert before.storage.read("SELECT name, text FROM sample_sets") == [("0" * 20, "eJxjAAAAAQAB")]
    aside = root / old_files.ASIDE
    assert {str(path.relative_to(aside)) for path in aside.rglob("*") if path.is_file()} == names
    before.close()
    after = RunManager(root, slots=0)
    assert [run.name for run in after.active()] == ["q1", second.name]  # none twice
    after.pin("q1", Visitor("ann"), False)
    assert not after.info("q1").pinned
    after.close()


def test_a_server_killed_before_it_moved_the_files_imports_nothing_twice(tmp_path, monkeypatch):
    root = tmp_path / "runs"
    old_server(root)
    with monkeypatch.context() as patch:
        patch.setattr(old_files, "_move_aside", lambda *_: None)
        storage = Storage(root)
        assert old_files.import_old_files(storage) == []
    assert (root / ".queue.json").exists()
    storage.put("owners", "mine", "bob")  # meanwhile
    storage.save_queue(storage.queue()[1:])
    old_files.import_old_files(storage)
    assert storage.table("owners")["mine"] == "bob"
    assert len(storage.queue()) == 1
    assert not (root / ".queue.json").exists()


def test_files_of_an_older_server_used_since_are_newer(tmp_path):
    root = tmp_path / "runs"
    old_server(root)
    storage = Storage(root)
    old_files.import_old_files(storage)
    storage.put("owners", "new", "cat")
    (root / ".owners.json").write_text('{"mine": "dan"}')
    old_files.import_old_files(storage)
    assert storage.table("owners") == {"mine": "dan", "q1": "ann", "new": "cat"}
    assert len(list((root / old_files.ASIDE).glob(".owners.json*"))) == 2  # none overwritten


def test_an_import_that_fails_changes_nothing(tmp_path):
    root = tmp_path / "runs"
    old_server(root)
    storage = Storage(root)
    storage.table("owners")
    with locked(storage), pytest.raises(StorageError):
        old_files.import_old_files(storage)
    assert (root / ".owners.json").exists()
    assert storage.table("owners") == {}
    old_files.import_old_files(storage)
    assert storage.table("owners") == {"mine": "ann", "q1": "ann"}


def test_a_link_with_an_old_selection_opens(root):
    sample_sets.LONGEST, longest = 0, sample_sets.LONGEST
    try:
        name = sample_sets.pack((1, 5, 900))
    finally:
        sample_sets.LONGEST = longest
    storage = module.storage_of(root)
    ((text,),) = storage.read("SELECT text FROM sample_sets")
    with storage.transaction() as connection:
        connection.execute("DELETE FROM sample_sets")
    (root / ".lassos").mkdir()
    (root / ".lassos" / name[1:]).write_text(text)
    with pytest.raises(ValueError, match=name):
        sample_sets.unpack(name)
    old_files.import_old_files(storage)
    assert sample_sets.unpack(name) == (1, 5, 900)
