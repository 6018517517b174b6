"""Who may see what: every page for another visitor, with a share link, and after it was revoked."""

import io
import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app.components import images
from app.server import run_cache, visible_runs
from app.server.decisions import Reviews
from app.server.run_manager import RunManager, RunsError, Visitor, runs
from app.server.run_reader import RunReader
from app.server.uploads import registry
from app.server.visible_runs import VisibleRuns
from app.server.visitors import acting_as
from app.views.your_data.reviews import reviews_of
from engine.analysis import label_changes, sample_history
from engine.analysis.label_evidence import epoch_history
from engine.data import load
from engine.errors import DataError, StoreError
from engine.files import write_json
from engine.runs.folder import RunFolder
from tests.app.conftest import MAIN, texts, unopened, wait_until
from tests.conftest import quick_digits
from tests.records import read_records, write_records

pytestmark = pytest.mark.usefixtures("unpacked_here")
PAGES = ("train", "noise", "losses", "map", "sample", "labels", "compare", "your_data", "lesson",
         "runs")  # fmt: skip
ANN, BOB = b"ann-----", b"bob-----"  # the tokens of two browsers
NAME, GONE = "npz-zebras-mixnn", "npz-zebras-gone0"
CLASSES = [f"zebra{n}kind" for n in range(10)]


def who(token: bytes, **more) -> Visitor:
    from hashlib import sha256

    return Visitor(sha256(token).hexdigest()[:12], **more)


def open_as(token: bytes, page: str, **params) -> AppTest:
    """A page as the browser with this token sees it."""
    at = unopened(page)
    at.session_state["visitor"] = token
    for name, value in params.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception
    return at


def everything(at: AppTest) -> str:
    """All that was sent to the browser: every element with its data."""
    parts = []

    def walk(node) -> None:
        parts.append(str(getattr(node, "proto", "")))
        for child in getattr(node, "children", {}).values():
            walk(child)

    walk(at._tree)
    return "\n".join(parts)


def press(at: AppTest, start: str) -> None:
    """Press a button of the desk, also a disabled one, as a client without a browser can."""
    button = next(b for b in at.button if b.key and b.key.startswith(start))
    button.proto.disabled = False
    button.click().run()


def secrets_of(name: str) -> list[str]:
    """What only its viewers may see of a run besides its name: classes, file, images, a number."""
    picture = images.data_url(run_cache.pixels(name, [0])[0])
    return ["zebra0kind", "zebra9kind", "own.npz", "0.73519", picture[-60:], "73.5 %"]


@pytest.fixture
def private(root, template_unknown, monkeypatch) -> str:
    """Ann's run on her own data, on a server with a passcode; and a public run."""
    monkeypatch.setenv("MIXNN_PASSCODE", "open")
    shutil.copytree(template_unknown, root / NAME)
    info = json.loads((root / NAME / "config.json").read_text())
    info["data"]["classes"] = CLASSES
    write_json(root / NAME / "config.json", info)
    epochs = read_records(root / NAME)
    epochs[-1]["metrics"]["test_accuracy"] = 0.73519
    write_records(root / NAME, epochs)
    runs().storage.put("owners", NAME, who(ANN).id)
    return NAME


def links_to(name: str) -> dict[str, dict[str, str]]:
    """Page -> URL parameters that name a run in every possible way."""
    requests = {page: {"run": name, "sample": "0"} for page in PAGES}
    requests["compare"] |= {"compare": name, "like": "npz"}
    requests["noise"] |= {"noise_of": "run"}
    return requests | {"your_data": {"run": name, "step": "review"}}


def parts_of(page: str) -> list[dict[str, str]]:
    """The parameters that open each part of a page."""
    names = {"sample": ("epochs", "mix"), "noise": ("wrong", "classes", "matrix")}
    names |= {"labels": ("flips", "harmed", "changes", "predictions", "noise")}
    names |= {"losses": ("samples", "classes")}
    names |= {"compare": ("losses", "maps", "runs", "sweeps")}
    if page == "your_data":
        return [{"step": "review"}, {"step": "take"}]
    return [{"part": part} for part in names.get(page, ())] or [{}]


def seen_as_missing(page, params, private, hidden, picture) -> None:
    """Ann sees her run on this page, and for Bob the page is that of a run that does not exist."""
    mine = everything(open_as(ANN, page, **params))  # fills every cache first
    assert page == "lesson" or private in mine, page
    theirs = everything(open_as(BOB, page, **params))
    found = [text for text in hidden if text in theirs]
    assert set(found) <= ({picture} if page == "lesson" else set()), page
    # the name comes back from the address as often as that of a run that does not exist
    params = {key: value.replace(private, GONE) for key, value in params.items()}
    assert theirs.count(private) == everything(open_as(BOB, page, **params)).count(GONE), page


@pytest.mark.parametrize("with_public", [True, False])
def test_no_page_shows_a_private_run_to_a_stranger(private, template, with_public):
    hidden = secrets_of(private)
    picture = hidden[4]  # also the first digit of the public run, and of the lesson
    if with_public:
        shutil.copytree(template, runs().root / "public")
        hidden.remove(picture)
    for page, params in links_to(private).items():
        for more in parts_of(page):
            if more != {"step": "take"}:
                seen_as_missing(page, params | more, private, hidden, picture)
        assert private not in everything(open_as(BOB, page, sample="0"))
    for step in ("take", "check", "bring"):
        theirs = everything(open_as(BOB, "your_data", run=private, step=step))
        assert not [text for text in hidden if text in theirs], step


def test_a_hidden_run_is_treated_as_missing(private):
    for page in ("train", "losses", "sample", "map"):
        text = texts(open_as(BOB, page, run=private))
        assert text.replace(private, GONE) == texts(open_as(BOB, page, run=GONE))


def test_a_link_allows_viewing_but_not_deciding_and_can_be_revoked(private, template):
    shutil.copytree(template, runs().root / "public")
    key = runs().share_link(private, who(ANN))
    assert len(key) >= 22  # 128 bits
    at = open_as(BOB, "your_data", run=private, step="review", key=key)
    assert "zebra" in everything(at)
    assert "you can only view" in texts(at)
    deciding = [b for b in at.button if b.key and b.key.startswith(("pick-", "keep-", "undo-"))]
    assert deciding
    assert all(button.disabled for button in deciding)
    press(at, "keep-")
    assert "belongs to another visitor" in texts(at)
    assert Reviews(runs().root / private, 200, 10).log() == []
    shared = open_as(BOB, "train", run=private, key=key)
    assert {"fork", "beside"}.isdisjoint(b.key for b in shared.button)
    assert "Shared with you" in texts(shared)
    assert private not in everything(open_as(BOB, "runs", key="x" * 22))
    runs().revoke(private, who(ANN))
    assert "zebra0kind" not in everything(open_as(BOB, "losses", run=private, key=key))
    assert runs().share_link(private, who(ANN)) != key


def test_the_owner_creates_and_revokes_the_link_on_the_page(private):
    at = open_as(ANN, "train", run=private)
    at.button(key=f"share-{private}").click().run()
    key = runs().link_key(private)
    assert any(f"run={private}&key={key}" in code.value for code in at.code)
    at.button(key=f"revoke-{private}").click().run()
    assert runs().link_key(private) == ""
    with pytest.raises(RunsError, match="another visitor"):
        runs().share_link(private, who(BOB))


def test_the_teacher_sees_all(private):
    at = AppTest.from_file(str(MAIN), default_timeout=60)
    at.session_state["visitor"], at.session_state["teacher"] = BOB, True
    at.query_params["run"] = private
    assert private in everything(at.run())


def test_a_key_opens_one_run(private):
    other = shutil.copytree(runs().root / private, runs().root / "npz-other")
    runs().storage.put("owners", other.name, who(ANN).id)
    key = runs().share_link(private, who(ANN))
    access = runs().access
    assert access.sees(private, who(BOB, key=key))
    assert not access.sees("npz-other", who(BOB, key=key))
    assert not access.sees(private, who(BOB))
    assert not access.sees(private, who(BOB, key=key[:-1]))


@pytest.mark.parametrize("passcode", ["", "open"])
def test_runs_without_an_owner(root, template, template_unknown, monkeypatch, passcode):
    monkeypatch.setenv("MIXNN_PASSCODE", passcode)
    shutil.copytree(template, root / "public")
    shutil.copytree(template_unknown, root / "own")
    (root / "sweep").mkdir(parents=True)
    shutil.copytree(template_unknown, root / "sweep" / "own")
    access = runs().access
    assert access.sees("public", who(BOB))
    assert access.sees("own", who(BOB)) == access.may_control("own", who(BOB)) == (not passcode)
    assert access.sees_folder(root / "sweep" / "own", who(BOB)) == (not passcode)
    assert access.sees("own", who(BOB, teacher=True))


def test_all_runs_can_be_private_but_a_lessons(root, monkeypatch):
    monkeypatch.setenv("MIXNN_PRIVATE", "1")
    ann = who(ANN)
    mine = runs().submit(quick_digits(), visitor=ann)
    shared = runs().share(quick_digits(seed=5))
    assert runs().access.sees(mine, ann)
    assert not runs().access.sees(mine, who(BOB))
    assert runs().access.sees(shared, who(BOB))
    at = open_as(BOB, "runs")
    assert mine not in everything(at)
    assert shared in everything(at)


def test_a_fork_of_a_private_run_is_private_and_its_owners(private):
    ann = who(ANN)
    fork = runs().fork(private, 2, visitor=ann, k=2)
    wait_until(lambda: runs().info(fork).state == "done")
    assert runs().access.sees(fork, ann)
    assert not runs().access.sees(fork, who(BOB))


def archive() -> io.BytesIO:
    data = load("digits", limit=200)
    out = io.BytesIO()
    np.savez(out, train_images=data.images[:, 0].numpy(), train_labels=data.labels.numpy())
    out.seek(0)
    return out


def test_an_upload_belongs_to_those_who_uploaded_it(root, monkeypatch):
    monkeypatch.setenv("MIXNN_PASSCODE", "open")
    about = registry.receive(archive(), "zebras.npz", root)
    runs().claim(about.key, who(ANN))
    assert "zebras" in texts(open_as(ANN, "your_data", upload=about.key, step="check"))
    assert "zebras" not in texts(open_as(BOB, "your_data", upload=about.key, step="check"))
    for page in ("train", "noise"):
        at = open_as(BOB, page, dataset=about.dataset, noise_of="settings")
        assert "allowed is a named data set" in texts(at)
        assert about.key not in " ".join(str(chart.proto) for chart in at.get("plotly_chart"))
    again = registry.receive(archive(), "other.npz", root, owner=who(BOB).id)
    runs().claim(again.key, who(BOB))
    assert runs().access.may_open(again.key, who(BOB))
    assert not runs().access.may_open(again.key, who(ANN))
    assert not runs().access.may_open(about.key, who(BOB))
    theirs = texts(open_as(BOB, "your_data", upload=again.key, step="check"))
    assert "other" in theirs
    assert "zebras" not in theirs


def test_an_upload_cannot_be_named_as_a_folder_of_the_server(root, monkeypatch):
    monkeypatch.setenv("MIXNN_FOLDERS", str(root.parent))
    about = registry.receive(archive(), "zebras.npz", root)
    with pytest.raises(registry.UploadError, match="is in the folder of the runs"):
        registry.named(about.dataset.partition(":")[2], root)
    with pytest.raises(registry.UploadError, match="cannot be read: allowed are"):
        registry.named(f"{root.parent}/a\0b", root)


@pytest.mark.parametrize("passcode", ["", "open"])
def test_of_the_runs_folder_only_ones_own_upload_is_a_data_set(root, monkeypatch, passcode):
    monkeypatch.setenv("MIXNN_PASSCODE", passcode)
    monkeypatch.setenv("MIXNN_FOLDERS", str(root.parent))
    about = registry.receive(archive(), "zebras.npz", root, owner=who(ANN).id)
    runs().claim(about.key, who(ANN))
    access = runs().access
    assert access.may_use(about.dataset, who(ANN))
    assert not access.may_use(about.dataset, who(BOB))
    assert access.may_use(f"npz:{root.parent}/x.npz", who(BOB))
    for inside in ("run/labels.npz", "", ".uploads", ".uploads/.new-x/upload/x.npz", "../runs/x"):
        assert not access.may_use(f"npz:{root}/{inside}", who(ANN)), inside


@pytest.mark.parametrize("text", ["folder:/x\0y", "npz:/x\x1fy.npz", "npz:~no-such-user/x.npz"])
@pytest.mark.parametrize("teacher", [False, True])
def test_an_impossible_path_is_refused_with_a_message(root, text, teacher):
    assert not runs().access.may_use(text, who(BOB))
    for page in ("train", "noise"):
        at = unopened(page)
        at.session_state["visitor"], at.session_state["teacher"] = BOB, teacher
        at.query_params["dataset"], at.query_params["noise_of"] = text, "settings"
        at.run()
        assert not at.exception
        assert "went wrong" not in texts(at)
        assert "allowed is a named data set" in texts(at)
    with pytest.raises(DataError, match="control characters|no home folder"):
        load(text)


def test_only_those_who_may_see_it_learn_that_a_queued_run_was_not_restored(root, template_unknown):
    shutil.copytree(template_unknown, root / "parent")
    shutil.copytree(template_unknown, root / "other")
    first = RunManager(root)
    first.thread.round = lambda: None  # nothing starts
    time.sleep(0.4)
    lost = [first.fork(of, 2, visitor=who(b), k=2) for of, b in (("parent", ANN), ("other", BOB))]
    first.close(0)  # as a server that was killed: the queue stays
    shutil.rmtree(root / "parent")
    shutil.rmtree(root / "other")
    st.cache_resource.clear()
    problems_of = {
        token: VisibleRuns(runs(), who(token)).problems for token in (ANN, BOB, b"zoe-----")
    }
    assert [len(problems) for problems in problems_of.values()] == [1, 1, 0]
    assert f"{lost[0]}: parent is no run folder" in problems_of[ANN][0]
    assert str(root) not in str(problems_of)
    assert len(VisibleRuns(runs(), who(BOB, teacher=True)).problems) == 2
    assert runs().names() == []
    assert not any((root / name).exists() for name in lost)
    for token, n in ((ANN, 1), (b"zoe-----", 0)):
        assert texts(open_as(token, "runs")).count("A queued run could not be restored") == n


def test_only_the_owner_decides_on_a_public_run(root, template):
    shutil.copytree(template, root / "public")
    runs().storage.put("owners", "public", who(ANN).id)
    for token, n_kept in ((BOB, 0), (ANN, 1)):
        at = open_as(token, "your_data", run="public", step="review")
        assert ("Fork it" in texts(at)) == (token == BOB)
        press(at, "keep-")
        assert len(reviews_of("public").log()) == n_kept
    at = open_as(BOB, "your_data", run="public", step="review")
    press(at, "undo-")
    assert len(reviews_of("public").log()) == 1


def test_a_page_gets_nothing_unchecked_from_the_manager(private):
    visible = VisibleRuns(runs(), who(BOB))
    for method in ("folder", "info", "mark_watched", "link_key", "private"):
        with pytest.raises(RunsError, match="does not exist"):
            getattr(visible, method)(private)
    for method in ("may_control", "resume", "stop", "pause", "step", "go_on", "delete", "revoke"):
        with pytest.raises(RunsError, match="does not exist"):
            getattr(visible, method)(private, who(BOB))
    for name in ("storage", "access", "_queue", "close", "clean_up"):
        with pytest.raises(AttributeError):
            getattr(visible, name)
    public = {name for name in {*vars(RunManager), *vars(RunReader)} if not name.startswith("_")}
    assert public - {"from_environment", "close", "clean_up", "share"} <= set(dir(VisibleRuns)) | {
        *("trains_here", "refusal", "limit", "slots", "per_visitor", "last_cleanup", "shared"),
        "stop_group",  # stops each run as `stop` does, which checks the visitor
    }
    config = RunFolder(runs().root / private).config
    with pytest.raises(RunsError, match="not yours"):
        visible.submit(config, visitor=who(BOB))


@pytest.fixture
def saved(monkeypatch) -> list:
    """What the download buttons that are drawn would run when they are clicked: (label, make)."""
    drawn = []
    monkeypatch.setattr(
        st, "download_button", lambda label, data, *_, **__: drawn.append((label, data))
    )
    return drawn


def in_a_thread(make):
    """As Streamlit makes a deferred file: in a thread that belongs to no page."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(make).result(timeout=60)


def test_no_open_tab_downloads_anything_after_the_link_was_revoked(private, template, saved):
    shutil.copytree(template, runs().root / "public")
    soft = np.load(runs().root / private / "arrays" / "soft.npy", mmap_mode="r+")
    soft[:, :9] = np.roll(soft[:, :9], 1, axis=2)  # labels that changed, for Labels to list
    soft.flush()
    key = runs().share_link(private, who(ANN))
    n_downloads = 0
    for page, params in links_to(private).items():
        for more in parts_of(page):
            open_as(BOB, page, key=key, lasso="0,1,2", **params | more)
    shared = list(saved)
    labels = {label for label, _ in shared}
    assert {"CSV", "All labels, CSV", "A table of all labels (.csv)", "Save as CSV"} <= labels
    assert any(label.startswith("The data set, reviewed") for label in labels)
    for _, make in shared:
        n_downloads += "zebra0kind" in str(in_a_thread(make))
    assert n_downloads >= 3
    runs().revoke(private, who(ANN))
    for label, make in shared:
        with pytest.raises(RunsError, match="does not exist"):
            pytest.fail(f"{label}: {in_a_thread(make)[:80]!r}")
    saved.clear()
    open_as(BOB, "losses", run="public", key=key)
    open_as(ANN, "your_data", run=private, step="take")
    assert len(saved) > 3
    assert all(in_a_thread(make) for _, make in saved)  # the others go on


def test_a_thread_without_a_page_reads_no_private_run(private, template):
    shutil.copytree(template, runs().root / "public")
    assert in_a_thread(lambda: run_cache.run("public").folder.name) == "public"
    with pytest.raises(RunsError, match="does not exist"):
        in_a_thread(lambda: run_cache.run(private))
    with acting_as(who(ANN)):
        assert run_cache.run(private).folder.name == private
    with acting_as(who(BOB)), pytest.raises(RunsError, match="does not exist"):
        run_cache.run(private)


def test_every_download_checks_access_again():
    app = MAIN.parent
    calls = [
        path.relative_to(app).as_posix()
        for path in app.rglob("*.py")
        if re.search(r"\bdownload_button\b", path.read_text()) and path.name != "downloads.py"
    ]
    assert calls == []


def test_a_fork_shows_only_ancestors_that_the_visitor_may_see(private, root, tmp_path):
    fork = runs().fork(private, 2, visitor=who(ANN), k=2)
    wait_until(lambda: runs().info(fork).state == "done")
    key = runs().share_link(fork, who(ANN))
    with acting_as(who(ANN)):
        assert run_cache.run(fork).parent.folder == root / fork / "parent"
        assert run_cache.history(fork, 0)["label_changed"].shape == (3,)
        assert label_changes.label_flips(run_cache.run(fork)) is not None
    with acting_as(who(BOB, key=key)):
        assert run_cache.run(fork).parent is None
        with pytest.raises(StoreError, match="is missing"):
            sample_history.state_before(run_cache.run(fork), 0, np.array([0]))
        assert all(m.run.folder.name == fork for m in epoch_history(run_cache.run(fork), 0))
    shutil.move(root / private, tmp_path / private)  # where no visitor has access
    path = root / fork / "config.json"
    info = json.loads(path.read_text())
    info["parent"]["run"] = str(tmp_path / private)
    write_json(path, info)
    with acting_as(who(ANN)):
        assert run_cache.run(fork).parent.folder == root / fork / "parent"
    shutil.move(root / fork / "parent", root / private)
    (root / fork / "parent").symlink_to(tmp_path / private)  # links are not the fork's own
    with acting_as(who(ANN)):
        assert run_cache.run(fork).parent is None
    (root / fork / "parent").unlink()
    shutil.rmtree(root / private)
    assert RunFolder(root / fork).parent.folder == tmp_path / private  # the command line may
    with acting_as(who(ANN)):
        assert run_cache.run(fork).parent is None


def test_without_a_manager_the_runs_say_what_to_import(monkeypatch):
    monkeypatch.setattr(visible_runs, "_registry", None)
    with pytest.raises(RuntimeError, match="import app.server.run_manager first"):
        visible_runs.manager()
