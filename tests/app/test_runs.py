"""The registry of runs: queue, slots, limits, owners, reaper, restart."""

import errno
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.runs import Runs, RunsError, Visitor
from engine.config import ConfigError
from engine.control import Stopped
from engine.store import Run, StoreError
from engine.writer import RunWriter
from tests.app.conftest import n_epochs, quick_digits, wait_until

ANN, BOB, TEACHER = Visitor("ann"), Visitor("bob"), Visitor("miss", teacher=True)
LONG = quick_digits(epochs=5000)


@pytest.fixture
def registry(tmp_path):
    made = []

    def make(**options) -> Runs:
        made.append(Runs(tmp_path / "runs", **options))
        return made[-1]

    yield make
    for registry in made:
        registry.close()


def test_one_trains_the_others_wait_in_order(registry):
    runs = registry(slots=1)
    names = [runs.submit(LONG, visitor=ANN) for _ in range(3)]
    wait_until(lambda: runs.where(names[0]).state == "running")
    assert [runs.where(name).position for name in names] == [0, 1, 2]
    assert [where.name for where in runs.active()] == names
    runs.stop(names[0], ANN)
    wait_until(lambda: runs.where(names[1]).state == "running")
    assert runs.where(names[0]).state == "stopped"
    assert runs.where(names[2]).position == 1


def test_two_slots_train_two(registry):
    runs = registry(slots=2)
    names = [runs.submit(LONG, visitor=ANN) for _ in range(3)]
    wait_until(lambda: [runs.where(n).state for n in names[:2]] == ["running", "running"])
    time.sleep(0.5)
    assert runs.where(names[2]).state == "queued"


def test_a_finished_run_frees_its_slot_and_lies_on_disk(registry):
    runs = registry()
    first, second = (runs.submit(quick_digits(), visitor=ANN) for _ in range(2))
    wait_until(lambda: runs.where(second).state == "done")
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


def test_only_the_owner_and_the_teacher_steer(registry):
    runs = registry()
    name = runs.submit(LONG, visitor=ANN)
    for wish in (runs.stop, runs.pause, runs.go_on, runs.step):
        with pytest.raises(RunsError, match="belongs to another visitor"):
            wish(name, BOB)
    with pytest.raises(RunsError, match="belongs to another visitor"):
        runs.change(name, BOB, k=2)
    assert runs.may(name, ANN)
    assert not runs.may(name, BOB)
    runs.pause(name, TEACHER)
    wait_until(lambda: runs.where(name).state == "paused")


def test_taking_a_run_out_of_the_queue_leaves_nothing(registry):
    runs = registry()
    runs.submit(LONG, visitor=ANN)
    waiting = runs.submit(LONG, visitor=ANN)
    runs.stop(waiting, ANN)
    assert waiting not in runs.names()
    assert not runs.folder(waiting).exists()


def test_live_knobs_change_and_bad_ones_are_refused(registry):
    runs = registry()
    name = runs.submit(LONG, visitor=ANN)
    wait_until(lambda: runs.where(name).epoch > 2)
    runs.change(name, ANN, alpha=0.5)
    wait_until(lambda: Run(runs.folder(name)).epochs[-1]["settings"]["alpha"] == 0.5)
    with pytest.raises(ConfigError, match="k = 900"):
        runs.change(name, ANN, k=900)


def test_the_unwatched_are_stopped_but_not_the_pinned_or_watched(registry):
    runs = registry(slots=3, reap_after=1.5)
    left, pinned, watched = (runs.submit(LONG, visitor=ANN, pinned=p) for p in (False, True, False))
    deadline = time.monotonic() + 40
    while runs.where(left).state != "stopped" and time.monotonic() < deadline:
        runs.touch(watched)
        time.sleep(0.1)
    assert "nobody watched it" in runs.where(left).message
    assert runs.where(pinned).state == runs.where(watched).state == "running"


def test_a_restart_takes_up_the_queue_and_knows_the_owners(registry):
    before = registry()
    first = before.submit(LONG, visitor=ANN)
    wait_until(lambda: before.where(first).epoch > 0)
    second = before.submit(quick_digits(), visitor=BOB)
    before.close()
    after = registry()
    wait_until(lambda: after.where(second).state == "done")
    assert after.where(first).state == "stopped"
    assert after.where(second).owner == "bob"
    assert not after.may(first, BOB)


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
    time.sleep(0.5)  # the registry looks at its queue meanwhile
    before._closed.set()
    before.ledger.release()
    go.set()
    monkeypatch.setattr(RunWriter, "create", real)
    after = registry()
    wait_until(lambda: after.where(name).state == "done")
    assert n_epochs(after.folder(name)) == 6
    assert registry().where(name).state == "done"


@pytest.mark.slow
def test_a_queue_that_cannot_be_written_for_a_while_goes_on(registry, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    runs = registry()
    first = runs.submit(LONG, visitor=ANN)
    second = runs.submit(quick_digits(epochs=40), visitor=ANN)
    wait_until(lambda: runs.where(first).epoch > 0)
    with monkeypatch.context() as patch:
        patch.setattr("app.ledger.write_json", full)
        runs.stop(first, ANN)
        wait_until(lambda: runs.where(second).state == "running")
        time.sleep(0.5)
    runs.submit(quick_digits(), visitor=ANN)  # the registry still looks at its queue
    wait_until(lambda: runs.where(second).state == "done")


@pytest.mark.slow
def test_a_stopped_run_is_resumed_to_its_end(registry):
    runs = registry()
    name = runs.submit(quick_digits(epochs=40), visitor=ANN)
    wait_until(lambda: runs.where(name).epoch > 1)
    runs.stop(name, ANN)
    wait_until(lambda: runs.where(name).state == "stopped")
    done = n_epochs(runs.folder(name))
    assert done < 40
    with pytest.raises(RunsError, match="belongs to another"):
        runs.resume(name, BOB)
    runs.resume(name, ANN)
    wait_until(lambda: runs.where(name).state == "done")
    assert n_epochs(runs.folder(name)) == 40
    with pytest.raises(StoreError, match="has all its 40 epochs"):
        runs.resume(name, ANN)


def test_a_fork_goes_on_from_its_parent(registry):
    runs = registry()
    parent = runs.submit(quick_digits(), visitor=ANN)
    wait_until(lambda: runs.where(parent).state == "done")
    child = runs.fork(parent, 3, visitor=BOB, k=1, rate=0.2)
    wait_until(lambda: runs.where(child).state == "done")
    assert [record["epoch"] for record in Run(runs.folder(child)).epochs] == [4, 5]
    assert Run(runs.folder(child)).info["parent"]["epoch"] == 3
    with pytest.raises(StoreError, match="epoch = 77"):
        runs.fork(parent, 77, visitor=BOB)


def test_thirty_who_ask_for_the_same_settings_share_one_run(registry):
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
def test_a_shared_run_is_found_again_and_goes_on_after_a_stop(registry):
    before = registry()
    config = quick_digits(epochs=40)
    name = before.share(config)
    wait_until(lambda: before.where(name).epoch > 1)
    before.close()
    after = registry()
    assert after.shared(config).state == "stopped"
    assert after.share(config) == name
    wait_until(lambda: after.where(name).state == "done")
    assert after.share(config) == name
    assert n_epochs(after.folder(name)) == 40


def test_a_shared_run_that_failed_or_is_gone_is_made_anew(registry):
    runs = registry()
    bad = quick_digits(dataset="npz:/nowhere.npz")
    runs.share(bad)
    wait_until(lambda: runs.shared(bad).state == "failed")
    assert runs.share(bad)
    good = runs.share(quick_digits())
    wait_until(lambda: runs.where(good).state == "done")
    shutil.rmtree(runs.folder(good))
    assert runs.shared(quick_digits()) is None
    again = runs.share(quick_digits())
    wait_until(lambda: runs.where(again).state == "done")
    (runs.folder(again) / "config.json").write_text("{")
    runs.close()
    after = registry()
    assert after.shared(quick_digits()).state == "broken"
    assert after.share(quick_digits()) != again


def test_shared_runs_have_a_limit_of_their_own(registry, monkeypatch):
    monkeypatch.setattr("app.runs.MOST_SHARED", 2)
    runs = registry(per_visitor=1)
    for k in (1, 2):
        runs.share(LONG.changed(k=k))
    with pytest.raises(RunsError, match="2 shared runs are queued or running: allowed are 2"):
        runs.share(LONG.changed(k=3))
    assert runs.share(LONG.changed(k=1))


def test_a_run_that_cannot_start_says_why_and_leaves_no_folder(registry):
    runs = registry()
    name = runs.submit(quick_digits(dataset="npz:/nowhere.npz"), visitor=ANN)
    wait_until(lambda: runs.where(name).state == "failed")
    assert "/nowhere.npz is not there" in runs.where(name).message
    wait_until(lambda: not runs.folder(name).exists())
    assert name in runs.names()


def test_only_the_teacher_deletes_and_only_what_has_ended(registry):
    runs = registry()
    name = runs.submit(LONG, visitor=ANN)
    wait_until(lambda: runs.where(name).epoch > 0)
    with pytest.raises(RunsError, match="is active: stop it"):
        runs.delete(name, TEACHER)
    runs.stop(name, ANN)
    wait_until(lambda: runs.where(name).state == "stopped")
    with pytest.raises(RunsError, match="by the teacher only"):
        runs.delete(name, ANN)
    runs.delete(name, TEACHER)
    assert not runs.folder(name).exists()
    assert name not in runs.names()


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc", ".owners.json", "a/b"])
def test_a_name_stays_inside_the_root(registry, name):
    with pytest.raises(RunsError, match="allowed is the name of a folder"):
        registry().where(name)


def test_a_name_that_is_not_there(registry):
    with pytest.raises(RunsError, match="'gone' is not there"):
        registry().where("gone")


@pytest.mark.parametrize("text", ["none", "0", "-2"])
def test_a_bad_environment_is_named(monkeypatch, text):
    monkeypatch.setenv("MIXNN_SLOTS", text)
    with pytest.raises(RunsError, match=f"MIXNN_SLOTS = '{text}'.*above 0"):
        Runs.from_environment()


class Clock:
    """Seconds that go on when a test says so, beside the real ones."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def ann_at(number: int, address: str = "10.0.0.1") -> Visitor:
    return Visitor(f"cookie{number}", address=address)


def test_fresh_cookies_of_one_address_share_a_limit_and_a_class_fits(registry):
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
    assert Runs.__init__.__kwdefaults__["per_address"] >= 30 * 3  # thirty behind one address


def test_owners_take_turns(registry):
    runs = registry()
    first, *anns = (runs.submit(LONG, visitor=ANN) for _ in range(3))
    wait_until(lambda: runs.where(first).state == "running")
    bobs = [runs.submit(LONG, visitor=BOB) for _ in range(2)]
    cat = runs.submit(LONG, visitor=Visitor("cat"))
    assert [runs.where(name).position for name in (bobs[0], cat, bobs[1])][:2] == [1, 2]
    order = []
    running = first
    for _ in range(5):
        runs.stop(running, TEACHER)
        wait_until(lambda last=running: not runs.where(last).active)
        wait_until(lambda: any(w.state == "running" for w in runs.active()))
        running = next(w.name for w in runs.active() if w.state == "running")
        order.append(running)
    assert order == [bobs[0], cat, anns[0], bobs[1], anns[1]]


def test_a_paused_run_gives_its_place_back_while_others_wait(registry):
    clock = Clock()
    runs = registry(clock=clock)
    paused = runs.submit(LONG, visitor=ANN, pinned=True)
    wait_until(lambda: runs.where(paused).epoch > 1)
    runs.pause(paused, ANN)
    wait_until(lambda: runs.where(paused).state == "paused")
    waiting = runs.submit(LONG, visitor=BOB)
    time.sleep(0.5)
    assert runs.where(waiting).state == "queued"  # for a minute
    clock.ahead = 61
    wait_until(lambda: runs.where(waiting).state == "running")
    assert runs.where(paused).state == "paused"
    runs.go_on(paused, ANN)
    assert (runs.where(paused).state, runs.where(paused).position) == ("queued", 1)
    epoch = runs.where(paused).epoch
    runs.stop(waiting, BOB)
    wait_until(lambda: runs.where(paused).state == "running")
    wait_until(lambda: runs.where(paused).epoch > epoch)  # it went on where it stood


def test_a_moment_of_training_does_not_keep_the_place(registry):
    clock = Clock()
    runs = registry(clock=clock)
    paused = runs.submit(LONG, visitor=ANN, pinned=True)
    wait_until(lambda: runs.where(paused).epoch > 1)
    runs.pause(paused, ANN)
    waiting = runs.submit(LONG, visitor=BOB)
    for _ in range(2):
        wait_until(lambda: runs.where(paused).state == "paused")
        time.sleep(0.5)
        clock.ahead += 40
        if runs.where(waiting).state == "queued":
            runs.go_on(paused, ANN)
            time.sleep(0.5)
            runs.pause(paused, ANN)
    wait_until(lambda: runs.where(waiting).state == "running")


def test_nothing_is_kept_of_a_run_that_never_began(registry):
    runs = registry(slots=1)
    runs.submit(LONG, visitor=ANN)
    name = runs.submit(quick_digits(), visitor=ANN, pinned=True)
    runs.share_link(name, ANN)
    runs.stop(name, ANN)
    assert runs.submit(quick_digits(), visitor=BOB) == name
    assert (runs.link_key(name), runs.ledger.table("kept"), runs.access.owner(name)) == (
        "", {}, BOB.id,
    )  # fmt: skip


def test_what_is_kept_of_a_run_goes_with_its_folder(registry, template):
    runs = registry()
    shutil.copytree(template, runs.root / "mine")
    runs.ledger.put("owners", "mine", ANN.id)
    shutil.rmtree(runs.root / "mine")  # by hand
    wait_until(lambda: "mine" not in runs.ledger.table("owners"))
    shutil.copytree(template, runs.root / "mine")  # of the command line
    assert runs.access.owner("mine") == ""


def test_a_shared_run_is_never_a_run_of_somebody(registry):
    runs = registry()
    lesson = runs.share(quick_digits())
    wait_until(lambda: runs.where(lesson).state == "done")
    runs.delete(lesson, TEACHER)
    assert runs.submit(quick_digits(epochs=7), visitor=BOB) == lesson  # the same name
    assert runs.shared(quick_digits()) is None


def test_only_so_many_stay_paused_without_a_place(registry, monkeypatch):
    monkeypatch.setattr("app.jobs.MOST_PARKED", 1)
    clock = Clock()
    runs = registry(clock=clock)
    names = [runs.submit(LONG, visitor=visitor) for visitor in (ANN, BOB, TEACHER)]
    for name in names[:2]:
        wait_until(lambda name=name: runs.where(name).epoch > 1)
        runs.pause(name, TEACHER)
        wait_until(lambda name=name: runs.where(name).state == "paused")
        time.sleep(0.5)
        clock.ahead += 61
    wait_until(lambda: runs.where(names[2]).state == "running")
    wait_until(lambda: runs.where(names[0]).state == "stopped")
    assert "paused while others waited" in runs.where(names[0]).message
    assert runs.where(names[1]).state == "paused"
    runs.stop(names[1], TEACHER)  # the teacher frees any
    wait_until(lambda: runs.where(names[1]).state == "stopped")


def test_the_second_server_over_a_folder_waits_until_the_first_has_gone(registry):
    first = registry()
    clock = Clock()
    second = registry(clock=clock)
    running = first.submit(LONG, visitor=ANN)
    waiting = first.submit(quick_digits(), visitor=BOB)
    assert first.alone
    assert not second.alone
    for wish in (
        lambda: second.submit(LONG, visitor=BOB), lambda: second.share(LONG),
        lambda: second.resume(running, ANN), lambda: second.stop(running, ANN),
        lambda: second.claim("abc", ANN), lambda: second.delete(running, TEACHER),
        lambda: second.pin(running, ANN, True), lambda: second.share_link(running, ANN),
    ):  # fmt: skip
        with pytest.raises(RunsError, match="Another server uses this runs folder"):
            wish()
    clock.ahead = 10
    time.sleep(0.5)
    assert not second.active()  # it did not take up the queue
    assert second.where(waiting).owner == "bob"  # but reads whose runs they are
    first.close()
    clock.ahead = 20
    wait_until(lambda: second.alone)
    wait_until(lambda: second.where(waiting).state == "done")
    assert {running, waiting} <= set(second.ledger.table("owners"))


def test_a_run_stays_its_owners_when_the_teacher_resumes_it(registry):
    runs = registry()
    name = runs.submit(LONG, visitor=ANN)
    wait_until(lambda: runs.where(name).epoch > 1)
    runs.stop(name, ANN)
    wait_until(lambda: runs.where(name).state == "stopped")
    runs.resume(name, TEACHER)
    assert runs.where(name).owner == "ann"


def test_a_pin_holds_after_the_end_and_a_restart(registry):
    before = registry()
    name = before.submit(quick_digits(), visitor=ANN, pinned=True)
    wait_until(lambda: before.where(name).state == "done")
    before.close()
    after = registry()
    assert after.where(name).pinned
    after.pin(name, ANN, False)
    assert not after.where(name).pinned


def test_damaged_tables_stop_no_server(registry, tmp_path):
    registry().close()
    for name, text in (("owners", "[1"), ("queue", '[3, "x", {"kind": "new"}]'), ("kept", "7")):
        (tmp_path / "runs" / f".{name}.json").write_text(text)
    runs = registry()
    assert len(runs.problems) == 3
    assert runs.names() == []
