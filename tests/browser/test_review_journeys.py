"""Journeys over Your data in a real browser: from a file to the same file with better labels."""

import csv
import io
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from engine.data import load
from tests.browser.conftest import go, settled

N = 300


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, 8, 8), labels (N,) of which a tenth is wrong, and the true ones."""
    data = load("digits", limit=N)
    true = data.labels.numpy()
    labels = true.copy()
    labels[::10] = (labels[::10] + 1) % 10
    return data.images[:, 0].numpy(), labels, true


def learn(tab, server, path) -> None:
    """Upload a file, choose the quick check, and wait for the review."""
    go(tab, server, "your_data", step="bring")
    tab.set_input_files("input[type=file]", path)
    tab.get_by_text("Quick", exact=True).click()
    tab.get_by_role("button", name="Find wrong labels").click()
    tab.get_by_text("What does it show?").wait_for()
    settled(tab)


def sample(tab) -> int:
    """The sample on the desk."""
    words = tab.get_by_text("label quality", exact=False).filter(has_text="Sample").first
    return int(words.inner_text().split()[1].strip(","))


def press(tab, key: str) -> int:
    """Decide by key, wait for the next image; returns the sample decided on."""
    before = sample(tab)
    tab.keyboard.press(key)
    tab.get_by_text(f"Sample {before},").or_(tab.get_by_text(f"Sample {before} (")).wait_for(
        state="detached"
    )
    settled(tab)
    return before


def saved(tab, key: str) -> bytes:
    """What a download button saves."""
    with tab.expect_download() as download:
        tab.locator(f".st-key-{key} button").click()
    return download.value.path().read_bytes()


@pytest.mark.slow
def test_three_labels_by_key_and_the_same_npz_comes_back(visit, own_server, tmp_path):
    images, labels, true = digits()
    before = dict(
        train_images=images, train_labels=labels.astype(np.uint8)[:, None], extra=np.eye(3)
    )
    np.savez_compressed(tmp_path / "mine.npz", **before)
    server = own_server()
    tab = visit(on=server)
    learn(tab, server, tmp_path / "mine.npz")
    first = sample(tab)
    assert press(tab, str(true[first])) == first
    kept = press(tab, "k")
    skipped = press(tab, "s")
    taken_back = press(tab, "k")
    tab.keyboard.press("u")
    tab.get_by_text(f"Sample {taken_back},").wait_for()
    tab.reload()
    settled(tab)
    tab.get_by_text("3 of ").wait_for()
    address = tab.url.removeprefix(server.url)
    server.stop()
    again = own_server()
    go(tab, again)  # as after a restart: a new address, the same runs
    tab.goto(again.url + address)
    settled(tab)
    tab.get_by_text("3 of ").wait_for()
    assert sample(tab) == taken_back

    tab.get_by_text("4 Export").click()
    after = np.load(io.BytesIO(saved(tab, "save-data")))
    assert after.files == list(before)
    expected = labels.copy()
    expected[first] = true[first]
    np.testing.assert_array_equal(after["train_labels"][:, 0], expected)
    assert after["train_labels"].dtype == np.uint8
    np.testing.assert_array_equal(after["train_images"], images)
    np.testing.assert_array_equal(after["extra"], np.eye(3))
    rows = list(csv.DictReader(io.StringIO(saved(tab, "save-table").decode())))
    how = {int(r["sample"]): r["decision"] for r in rows if r["reviewed"] == "True"}
    changed = "change" if true[first] != labels[first] else "keep"
    assert how == {first: changed, kept: "keep", skipped: "skip"}
    assert [int(row["corrected_label"]) for row in rows] == expected.tolist()


@pytest.mark.slow
def test_class_folders_come_back_with_the_file_moved(visit, server, tmp_path):
    images, labels, true = digits()
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    files = {}
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        files[f"my digits/{names[label]}/{i:03d}.png"] = out.getvalue()
    with zipfile.ZipFile(tmp_path / "my digits.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    tab = visit()
    learn(tab, server, tmp_path / "my digits.zip")
    words = tab.get_by_text("label quality", exact=False).filter(has_text="train/").first
    part, given, file = words.inner_text().split("(")[1].split(")")[0].split("/")
    right = names[true[int(file.removesuffix(".png"))]]
    row = tab.locator(".st-key-picks button", has_text=right).first
    press(tab, row.locator("kbd").inner_text())
    tab.get_by_text("4 Export").click()
    with zipfile.ZipFile(io.BytesIO(saved(tab, "save-data"))) as archive:
        after = {name: archive.read(name) for name in archive.namelist()}
    expected = dict(files)
    expected[f"my digits/{right}/{file}"] = expected.pop(f"my digits/{given}/{file}")
    assert after == expected


@pytest.mark.slow
def test_two_reviewers_at_once_keep_each_others_decisions(visit, open_server, finished_folder):
    run = shutil.copytree(finished_folder, open_server.root / "reviewed").name
    one, two = (visit("your_data", on=open_server, step="review", run=run) for _ in range(2))
    for tab in (one, two):
        tab.get_by_text("What does it show?").wait_for()
    a = press(one, "k")
    b = press(two, "s")  # still showed the same image, and decides on it later
    assert a == b
    c, d = press(one, "k"), press(two, "ArrowRight")
    one.reload()
    settled(one)
    one.get_by_text("2 of ").wait_for()
    one.get_by_text("1 kept, 1 skipped").wait_for()
    assert len({a, c}) == 2
    assert d != a
