"""Your data: upload, check, review by key, export; and what the page says when it cannot."""

import io
import json
import shutil
import sys
import time

import numpy as np
import pytest
from PIL import Image

from app.server.decisions import Reviews
from app.server.label_issues import issues_of
from app.server.run_manager import runs
from app.server.run_view import RunView
from app.server.uploads import jobs, paths, registry, turns
from app.views.your_data import decide
from app.views.your_data.reviews import reviews_of
from app.views.your_data.upload_step import UPLOAD
from engine.analysis.label_issues import MIN_PROBABILITY
from engine.data import load
from engine.files import read_json
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.app.conftest import app, texts, wait_until
from tests.app.server.test_uploads import pets, png, zipped
from tests.conftest import blobs, quick
from tests.hostile import acting, protos


def wrong_digits(n: int = 300) -> bytes:
    """Real digits, a tenth of the labels wrong."""
    data = load("digits", limit=n)
    labels = data.labels.numpy().astype(np.uint8)
    labels[::10] = (labels[::10] + 1) % 10
    out = io.BytesIO()
    np.savez(out, train_images=data.images[:, 0].numpy(), train_labels=labels)
    return out.getvalue()


def open_samples(name: str) -> list[int]:
    issues = issues_of(RunView(name))
    return [s for s in issues.flagged.tolist() if s not in reviews_of(name).latest()]


def shows(at, sample: int) -> bool:
    return f"Sample {sample} (" in texts(at)


def press(at, start: str):
    """Click the button whose key begins so, and there must be one."""
    found = [button for button in at.button if (button.key or "").startswith(start)]
    assert found, [button.key for button in at.button]
    found[0].click().run()
    assert not at.exception
    return at


def upload(at, name: str, content: bytes):
    """Put a file into the box, and wait as a visitor does."""
    at.file_uploader[0].upload(name, content).run()

    def settled() -> bool:
        working = [button for button in at.button if button.key == "cancel-upload"]
        if working:
            at.run()
        return not working

    wait_until(settled)
    return at


def received(root, content: bytes, name: str = "mine.npz"):
    return registry.receive(io.BytesIO(content), name, root)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders of "sound" and "silent", to be copied."""
    folder = tmp_path_factory.mktemp("trained")
    early = dict(method="selc", warmup=0, correction_start=0)
    for name, settings in (("sound", dict(alpha=0.7, k=3)), ("silent", early)):
        Runner.new(of_blobs(folder, **settings), folder / name).run()
    return folder


@pytest.fixture
def sound(root, trained) -> str:
    """A finished run of which some label changes are proposed."""
    shutil.copytree(trained / "sound", root / "sound")
    return "sound"


@pytest.fixture
def silent(root, trained) -> str:
    """A finished run that corrected labels from the first epoch on: nothing speaks of them."""
    shutil.copytree(trained / "silent", root / "silent")
    return "silent"


def of_blobs(folder, **settings):
    """Settings of a run on an npz of blobs, of which a tenth of the labels is wrong."""
    data = blobs(n=120)
    images, labels = data.images[:, 0].numpy(), data.labels.numpy()
    np.savez(
        folder / "blobs.npz", train_images=images, train_labels=labels, train_true_labels=labels
    )
    noise = dict(noise="symmetric-exclusive", rate=0.1)
    return quick(dataset=f"npz:{folder / 'blobs.npz'}", epochs=6, **noise, **settings)


# --- states of a run


def test_without_a_run_the_page_offers_an_upload(root):
    at = app("your_data")
    assert at.header[0].value == "Which of my labels are wrong?"
    assert len(at.file_uploader) == 1
    assert not at.error


@pytest.mark.parametrize("step", ["review", "take"])
def test_review_and_export_without_a_run_say_what_to_do(root, step):
    at = app("your_data", step=step)
    assert "no run yet" in texts(at)
    assert not at.error


def test_a_step_that_does_not_exist(root):
    at = app("your_data", step="9")
    assert "step = '9' in the link" in texts(at)
    assert len(at.file_uploader) == 1


def test_a_running_run_shows_its_progress(running):
    at = app("your_data", step="review", run=running)
    assert "learns what most labels agree on" in texts(at)
    assert not [button for button in at.button if (button.key or "").startswith("pick")]
    assert not at.error


def test_a_broken_run_folder(broken):
    for step in ("review", "take"):
        at = app("your_data", step=step, run=broken)
        assert "cannot be read" in at.error[0].value


def test_a_failed_run_says_why_and_shows_what_there_is(failed):
    at = app("your_data", step="review", run=failed)
    assert "failed: the disk is full" in texts(at).replace("\\", "")
    assert [button for button in at.button if (button.key or "").startswith("pick")]


def test_a_finished_run_is_reviewed_from_the_most_suspicious_on(finished):
    at = app("your_data", step="review", run=finished)
    first = open_samples(finished)[0]
    assert shows(at, first)
    assert "0 of " in at.get("progress")[0].proto.text
    assert not at.error


# --- deciding


def test_keys_decide_and_move_on_and_back(finished):
    at = app("your_data", step="review", run=finished)
    a, b, c, d = open_samples(finished)[:4]
    issues = issues_of(RunView(finished))
    press(at, f"pick-{a}-1")
    press(at, f"keep-{b}")
    press(at, f"skip-{c}")
    latest = reviews_of(finished).latest()
    assert {s: (x.kind, x.label) for s, x in latest.items()} == {
        a: ("change" if issues.suggested[a] != issues.given[a] else "keep", issues.suggested[a]),
        b: ("keep", issues.given[b]),
        c: ("skip", issues.given[c]),
    }
    assert shows(at, d)
    assert "3 of " in at.get("progress")[0].proto.text
    press(at, f"undo-{d}")
    assert shows(at, c)
    assert sorted(reviews_of(finished).latest()) == sorted([a, b])


def test_from_the_middle_of_the_list_it_continues_there(finished):
    samples = open_samples(finished)
    at = app("your_data", step="review", run=finished, sample=samples[2])
    press(at, f"keep-{samples[2]}")
    assert shows(at, samples[3])


def test_a_review_survives_a_reload(finished):
    at = app("your_data", step="review", run=finished)
    a, b = open_samples(finished)[:2]
    press(at, f"keep-{a}")
    again = app("your_data", step="review", run=finished)
    assert shows(again, b)
    assert "1 kept" in again.get("progress")[0].proto.text


def test_a_press_meant_for_the_image_before_decides_nothing(finished):
    """Two fast presses: the second one still names the first image."""
    at = app("your_data", step="review", run=finished)
    a, b = open_samples(finished)[:2]
    stale = next(button for button in at.button if button.key == f"keep-{a}")
    press(at, f"keep-{a}")
    stale.click()
    at.run()
    assert list(reviews_of(finished).latest()) == [a]
    assert shows(at, b)


def test_any_other_class_can_be_chosen(finished):
    at = app("your_data", step="review", run=finished)
    sample = open_samples(finished)[0]
    others = [b for b in at.button if (b.key or "").startswith(f"other-{sample}-")]
    picks = [b for b in at.button if (b.key or "").startswith(f"pick-{sample}-")]
    assert len(others) + len(picks) == 10
    label = int(others[0].key.rsplit("-", 1)[1])
    others[0].click().run()
    assert reviews_of(finished).latest()[sample].label == label


def test_digits_are_picked_by_their_own_key_and_names_by_place():
    assert decide.keys_of(["0", "1", "2"], [2, 0]) == {2: "2", 0: "0"}
    assert decide.keys_of(["cat", "dog", "3"], [2, 0]) == {2: "1", 0: "2"}


def test_the_given_label_is_always_offered():
    likely = np.array([0.5, 0.3, 0.19, 0.006, 0.004, 0.0])
    assert decide.offered(likely, 5) == [0, 1, 2, 3, 5]
    assert decide.offered(likely, 1) == [0, 1, 2, 3]
    even = np.full(20, 0.05)
    assert len(decide.offered(even, 19)) == 9
    assert decide.offered(even, 19)[-1] == 19


def test_filters_by_class_and_likelihood(finished):
    issues = issues_of(RunView(finished))
    kind = int(np.bincount(issues.given[issues.flagged]).argmax())
    expected = [s for s in issues.flagged.tolist() if issues.given[s] == kind]
    at = app("your_data", step="review", run=finished, desk_class=kind)
    assert shows(at, expected[0])
    assert f"The list: {len(expected)} labels" in at.expander[0].label
    sure = float(np.sort(issues.confidence()[issues.flagged])[-3]) - 1e-4
    at = app("your_data", step="review", run=finished, desk_sure=sure)
    assert "The list: 3 labels" in at.expander[0].label
    at = app("your_data", step="review", run=finished, desk_show="decided")
    assert "passes the filter" in texts(at)


@pytest.mark.parametrize("bad", [dict(desk_class=99), dict(desk_sure="7"), dict(desk_sure="nan")])
def test_invalid_filters_in_a_link_are_reset(finished, bad):
    at = app("your_data", step="review", run=finished, **bad)
    assert shows(at, open_samples(finished)[0])
    assert not at.error


@pytest.mark.parametrize("bad", ["0.1", "7", "nan"])
def test_an_invalid_likelihood_in_a_link_is_reset(sound, bad):
    at = app("your_data", step="take", run=sound, accept=bad)
    assert not at.toggle(key="accept-on").value
    assert not at.error


def test_all_decided(finished):
    reviews, issues = reviews_of(finished), issues_of(RunView(finished))
    for sample in issues.flagged.tolist():
        reviews.decide(sample, "keep", int(issues.given[sample]))
    at = app("your_data", step="review", run=finished)
    assert "are decided" in at.success[0].value
    press(at, "to-take")
    assert at.query_params["step"] == "take"


def test_a_review_file_that_is_broken(finished, root):
    (root / finished / "review.json").write_text("{")
    at = app("your_data", step="review", run=finished)
    assert "review.json cannot be read" in at.error[0].value
    assert (root / finished / "review.json").read_text() == "{"


@pytest.mark.usefixtures("unpacked_here")
def test_missing_images_leave_the_labels(root, template):
    about = received(root, wrong_digits(100))
    shutil.copytree(template, root / "gone")
    config = read_json(root / "gone" / "config.json")
    config["config"]["dataset"] = about.dataset
    (root / "gone" / "config.json").write_text(json.dumps(config))
    shutil.rmtree(root / paths.FOLDER)
    at = app("your_data", step="review", run="gone")
    assert "cannot be shown" in texts(at)
    assert [button for button in at.button if (button.key or "").startswith("pick")]
    at = app("your_data", step="take", run="gone")
    assert [button.key for button in at.get("download_button")] == ["save-table"]


# --- export


def test_the_summary_counts_the_changes(sound):
    issues, reviews = issues_of(RunView(sound)), reviews_of(sound)
    at = app("your_data", step="take", run=sound)
    assert [m.value for m in at.metric] == ["0", "0", "0"]
    assert not at.warning
    assert issues.estimate() in at.caption[0].value
    sample = int(issues.flagged[0])
    assert issues.proposed[sample] != issues.given[sample]
    reviews.decide(sample, "change", int(issues.given[sample] + 1) % 3)
    at.run()
    assert [m.value for m in at.metric] == ["1", "1", "0"]
    at.toggle(key="accept-on").set_value(True).run()
    assert at.query_params["accept"] == str(MIN_PROBABILITY)
    n_auto = int((issues.proposed != issues.given).sum()) - 1
    assert n_auto > 3
    assert [m.value for m in at.metric] == [str(1 + n_auto), "1", str(n_auto)]
    assert "The true labels are known here" in texts(at)


@pytest.mark.parametrize("accept", [{}, {"accept": "0.95"}])
def test_nothing_changes_unseen_without_evidence(silent, accept):
    issues = issues_of(RunView(silent))
    assert (issues.suggested != issues.given).any()
    for step in ("review", "take"):
        at = app("your_data", step=step, run=silent, **accept)
        assert [w.value for w in at.warning] == [f"{issues.estimate()} {issues.warning}"]
        assert not at.success
    assert at.toggle(key="accept-held").disabled
    assert "accept" not in at.query_params
    assert [m.value for m in at.metric] == ["0", "0", "0"]


def test_another_round_starts_with_the_reviewed_labels(finished, root):
    issues, reviews = issues_of(RunView(finished)), reviews_of(finished)
    reviews.decide(0, "change", int(issues.given[0] + 1) % 10)
    at = press(app("your_data", step="take", run=finished), "again")
    about = registry.find(at.query_params["upload"], root)
    expected = issues.given.copy()
    expected[0] = (expected[0] + 1) % 10
    assert load(about.dataset).labels.tolist() == expected.tolist()


# --- uploading and checking


def test_from_an_upload_to_the_first_decision(root):
    at = app("your_data", step="bring")
    upload(at, "mine.npz", wrong_digits())
    assert at.query_params["step"] == "check"
    assert [m.value for m in at.metric][0] == "300"
    assert "No test part" in texts(at)
    press(at, "find")
    name = at.query_params["run"]
    assert name.startswith("npz-mine-")
    wait_until(lambda: not runs().info(name).active)
    assert runs().info(name).state == "done"
    assert RunFolder(root / name).config.noise == "none"
    at.run()
    press(at, "pick-")
    assert len(Reviews(root / name, 300, 10).latest()) == 1


def test_a_table_is_checked_and_offers_no_settings_of_images(root):
    rows = "".join(f"w{i},{i % 2 + i / 99},{'ab'[i % 2]}\n" for i in range(40))
    at = upload(app("your_data", step="bring"), "wines.csv", f"id,size,label\n{rows}".encode())
    assert not at.exception
    assert {m.label: m.value for m in at.metric}["Features"] == "1"
    keys = {widget.key for widget in (*at.checkbox, *at.selectbox)}
    assert keys.isdisjoint({"mirror", "size"})
    assert at.button(key="find").label == "Find wrong labels"


def test_lost_images_are_a_warning_and_other_ratios_can_be_cropped(root):
    files = {f"{kind}/deep/{i}.png": png(30 * i + c, side=16)
             for c, kind in enumerate(("cat", "dog")) for i in range(6)}  # fmt: skip
    wide = io.BytesIO()
    Image.new("L", (64, 16), 9).save(wide, "WEBP")
    files |= {"dog/wide.webp": wide.getvalue(), "dog/bad.gif": b"GIF89a", "notes.txt": b"x"}
    at = upload(app("your_data", step="bring"), "pets.zip", zipped(files).read())
    said = " ".join(text.value for text in at.warning)
    assert "dog/bad.gif" in said
    assert "notes.txt" not in said
    assert "notes.txt" in texts(at)
    assert "All files that were left out (2)" in [e.label for e in at.expander]
    (note, why), (bad, reason) = at.dataframe[0].value.values.tolist()
    assert (note, why) == ("notes.txt", "file that is no image by its name")
    assert bad == "dog/bad.gif"
    assert reason.startswith("is no JPEG, PNG")
    at.segmented_control(key="fit").set_value("crop").run()
    assert at.selectbox(key="size").options[:2] == ["Automatic: 16 × 16", "32 pixels"]
    at.selectbox(key="size").set_value(32).run()
    at = press(at, "find")
    name = at.query_params["run"]
    wait_until(lambda: not runs().info(name).active)
    config = RunFolder(root / name).config
    assert (config.image_fit, config.image_size) == ("crop", 32)
    at.query_params["step"] = "take"
    at.run()
    offered = [option.partition(":")[0] for option in at.selectbox(key="form").options]
    assert offered == ["NumPy", "Table", "cleanlab", "Label Studio", "FiftyOne", "Hugging Face",
                       "Croissant"]  # fmt: skip
    at.selectbox(key="form").set_value("labelstudio").run()
    assert not at.exception


def test_removed_images_are_counted_and_left_out(finished):
    decide.reviews_of(finished).decide(0, "remove", int(issues_of(RunView(finished)).given[0]))
    at = app("your_data", step="take", run=finished)
    assert [m.value for m in at.metric] == ["0", "0", "0", "1"]
    assert at.dataframe[0].value["final"].tolist() == ["(removed)"]
    offered = [option.partition(":")[0] for option in at.selectbox(key="form").options]
    assert "Table" not in offered  # arrays are no files


def test_the_example_is_one_click(root):
    at = press(app("your_data"), "example")
    assert at.query_params["step"] == "check"
    assert [m.value for m in at.metric][:3] == ["1,437", "360", "10"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GIF89a", "neither an .npz"),
        (zipped({"../cat/1.png": b""}).read(), "leads out"),
        (zipped({"cat/1.png": b"x"}).read(), "no readable"),
    ],
)
@pytest.mark.usefixtures("unpacked_here")
def test_a_refused_upload_says_why_and_the_page_continues(root, content, reason, monkeypatch):
    at = app("your_data")
    receive, received = registry.receive, []
    monkeypatch.setattr(
        registry, "receive", lambda *args, **more: received.append(args) or receive(*args, **more)
    )
    upload(at, "mine.zip", content)
    for _ in range(2):  # the reason stays while the file is in the box
        assert not at.exception
        assert reason in at.error[0].value.replace("\\", "")
        at.run()
    assert len(received) == 1  # not unpacked again at every rerun
    assert not list((root / paths.FOLDER).iterdir())
    upload(at, "pets.zip", zipped(pets()).read())
    assert at.query_params["step"] == "check"


@pytest.fixture
def endless(monkeypatch) -> None:
    """Uploads whose process runs without end."""
    code = (
        "import json, time; print(json.dumps({'done': ['Files unpacked', 3, 10]}), flush=True)\n"
        "time.sleep(600)"
    )
    monkeypatch.setattr(jobs, "COMMAND", [sys.executable, "-c", code])


def test_a_long_upload_says_how_far_it_is_and_can_be_canceled(root, endless):
    at = app("your_data")
    at.file_uploader[0].upload("mine.zip", b"anything").run()
    _, unpacking = at.session_state[UPLOAD]
    wait_until(lambda: unpacking.job.total)
    at.run()
    assert at.session_state[UPLOAD][1] is unpacking  # not started again by a rerun
    assert at.get("progress")[0].proto.text == "Files unpacked: 3 of 10"
    assert at.get("progress")[0].proto.value == 30
    at.button(key="cancel-upload").click().run()
    unpacking.join(10)
    at.run()
    assert "canceled" in at.error[0].value
    assert list((root / paths.FOLDER).iterdir()) == []


@pytest.mark.slow
def test_an_upload_ends_when_its_page_is_closed(root, endless, monkeypatch):
    """The page's updates keep it; without them it ends."""
    monkeypatch.setattr(turns, "ABANDONED_AFTER", 2.0)
    at = app("your_data")
    at.file_uploader[0].upload("mine.zip", b"anything").run()
    _, unpacking = at.session_state[UPLOAD]
    assert unpacking.job.visitor
    start = time.monotonic()
    while time.monotonic() < start + 3:
        at.run()
        time.sleep(0.1)
        assert unpacking.is_alive()
    unpacking.join(10)
    assert "page was closed or left" in unpacking.refusal


def test_another_file_ends_the_one_before(root, endless):
    at = app("your_data")
    at.file_uploader[0].upload("first.zip", b"anything").run()
    _, first = at.session_state[UPLOAD]
    assert first.is_alive()
    at.file_uploader[0].upload("second.zip", b"another").run()
    first.join(10)
    assert not first.is_alive()
    _, second = at.session_state[UPLOAD]
    assert second is not first
    second.job.cancelled.set()
    second.join(10)


def test_a_setting_that_is_no_number_is_named(root, monkeypatch):
    monkeypatch.setenv("MIXNN_UPLOAD_SECONDS", "soon")
    at = upload(app("your_data"), "mine.npz", wrong_digits())
    assert "MIXNN_UPLOAD_SECONDS = 'soon'" in at.error[0].value.replace("\\", "")


def test_a_missing_upload(root):
    at = app("your_data", upload="0123456789abcdef", step="check")
    assert "no longer on the server" in texts(at)
    assert not at.error


def test_checking_nothing(root):
    assert "Nothing was uploaded" in texts(app("your_data", step="check"))


def test_the_folder_box_exists_only_if_allowed(root, tmp_path, monkeypatch):
    monkeypatch.delenv("MIXNN_FOLDERS", raising=False)
    assert not app("your_data").text_input
    monkeypatch.setenv("MIXNN_FOLDERS", str(tmp_path))
    at = app("your_data")
    at.text_input(key="named").set_value("/etc")
    at.button[[b.label for b in at.button].index("Check it")].click().run()
    assert "cannot be read" in at.error[0].value


@pytest.mark.usefixtures("unpacked_here")
def test_the_page_says_the_limit_of_runs(root, monkeypatch):
    about = received(root, wrong_digits(100))
    at = app("your_data", upload=about.key, step="check")
    monkeypatch.setattr(runs().limits, "per_visitor", 0)
    press(at, "find")
    assert "allowed are 0 at once" in at.error[0].value


@pytest.mark.usefixtures("unpacked_here")
def test_names_are_shown_literally(root):
    files = {"**bold** :red[x]/1.png": pets()["cat/0.png"], "b/1.png": pets()["cat/1.png"]}
    about = received(root, zipped(files).read(), "![x](http://x)`.zip")
    at = app("your_data", upload=about.key, step="check")
    assert "![x](http://x)`.zip" in texts(at)
    assert not [found for proto in protos(at._tree) for found in acting(proto)]
    assert not at.error
