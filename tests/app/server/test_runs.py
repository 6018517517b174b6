"""The manager of the runs: queue, slots, limits, owners, unwatched runs, restart."""

import errno
import itertools
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.server import run_folders
from app.server.run_manager import RunManager, RunsError, Visitor
from app.server.storage import StorageError
from app.server.visible_runs import VisibleRuns
from engine.analysis import run_table
from engine.errors import ConfigError, StoreError
from engine.runs.folder import RunFolder
from engine.runs.writer import RunWriter
from engine.training.control import Stopped
from tests.app.conftest import locked, n_epochs, wait_until
from tests.conftest import quick_digits

ANN, BOB, TEACHER = Visitor("ann"), Visitor("bob"), Visitor("miss", teacher=True)
LONG = quick_digits(epochs=5000)


@pytest.fixture
def registry(tmp_path):
    managers = []

    def make(**options) -> RunManager:
        managers.append(RunManager(tmp_path / "runs", **options))
        return managers[-1]

    yield make
    for registry in managers:
        registry.close()


def test_one_trains_the_others_wait_in_order(registry):
    runs = registry(slots=1)
    names = [runs.submit(LONG, visitor=ANN) for _ in range(3)]
    wait_until(lambda: runs.info(names[0]).state == "running")
    assert [runs.info(name).position for name in names] == [0, 1, 2]
    assert [where.name for where in runs.active()] == names
    runs.stop(names[0], ANN)
    wait_until(lambda: runs.info(names[1]).state == "running")
    assert runs.info(names[0]).state == "stopped"
    assert runs.info(names[2]).position == 1


def test_two_slots_train_two(registry):
    runs = registry(slots=2)
    names = [runs.submit(LONG, visitor=ANN) for _ in range(3)]
    wait_until(lambda: [runs.info(n).state for n in names[:2]] == ["running", "running"])
    time.sleep(0.5)
    assert runs.info(names[2]).state == "queued"


def test_a_finished_run_frees_its_slot_and_is_on_disk(registry):
    runs = registry()
    first, second = (runs.submit(quick_digits(), visitor=ANN) for _ in range(2))
    wait_until(lambda: runs.info(second).state == "done")
    assert n_epochs(runs.folder(first)) == n_epochs(runs.folder(second)) == 6
    assert set(runs.names()) == {first, second}


def test_a_visitor_has_a_limit_and_a_teacher_has_none(registry):
    runs = registry(per_visitor=2)
    for _ in range(2):
        runs.submit(LONG, visitor=ANN)
    with pytest.raises(RunsError, match="2 runs queued or running: allowed are 2"):
        runs.submit(LONG, visitor=ANN)
    runs.submit(LONG, visitor=BOB)
    for _ in range(3):
        runs.submit(LONG, visitor=TEACHER)


def test_only_the_owner_and_the_teacher_control_a_run(registry):
    runs = registry()
    name = runs.submit(LONG, visitor=ANN)
    for command in (runs.stop, runs.pause, runs.go_on, runs.step):
        with pytest.raises(RunsError, match="belongs to another visitor"):
            command(name, BOB)
    with pytest.raises(RunsError, match="belongs to another visitor"):
        runs.change(name, BOB, k=2)
    assert runs.may_control(name, ANN)
    assert not runs.may_control(name, BOB)
    runs.pause(name, TEACHER)
    wait_until(lambda: runs.info(name).state == "paused")


def test_removing_a_run_from_the_queue_leaves_nothing(registry):
    runs = registry()
    runs.submit(LONG, visitor=ANN)
    waiting = runs.submit(LONG, visitor=ANN)
    runs.stop(waiting, ANN)
    assert waiting not in runs.names()
    assert not runs.folder(waiting).exists()


def test_live_settings_change_and_bad_ones_are_refused(registry):
    runs = registry()
    name = runs.submit(LONG, visitor=ANN)
    wait_until(lambda: runs.info(name).epoch > 2)
    runs.change(name, ANN, alpha=0.5)
    wait_until(lambda: RunFolder(runs.folder(name)).epochs[-1]["settings"]["alpha"] == 0.5)
    with pytest.raises(ConfigError, match="k = 900"):
        runs.change(name, ANN, k=900)


def test_the_unwatched_are_stopped_but_not_the_pinned_or_watched(registry):
    runs = registry(slots=3, reap_after=1.5)
    left, pinned, watched = (runs.submit(LONG, visitor=ANN, pinned=p) for p in (False, True, False))
    deadline = time.monotonic() + 40
    while runs.info(left).state != "stopped" and time.monotonic() < deadline:
        runs.mark_watched(watched)
        time.sleep(0.1)
    assert "it was not watched" in runs.info(left).message
    assert runs.info(pinned).state == runs.info(watched).state == "running"


def test_a_restart_restores_the_queue_and_knows_the_owners(registry):
    before = registry()
    first = before.submit(LONG, visitor=ANN)
    wait_until(lambda: before.info(first).epoch > 0)
    second = before.submit(quick_digits(), visitor=BOB)
    before.close()
    after = registry()
    wait_until(lambda: after.info(second).state == "done")
    assert after.info(first).state == "stopped"
    assert after.info(second).owner == "bob"
    assert not after.may_control(first, BOB)


def test_a_run_that_has_begun_without_a_folder_yet_is_not_lost_by_a_restart(registry, monkeypatch):
    real, reached, go = RunWriter.create, threading.Event(), threading.Event()

    def late(folder, *arguments, **keywords):
        (folder / "labels.npz").write_bytes(b"half")
        reached.set()
        assert go.wait(30)
        raise Stopped  # as the end of the process would

    monkeypatch.setattr(RunWriter, "create", late)
    before = registry()
    name = before.submit(quick_digits(), visitor=ANN)
    assert reached.wait(60)
    time.sleep(0.5)  # the manager checks its queue meanwhile
    before.thread.close()
    before.lease.release()
    go.set()
    monkeypatch.setattr(RunWriter, "create", real)
    after = registry()
    wait_until(lambda: after.info(name).state == "done")
    assert n_epochs(after.folder(name)) == 6
    assert registry().info(name).state == "done"


@pytest.mark.slow
def test_a_queue_that_cannot_be_written_for_a_while_continues(registry):
    runs = registry()
    first = runs.submit(LONG, visitor=ANN)
    second = runs.submit(quick_digits(epochs=40), visitor=ANN)
    wait_until(lambda: runs.info(first).epoch > 0)
    with locked(runs.storage):
        runs.stop(first, ANN)
        wait_until(lambda: runs.info(second).state == "running")
        wait_until(lambda: runs.problems)
        time.sleep(0.5)
        (problem,) = VisibleRuns(runs, BOB).problems  # one, however many rounds failed
        assert "another program has locked it" in problem
        assert "Traceback" not in problem
    runs.submit(quick_digits(), visitor=ANN)  # the queue goes on
    wait_until(lambda: runs.info(second).state == "done")
    wait_until(lambda: not runs.storage.queue())


def test_any_error_in_a_round_leaves_the_queue_alive(registry, monkeypatch):
    runs = registry(slots=1)
    errors = iter([OSError(errno.ENOSPC, "No space left on device"), RuntimeError("secret"), None])
    real = runs._queue.round

    def fail() -> None:
        if error := next(errors, None):
            raise error
        real()

    monkeypatch.setattr(runs._queue, "round", fail)
    wait_until(lambda: len(runs.problems) == 2)
    texts = " ".join(VisibleRuns(runs, BOB).problems)
    assert "No space left on device" in texts
    assert "RuntimeError" in texts
    assert "secret" not in texts  # it may name a private run
    name = runs.submit(quick_digits(), visitor=ANN)
    wait_until(lambda: runs.info(name).state == "done")


def test_a_run_that_cannot_be_stored_is_refused_and_leaves_nothing(registry):
    runs = registry()
    first = runs.submit(LONG, visitor=ANN)
    with locked(runs.storage), pytest.raises(StorageError, match="Nothing was changed"):
        runs.submit(LONG, visitor=BOB)
    assert runs.names() == [first]
    assert runs.access.owner(first) == "ann"
    second = runs.submit(LONG, visitor=BOB)
    with locked(runs.storage), pytest.raises(StorageError):
        runs.pin(second, BOB, True)
    assert not runs.info(second).pinned


def test_a_full_disk_refuses_a_run_and_keeps_the_queue(registry):
    runs = registry(slots=0)
    kept = [runs.submit(LONG, visitor=TEACHER)]

    def fill() -> None:
        for _ in range(100):
            kept.append(runs.submit(LONG, visitor=TEACHER))

    runs.storage.read("PRAGMA max_page_count = 1")  # no page more than it has
    with pytest.raises(StorageError, match="the disk is full"):
        fill()
    assert sorted(runs.names()) == sorted(kept)
    assert len(list(runs.root.glob("[!.]*"))) == len(kept)
    runs.storage.read("PRAGMA max_page_count = 1000000")
    kept.append(runs.submit(LONG, visitor=TEACHER))
    runs.close()
    after = registry(slots=0)
    assert [run.name for run in after.active()] == kept


def test_a_pin_of_a_queued_run_survives_a_restart(registry):
    before = registry(slots=0)
    pinned, other = (before.submit(LONG, visitor=ANN) for _ in range(2))
    before.pin(pinned, ANN, True)
    before.thread.close()  # no orderly end
    before.lease.release()
    after = registry(slots=0)
    assert after.info(pinned).pinned
    assert not after.info(other).pinned


def test_the_teachers_limits_survive_a_restart_until_the_setting_changes(registry):
    before = registry(slots=1, per_visitor=3)
    with pytest.raises(RunsError, match="teacher"):
        before.limit(ANN, slots=2, per_visitor=5)
    before.limit(TEACHER, slots=2, per_visitor=5)
    before.close()
    after = registry(slots=1, per_visitor=3)
    assert (after.slots, after.per_visitor) == (2, 5)
    names = [after.submit(LONG, visitor=ANN) for _ in range(3)]
    wait_until(lambda: [after.info(n).state for n in names[:2]] == ["running", "running"])
    after.close()
    again = registry(slots=4, per_visitor=3)  # the server's setting takes precedence
    assert (again.slots, again.per_visitor) == (4, 5)


def test_a_folder_of_runs_is_no_run(registry, template):
    runs = registry()
    shutil.copytree(template, runs.root / "grid" / "k1")
    shutil.copytree(template, runs.root / "single")
    assert runs.names() == ["single"]


def test_delete_names_what_it_could_not_delete(registry, template, monkeypatch):
    runs = registry()
    shutil.copytree(template, runs.root / "kept")
    real = os.unlink

    def unlink(path, **options):
        if "labels" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        real(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr("os.unlink", unlink)
        with pytest.raises(RunsError, match=r"not deleted completely: labels.*Permission denied"):
            runs.delete("kept", TEACHER)
    assert (runs.root / "kept" / "labels.npz").exists()
    runs.delete("kept", TEACHER)
    assert runs.names() == []


def test_the_folder_of_a_failed_run_is_removed_once(registry, monkeypatch):
    tries = []
    real = run_folders.release

    def release(folder):
        tries.append(folder.name)
        (folder / "notes.txt").touch()  # so that it cannot be removed
        return real(folder)

    monkeypatch.setattr(run_folders, "release", release)
    runs = registry()
    name = runs.submit(quick_digits(dataset="npz:/nowhere.npz"), visitor=ANN)
    wait_until(lambda: tries)
    time.sleep(0.7)  # three rounds
    assert tries == [name]


def test_ended_runs_do_not_accumulate(registry, monkeypatch):
    monkeypatch.setattr("app.server.scheduler.MOST_ENDED", 2)
    runs = registry()
    for _ in range(4):
        name = runs.submit(quick_digits(dataset="npz:/nowhere.npz"), visitor=ANN)
        wait_until(lambda name=name: runs.info(name).state == "failed")
    wait_until(lambda: len(runs._queue.jobs) == 2)


@pytest.mark.slow
def test_a_stopped_run_is_resumed_to_its_end(registry):
    runs = registry()
    name = runs.submit(quick_digits(epochs=40), visitor=ANN)
    wait_until(lambda: runs.info(name).epoch > 1)
    runs.stop(name, ANN)
    wait_until(lambda: runs.info(name).state == "stopped")
    done = n_epochs(runs.folder(name))
    assert done < 40
    with pytest.raises(RunsError, match="belongs to another"):
        runs.resume(name, BOB)
    runs.resume(name, ANN)
    wait_until(lambda: runs.info(name).state == "done")
    assert n_epochs(runs.folder(name)) == 40
    with pytest.raises(StoreError, match="has all its 40 epochs"):
        runs.resume(name, ANN)


def test_a_fork_continues_its_parent(registry):
    runs = registry()
    parent = runs.submit(quick_digits(), visitor=ANN)
    wait_until(lambda: runs.info(parent).state == "done")
    child = runs.fork(parent, 3, visitor=BOB, k=1, rate=0.2)
    wait_until(lambda: runs.info(child).state == "done")
    assert [record["epoch"] for record in RunFolder(runs.folder(child)).epochs] == [4, 5]
    assert RunFolder(runs.folder(child)).info["parent"]["epoch"] == 3
    assert RunFolder(runs.folder(child)).info["parent"]["run"] == f"../{parent}"
    with pytest.raises(StoreError, match="epoch = 77"):
        runs.fork(parent, 77, visitor=BOB)
    for same in ({}, {"k": 3}):
        with pytest.raises(RunsError, match="with the same settings would train what"):
            runs.fork(parent, 3, visitor=BOB, **same)


def test_thirty_who_request_the_same_settings_share_one_run(registry):
    runs = registry()
    with ThreadPoolExecutor(30) as pool:
        names = set(pool.map(lambda _: runs.share(LONG), range(30)))
    assert len(names) == len(runs.names()) == 1
    (name,) = names
    assert runs.share(LONG.changed(k=2)) != name
    with pytest.raises(RunsError, match="belongs to another visitor"):
        runs.stop(name, ANN)
    assert runs.submit(LONG, visitor=ANN) != name  # an own one is not shared


@pytest.mark.slow
def test_a_shared_run_is_found_again_and_continues_after_a_stop(registry):
    before = registry()
    config = quick_digits(epochs=40)
    name = before.share(config)
    wait_until(lambda: before.info(name).epoch > 1)
    before.close()
    after = registry()
    assert after.shared(config).state == "stopped"
    assert after.share(config) == name
    wait_until(lambda: after.info(name).state == "done")
    assert after.share(config) == name
    assert n_epochs(after.folder(name)) == 40


def test_a_shared_run_that_failed_or_is_missing_is_created_again(registry):
    runs = registry()
    bad = quick_digits(dataset="npz:/nowhere.npz")
    runs.share(bad)
    wait_until(lambda: runs.shared(bad).state == "failed")
    assert runs.share(bad)
    good = runs.share(quick_digits())
    wait_until(lambda: runs.info(good).state == "done")
    shutil.rmtree(runs.folder(good))
    assert runs.shared(quick_digits()) is None
    again = runs.share(quick_digits())
    wait_until(lambda: runs.info(again).state == "done")
    (runs.folder(again) / "config.json").write_text("{")
    runs.close()
    after = registry()
    assert after.shared(quick_digits()).state == "broken"
    assert after.share(quick_digits()) != again


def test_shared_runs_have_a_limit_of_their_own(registry, monkeypatch):
    monkeypatch.setattr("app.server.shared_runs.MOST_SHARED", 2)
    runs = registry(per_visitor=1)
    for k in (1, 2):
        runs.share(LONG.changed(k=k))
    with pytest.raises(RunsError, match="2 shared runs are queued or running: allowed are 2"):
        runs.share(LONG.changed(k=3))
    assert runs.share(LONG.changed(k=1))


def test_a_run_that_cannot_start_says_why_and_leaves_no_folder(registry):
    runs = registry()
    name = runs.submit(quick_digits(dataset="npz:/nowhere.npz"), visitor=ANN)
    wait_until(lambda: runs.info(name).state == "failed")
    assert "/nowhere.npz does not exist" in runs.info(name).message
    wait_until(lambda: not runs.folder(name).exists())
    assert name in runs.names()


def test_its_owner_and_the_teacher_delete_a_run_once_it_has_ended(registry):
    runs = registry()
    name = runs.submit(LONG, visitor=ANN)
    wait_until(lambda: runs.info(name).epoch > 0)
    with pytest.raises(RunsError, match="is active: stop it"):
        runs.delete(name, TEACHER)
    runs.stop(name, ANN)
    wait_until(lambda: runs.info(name).state == "stopped")
    with pytest.raises(RunsError, match="by its owner and the teacher only"):
        runs.delete(name, BOB)
    runs.delete(name, ANN)
    assert not runs.folder(name).exists()
    assert name not in runs.names()


def test_a_run_of_the_command_line_is_deleted_by_the_teacher_alone(registry, template):
    runs = registry()
    shutil.copytree(template, runs.root / "run")
    with pytest.raises(RunsError, match="by its owner and the teacher only"):
        runs.delete("run", ANN)
    runs.delete("run", TEACHER)


def test_a_title_belongs_to_its_owner(registry, template):
    runs = registry()
    shutil.copytree(template, runs.root / "run")
    runs.storage.put("owners", "run", "ann")
    with pytest.raises(RunsError, match="belongs to another visitor"):
        runs.annotate("run", BOB, "mine", "")
    runs.annotate("run", ANN, "first try", "too few epochs")
    (row,) = run_table.rows(runs.root)
    assert (row["name"], row["title"], row["note"]) == ("run", "first try", "too few epochs")


def test_seeds_are_one_request_that_limits_count_as_one(registry, monkeypatch):
    runs = registry(per_visitor=2)
    seeds = [LONG.changed(seed=seed) for seed in range(5)]
    names = runs.submit_together(seeds, visitor=ANN)
    assert len(set(names)) == len({runs.info(name).group for name in names}) + 4 == 5
    runs.submit(LONG, visitor=ANN)
    with pytest.raises(RunsError, match="you have 2 runs queued or running: allowed are 2"):
        runs.submit_together(seeds, visitor=ANN)
    runs.stop_group(runs.info(names[0]).group, ANN)
    wait_until(lambda: sum(info.owner == "ann" for info in runs.active()) == 1)
    with pytest.raises(RunsError, match="251 runs at once: allowed are 1 to 250"):
        runs.submit_together([LONG] * 251, visitor=ANN)
    monkeypatch.setenv("MIXNN_PASSCODE", "open sesame")  # now there is a teacher, who may do more
    with pytest.raises(RunsError, match="41 runs at once: allowed are 1 to 40"):
        runs.submit_together([LONG] * 41, visitor=ANN)


def test_of_a_request_all_runs_are_queued_or_none(registry, monkeypatch):
    runs = registry()
    runs.submit(LONG, visitor=BOB)
    real, calls = runs._queue._make_runner, itertools.count(1)

    def third_fails(root, request):
        if next(calls) == 3:
            raise StoreError("the disk is full")
        return real(root, request)

    monkeypatch.setattr(runs._queue, "_make_runner", third_fails)
    with pytest.raises(StoreError, match="the disk is full"):
        runs.submit_together([LONG.changed(seed=seed) for seed in (5, 6, 7)], visitor=ANN)
    assert not [info for info in runs.active() if info.owner == "ann"]
    assert not [name for name in runs.names() if "seed5" in name or "seed6" in name]


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc", ".owners.json", "a/b"])
def test_a_name_stays_inside_the_root(registry, name):
    with pytest.raises(RunsError, match="allowed is the name of a folder"):
        registry().info(name)


def test_a_name_that_does_not_exist(registry):
    with pytest.raises(RunsError, match="'gone' does not exist"):
        registry().info("gone")


@pytest.mark.parametrize("text", ["none", "0", "-2"])
def test_a_bad_environment_is_named(monkeypatch, text):
    monkeypatch.setenv("MIXNN_SLOTS", text)
    with pytest.raises(RunsError, match=f"MIXNN_SLOTS = '{text}'.*above 0"):
        RunManager.from_environment()


class Clock:
    """A clock that a test advances, in addition to real time."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def ann_at(number: int, address: str = "10.0.0.1") -> Visitor:
    return Visitor(f"cookie{number}", address=address)


def test_new_cookies_of_one_address_share_a_limit_and_a_class_fits(registry):
    runs = registry(per_address=6, most_queued=8)
    for number in range(6):
        runs.submit(LONG, visitor=ann_at(number))
    with pytest.raises(RunsError, match="network address together have 6 runs.*allowed are 6"):
        runs.submit(LONG, visitor=ann_at(99))
    for number in range(2):
        runs.submit(LONG, visitor=ann_at(number, f"10.0.1.{number}"))
    with pytest.raises(RunsError, match="this server has 8 runs queued or running"):
        runs.submit(LONG, visitor=ann_at(0, "10.0.2.1"))
    runs.submit(LONG, visitor=TEACHER)
    assert RunManager.__init__.__kwdefaults__["per_address"] >= 30 * 3  # thirty behind one address


def test_owners_take_turns(registry):
    runs = registry()
    first, *anns = (runs.submit(LONG, visitor=ANN) for _ in range(3))
    wait_until(lambda: runs.info(first).state == "running")
    bobs = [runs.submit(LONG, visitor=BOB) for _ in range(2)]
    cat = runs.submit(LONG, visitor=Visitor("cat"))
    assert [runs.info(name).position for name in (bobs[0], cat, bobs[1])][:2] == [1, 2]
    order = []
    running = first
    for _ in range(5):
        runs.stop(running, TEACHER)
        wait_until(lambda last=running: not runs.info(last).active)
        wait_until(lambda: any(w.state == "running" for w in runs.active()))
        running = next(w.name for w in runs.active() if w.state == "running")
        order.append(running)
    assert order == [bobs[0], cat, anns[0], bobs[1], anns[1]]


def test_a_paused_run_gives_its_slot_back_while_others_wait(registry):
    clock = Clock()
    runs = registry(clock=clock)
    paused = runs.submit(LONG, visitor=ANN, pinned=True)
    wait_until(lambda: runs.info(paused).epoch > 1)
    runs.pause(paused, ANN)
    wait_until(lambda: runs.info(paused).state == "paused")
    waiting = runs.submit(LONG, visitor=BOB)
    time.sleep(0.5)
    assert runs.info(waiting).state == "queued"  # for a minute
    clock.ahead = 61
    wait_until(lambda: runs.info(waiting).state == "running")
    assert runs.info(paused).state == "paused"
    runs.go_on(paused, ANN)
    assert (runs.info(paused).state, runs.info(paused).position) == ("queued", 1)
    epoch = runs.info(paused).epoch
    runs.stop(waiting, BOB)
    wait_until(lambda: runs.info(paused).state == "running")
    wait_until(lambda: runs.info(paused).epoch > epoch)  # it went on where it stood


def test_a_moment_of_training_does_not_keep_the_slot(registry):
    clock = Clock()
    runs = registry(clock=clock)
    paused = runs.submit(LONG, visitor=ANN, pinned=True)
    wait_until(lambda: runs.info(paused).epoch > 1)
    runs.pause(paused, ANN)
    waiting = runs.submit(LONG, visitor=BOB)
    for _ in range(2):
        wait_until(lambda: runs.info(paused).state == "paused")
        time.sleep(0.5)
        clock.ahead += 40
        if runs.info(waiting).state == "queued":
            runs.go_on(paused, ANN)
            time.sleep(0.5)
            runs.pause(paused, ANN)
    wait_until(lambda: runs.info(waiting).state == "running")


def test_nothing_is_stored_of_a_run_that_never_started(registry):
    runs = registry(slots=1)
    runs.submit(LONG, visitor=ANN)
    name = runs.submit(quick_digits(), visitor=ANN, pinned=True)
    runs.share_link(name, ANN)
    runs.stop(name, ANN)
    assert runs.submit(quick_digits(), visitor=BOB) == name
    assert (runs.link_key(name), runs.storage.table("kept"), runs.access.owner(name)) == (
        "",
        {},
        BOB.id,
    )


def test_the_stored_state_of_a_run_is_removed_with_its_folder(registry, template):
    runs = registry()
    shutil.copytree(template, runs.root / "mine")
    runs.storage.put("owners", "mine", ANN.id)
    shutil.rmtree(runs.root / "mine")  # by hand
    wait_until(lambda: "mine" not in runs.storage.table("owners"))
    shutil.copytree(template, runs.root / "mine")  # of the command line
    assert runs.access.owner("mine") == ""


def test_a_shared_run_is_never_a_run_of_a_visitor(registry):
    runs = registry()
    lesson = runs.share(quick_digits())
    wait_until(lambda: runs.info(lesson).state == "done")
    runs.delete(lesson, TEACHER)
    assert runs.submit(quick_digits(epochs=7), visitor=BOB) == lesson  # the same name
    assert runs.shared(quick_digits()) is None


def test_few_runs_stay_paused_without_a_slot(registry, monkeypatch):
    monkeypatch.setattr("app.server.run_jobs.MOST_PARKED", 1)
    clock = Clock()
    runs = registry(clock=clock)
    names = [runs.submit(LONG, visitor=visitor) for visitor in (ANN, BOB, TEACHER)]
    for name in names[:2]:
        wait_until(lambda name=name: runs.info(name).epoch > 1)
        runs.pause(name, TEACHER)
        wait_until(lambda name=name: runs.info(name).state == "paused")
        time.sleep(0.5)
        clock.ahead += 61
    wait_until(lambda: runs.info(names[2]).state == "running")
    wait_until(lambda: runs.info(names[0]).state == "stopped")
    assert "paused while others waited" in runs.info(names[0]).message
    assert runs.info(names[1]).state == "paused"
    runs.stop(names[1], TEACHER)  # the teacher frees any
    wait_until(lambda: runs.info(names[1]).state == "stopped")


def test_the_second_server_over_a_folder_waits_until_the_first_has_ended(registry):
    first = registry()
    clock = Clock()
    second = registry(clock=clock)
    running = first.submit(LONG, visitor=ANN)
    waiting = first.submit(quick_digits(), visitor=BOB)
    assert first.trains_here
    assert not second.trains_here
    for command in (
        lambda: second.submit(LONG, visitor=BOB),
        lambda: second.share(LONG),
        lambda: second.resume(running, ANN),
        lambda: second.stop(running, ANN),
        lambda: second.claim("abc", ANN),
        lambda: second.delete(running, TEACHER),
        lambda: second.pin(running, ANN, True),
        lambda: second.share_link(running, ANN),
    ):
        with pytest.raises(RunsError, match="Another server uses this runs folder"):
            command()
    clock.ahead = 10
    time.sleep(0.5)
    assert not second.active()  # it did not take up the queue
    assert second.info(waiting).owner == "bob"  # but reads whose runs they are
    first.close()
    clock.ahead = 20
    wait_until(lambda: second.trains_here)
    wait_until(lambda: second.info(waiting).state == "done")
    assert {running, waiting} <= set(second.storage.table("owners"))


def test_a_run_stays_its_owners_when_the_teacher_resumes_it(registry):
    runs = registry()
    name = runs.submit(LONG, visitor=ANN)
    wait_until(lambda: runs.info(name).epoch > 1)
    runs.stop(name, ANN)
    wait_until(lambda: runs.info(name).state == "stopped")
    runs.resume(name, TEACHER)
    assert runs.info(name).owner == "ann"


def test_a_pin_holds_after_the_end_and_a_restart(registry):
    before = registry()
    name = before.submit(quick_digits(), visitor=ANN, pinned=True)
    wait_until(lambda: before.info(name).state == "done")
    before.close()
    after = registry()
    assert after.info(name).pinned
    after.pin(name, ANN, False)
    assert not after.info(name).pinned


def test_damaged_files_of_an_older_server_stop_no_server(registry, tmp_path):
    (tmp_path / "runs").mkdir()
    for name, text in (("owners", "[1"), ("queue", '[3, "x", {"kind": "new"}]'), ("kept", "7")):
        (tmp_path / "runs" / f".{name}.json").write_text(text)
    runs = registry()
    texts = [problem.text for problem in runs.problems]
    assert len(texts) == 5
    assert [text for text in texts if ".owners.json of an older version cannot be read" in text]
    assert sum("could not be restored" in text for text in texts) == 3
    assert runs.names() == []
    assert (tmp_path / "runs" / ".before-sqlite" / ".owners.json").read_text() == "[1"


def test_a_damaged_database_is_unchanged_and_reported(registry, tmp_path):
    root = tmp_path / "runs"
    root.mkdir()
    (root / ".mixnn.sqlite3").write_bytes(b"no database at all" * 100)
    clock = Clock()
    runs = registry(clock=clock)
    assert not runs.trains_here
    assert "is damaged; restore a backup, or move it away" in runs.refusal
    assert "is damaged" in runs.problems[0].text
    with pytest.raises(RunsError, match="is damaged"):
        runs.submit(LONG, visitor=ANN)
    with pytest.raises(StorageError, match="is damaged"):
        runs.access.owner("any")  # no run gets another owner
    (root / ".mixnn.sqlite3").rename(tmp_path / "aside")
    clock.ahead = 10
    wait_until(lambda: runs.trains_here)
    name = runs.submit(quick_digits(), visitor=ANN)
    wait_until(lambda: runs.info(name).state == "done")
    assert (tmp_path / "aside").read_bytes() == b"no database at all" * 100
