"""The report of all checks: planted problems are found, no false positives on clean digits."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from engine.analysis import data_checks
from engine.analysis.checks.annotators import MISSING, consensus, dawid_skene
from engine.analysis.checks.report import Report, key_figures
from engine.analysis.checks.samples import Part, Samples
from engine.analysis.label_issues import label_issues
from engine.charts.review import MAX_BARS, class_counts
from engine.data import load
from engine.errors import StoreError
from engine.reports.check import check_page, thumbnails
from engine.runs.folder import RunFolder
from tests.conftest import blobs
from tests.hostile import IN_HTML, NAMES

QUALITY = ("dark", "bright", "blurred", "low_information")


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 1, 8, 8)).astype(np.uint8)


def checked(images, labels, classes=("a", "b"), **parts) -> Report:
    own = {"train": (images, labels)} | parts
    return data_checks.check_samples(
        Samples(
            {name: Part(np.array(y, dtype=np.int64), x) for name, (x, y) in own.items()}, classes
        )
    )


def named(report: Report, kind: str, part: str = "train") -> set[int]:
    """Rows of one part that a check names."""
    items = report[kind].items
    return {one.row for item in items for one in item.samples if one.part == part}


# --- planted in real digits


@pytest.fixture(scope="module")
def planted() -> tuple[Report, dict[str, np.ndarray]]:
    """A report on digits in which problems were planted, and their rows."""
    data, rng = load("digits"), np.random.default_rng(0)
    images, labels = data.images.numpy().copy(), data.labels.numpy().copy()
    test, test_labels = data.test_images.numpy().copy(), data.test_labels.numpy().copy()
    rows = iter(rng.permutation(len(labels)))
    kinds = (*QUALITY, "outliers", "exact", "exact source", "near", "near source", "leaked")
    where = {kind: np.array([next(rows) for _ in range(8)]) for kind in kinds}
    where["label_issues"] = np.array([next(rows) for _ in range(60)])
    images[where["dark"]] //= 10
    images[where["bright"]] = 240 + images[where["bright"]] // 17
    images[where["low_information"]] = rng.integers(0, 256, (8, 1, 1, 1))
    small = images[where["blurred"]].reshape(8, 1, 4, 2, 4, 2).mean((3, 5))
    ramp = np.array([[1, 0, 0, 0], [0.75, 0.25, 0, 0], [0.25, 0.75, 0, 0], [0, 0.75, 0.25, 0]])
    ramp = np.concatenate([ramp, ramp[::-1, ::-1]])
    images[where["blurred"]] = ramp @ small @ ramp.T
    images[where["outliers"]] = rng.integers(0, 256, (8, 1, 8, 8))
    images[where["exact"]] = images[where["exact source"]]
    labels[where["exact"]] = labels[where["exact source"]]
    labels[where["exact"][:3]] = (labels[where["exact"][:3]] + 1) % 10

    def copied(kind: str) -> np.ndarray:
        changed = 0.9 * images[where[kind]] + 12 + rng.normal(0, 3, (8, 1, 8, 8))
        return changed.clip(0, 255).astype(np.uint8)

    images[where["near"]] = copied("near source")
    labels[where["near"]] = labels[where["near source"]]
    test[:8], test_labels[:8] = copied("leaked"), labels[where["leaked"]]
    wrong = where["label_issues"]
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
    test_labels[100:120] = (test_labels[100:120] + rng.integers(1, 10, 20)) % 10
    parts = {"train": Part(labels, images), "test": Part(test_labels, test)}
    return data_checks.check_samples(Samples(parts, data.classes)), where


def test_planted_images_are_found(planted):
    report, where = planted
    for kind in QUALITY:
        assert named(report, kind) == set(where[kind]), kind
    found = named(report, "outliers")
    assert len(found & set(where["outliers"])) >= 6
    assert len(found) <= 9


def test_planted_wrong_labels_are_found_in_training_and_test(planted):
    report, where = planted
    wrong = set(where["label_issues"]) | set(where["exact"][:3])
    unseen = {row for kind in QUALITY for row in where[kind]} | set(where["outliers"])
    found = named(report, "label_issues")
    assert len(found & wrong) >= 0.75 * len(wrong)
    assert len(found - wrong - unseen) <= 0.1 * len(found)
    in_test, planted_in_test = named(report, "label_issues", "test"), set(range(100, 120))
    assert len(in_test & planted_in_test) >= 12
    assert len(in_test - planted_in_test) <= 2
    assert 0.93 < report.health < 0.98  # 80 of 1,797 are wrong, 40 images show nothing


def test_planted_duplicates_are_found_and_lead_to_conflicts_and_leaks(planted):
    report, where = planted
    assert named(report, "exact_duplicates") == {*where["exact"], *where["exact source"]}
    near = {*where["near"], *where["near source"], *where["leaked"]}
    assert named(report, "near_duplicates") >= near
    assert len(named(report, "near_duplicates") - near) <= 2
    assert named(report, "leakage") >= set(where["leaked"])
    assert named(report, "leakage", "test") >= set(range(8))
    assert report["leakage"].count <= 9
    pairs = [{one.row for one in item.samples} for item in report["conflicting_duplicates"].items]
    assert len(pairs) == 3
    assert all(pair & set(where["exact"][:3]) for pair in pairs)


def test_clean_digits_are_not_accused():
    report = data_checks.check_data(load("digits"))
    for kind in (*QUALITY, "exact_duplicates", "conflicting_duplicates", "leakage"):
        assert report[kind].severity == "ok", report[kind]
    assert report["label_issues"].count <= 2
    assert report["outliers"].count <= 1
    assert report["near_duplicates"].count <= 3
    assert report["confused_classes"].severity == "ok"
    assert report["ambiguous"].count <= 20
    assert report.health > 0.995


# --- each count by hand


def test_counts():
    report = data_checks.check_data(blobs(n=96, n_classes=3, n_test=30))
    assert report.counts == {"train": 96, "test": 30}
    assert report.class_counts == (32, 32, 32)
    assert key_figures(report) == {
        "Training samples": "96",
        "Test samples": "30",
        "Classes": "3",
        "Pixels": "8 × 8 gray",
        "Label health": "100 %",
    }


def test_identical_images_with_different_labels_are_found():
    images = noise(8)
    images[5] = images[1]  # same label
    images[6] = images[7] = images[0]  # labels 0, 0, 1
    report = checked(images, [0, 1, 0, 1, 0, 1, 0, 1])
    (conflict,) = report["conflicting_duplicates"].items
    assert [one.row for one in conflict.samples] == [0, 6, 7]
    assert conflict.text == "a or b?"
    assert report["exact_duplicates"].summary == "3 images repeat another one exactly."


def test_blank_images_are_no_duplicates():
    images = noise(6)
    images[0] = images[1] = 0
    report = checked(images, [0, 1, 0, 1, 0, 1])
    assert report["conflicting_duplicates"].severity == "ok"
    assert named(report, "low_information") == {0, 1}


def test_imbalance_and_tiny_classes():
    report = checked(noise(129), [0] * 120 + [1] * 9, ("much", "little"))
    assert "much has 13 times as many images as little" in report["class_sizes"].summary
    assert "Fewer than 10 images in little" in report["class_sizes"].summary
    even = checked(noise(40), [0, 1] * 20)["class_sizes"].summary
    assert "times as many" not in even
    assert "Fewer" not in even
    lacking = checked(noise(40), [0, 1] * 20, test=(noise(2, seed=1), [0, 0]))
    assert "The test part has no image of b." in lacking["class_sizes"].summary


def test_a_class_without_images_counts_as_empty_and_not_as_rare():
    report = checked(noise(40), [0, 2] * 20, ("a", "b", "c"))
    assert "times as many" not in report["class_sizes"].summary
    assert key_figures(report)["Classes"] == "2"


def test_notes_of_loading_and_true_labels():
    data = blobs(n=90)
    wrong = data.labels.clone()
    wrong[:9] = (wrong[:9] + 1) % 3
    notes = ("Left out 1 file that cannot be decoded: x.png.", "Resized 3 of 4 images.")
    report = data_checks.check_data(replace(data, labels=wrong, notes=notes))
    assert "10.0 % of the given labels differ" in report["loading"].summary
    assert report["loading"].severity == "warning"
    assert data_checks.check_data(replace(data, true_labels=None))["loading"].severity == "ok"


def test_tiny_sets_give_sentences():
    for images, labels, classes in (
        (noise(1), [0], ("a",)),
        (noise(2), [0, 1], ("a", "b")),
        (noise(40), [0] * 40, ("a", "b")),
        (np.zeros((3, 3, 1, 1), np.uint8), [0, 1, 1], ("a", "b")),
    ):
        report = checked(images, labels, classes, test=(images[:0], []))
        assert report["label_issues"].severity == "skipped"
        assert all(check.summary.endswith(".") for check in report.checks)
        json.dumps(report.as_dict(), allow_nan=False)
    assert "there is nothing to tell" in checked(noise(40), [0] * 40)["class_sizes"].summary


def test_rows_are_checked_without_images():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    rows = (np.eye(4)[labels] @ rng.normal(0, 3, (4, 16)) + rng.normal(0, 1, (400, 16))).astype(
        np.float32
    )
    labels[:20] = (labels[:20] + 1) % 4
    rows[30] = rows[31]
    rows[40] = 25
    part = Part(labels, rows=rows, ids=[f"r{i}" for i in range(400)])
    report = data_checks.check_samples(Samples({"train": part}, ("a", "b", "c", "d")))
    assert len(named(report, "label_issues") & set(range(20))) >= 10
    assert named(report, "label_issues") <= {*range(20), 40}
    assert {one.id for one in report["exact_duplicates"].items[0].samples} == {"r30", "r31"}
    assert 40 in named(report, "outliers")
    assert report["blurred"].severity == "skipped"
    assert "not images" in report["blurred"].summary
    assert "the given features" in report.evidence


def test_a_weak_classifier_counts_nothing():
    rng = np.random.default_rng(0)
    report = checked(noise(600), rng.integers(0, 2, 600))
    assert report.health is None
    assert report["label_issues"].severity in ("note", "ok")
    assert "not known" in report["label_issues"].summary
    assert report["ambiguous"].severity == "skipped"


def test_a_run_judges_the_labels(template):
    run = RunFolder(template)
    report = data_checks.check_data(load("digits", limit=200, seed=1), run)
    issues = label_issues(run)
    assert named(report, "label_issues") == set(issues.flagged.tolist())
    assert "finished" in report.evidence
    with pytest.raises(StoreError, match="200 training samples"):
        data_checks.check_data(blobs(n=30), run)


# --- several annotators


def test_dawid_skene_against_the_truth_and_plain_counts():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 600)
    votes = np.stack([np.where(rng.random(600) < right, true, rng.integers(0, 3, 600))
                      for right in (0.95, 0.8, 0.3, 0.3, 0.3)], 1)  # fmt: skip
    votes[rng.random(votes.shape) < 0.1] = MISSING
    found = consensus(votes, 3)
    right = [(true == labels).mean() for labels in (found.majority, found.probability.argmax(1))]
    assert right[1] > right[0] + 0.05  # it finds out whom to trust
    assert found.accuracy.argmax() == 0
    own = votes[:, 0] != MISSING
    assert abs(found.accuracy[0] - (votes[own, 0] == true[own]).mean()) < 0.05
    probability, confusion = dawid_skene(votes, 3)
    assert probability.sum(1) == pytest.approx(1)
    assert confusion.sum(2) == pytest.approx(1)


def test_agreement_by_hand():
    found = consensus(np.array([[0, 0, 1], [1, 1, MISSING], [0, 1, MISSING], [1, -1, -1]]), 2)
    assert found.agreement == pytest.approx((1 / 3 + 1 + 0) / 3)
    by_chance = (3 / 8) ** 2 + (5 / 8) ** 2
    assert found.kappa == pytest.approx((found.agreement - by_chance) / (1 - by_chance))
    assert found.majority.tolist() == [0, 1, 0, 1]
    assert found.tied.tolist() == [False, False, True, False]


def test_many_classes_are_cut_in_the_middle():
    counts = np.arange(100)
    fig = class_counts([f"c{i}" for i in range(100)], counts)
    shown = list(fig.data[0].x)
    assert len(shown) == MAX_BARS
    assert shown[:2] == [99, 98]
    assert shown[-1] == 0
    assert (
        class_counts(["<b>x", "y" * 40], np.array([1, 2])).layout.yaxis.ticktext[1] == "&lt;b&gt;x"
    )


def test_annotators_of_a_table_are_read_and_wrong_labels_named(tmp_path):
    data = load("digits", limit=60)
    lines = ["path,label,label_1,label_2,label_3"]
    for row, label in enumerate(data.labels.tolist()):
        Image.fromarray(data.images[row, 0].numpy()).save(tmp_path / f"{row}.png")
        given = (label + 1) % 10 if row == 7 else label
        third = "" if row % 2 else label
        lines.append(f"{row}.png,{given},{label},{label},{third}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    report = data_checks.check_data(load(f"manifest:{tmp_path / 'labels.csv'}"))
    found = report["annotators"]
    assert [item.samples[0].id for item in found.items] == ["7.png"]
    assert found.items[0].suggested == str(data.labels[7].item())
    assert {row[:2] for row in found.table.rows} == {
        ("label_1", "60"), ("label_2", "60"), ("label_3", "30")
    }  # fmt: skip
    assert "100 % of the pairs" in found.summary
    assert report["odd_size"].severity == "ok"


def test_files_of_odd_size_are_named_by_path_in_every_part(tmp_path):
    rng = np.random.default_rng(0)
    for part, n in (("train", 20), ("test", 5)):
        for row in range(n):
            size = (200, 16) if (part, row) == ("test", 3) else (16, 16)
            path = tmp_path / part / "ab"[row % 2] / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, size[::-1]).astype(np.uint8)).save(path)
    report = data_checks.check_data(load(f"folder:{tmp_path}"))
    (odd,) = report["odd_size"].items
    assert (odd.samples[0].part, odd.samples[0].id) == ("test", "test/b/3.png")
    assert odd.text == "200 x 16 pixels"


# --- the page


def test_the_page_shows_names_literally_and_loads_nothing():
    data = load("digits", limit=100)
    ids = tuple(NAMES[row % len(NAMES)] + str(row) for row in range(100))
    data = replace(data, ids=ids, classes=NAMES[:10], notes=(NAMES[6],))
    images = data.images.clone()
    images[1] = images[0]
    report = data_checks.check_data(replace(data, images=images))
    page = check_page(report, thumbnails(report, data))
    assert not IN_HTML.search(page.replace('<a href="#', ""))  # its own links
    assert page.count("data:image/png;base64,") > 2
    assert not re.findall(r"""(?:src|href)=["'](?!data:image|#)""", page)
    assert "<script" not in page
