"""Checks of a data set, against counts by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.analysis import data_checks
from engine.charts.review import MAX_BARS, class_counts
from engine.data.base import assemble
from tests.conftest import blobs


def made(images, labels, classes=("a", "b"), *, test=None):
    train = (torch.from_numpy(images), torch.tensor(labels))
    return assemble("mine", train, test, list(classes))


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 1, 8, 8)).astype(np.uint8)


def warnings(found: data_checks.DataChecks) -> str:
    return "\n".join(text for level, text in found.findings if level == "warn")


def notes(found: data_checks.DataChecks) -> str:
    return "\n".join(text for level, text in found.findings if level == "note")


def test_counts():
    found = data_checks.check_data(blobs(n=96, n_classes=3, n_test=30))
    assert (found.n_train, found.n_test, found.n_val) == (96, 30, 0)
    assert found.counts.tolist() == [32, 32, 32]
    assert data_checks.key_figures(found) == {
        "Training images": "96",
        "Test images": "30",
        "Classes": "3",
        "Pixels": "8 × 8 gray",
    }


def test_identical_images_with_different_labels_are_found():
    images = noise(8)
    images[5] = images[1]  # same label
    images[6] = images[7] = images[0]  # labels 0, 0, 1
    found = data_checks.check_data(made(images, [0, 1, 0, 1, 0, 1, 0, 1]))
    assert found.conflicts == (((0, 6, 7), (0, 1)),)
    assert "1 image occurs more than once with different labels" in warnings(found)
    assert "3 images exactly repeat" in notes(found)


def test_images_that_differ_in_one_gray_level_are_not_the_same():
    images = noise(4)
    images[1] = images[0]
    images[1, 0, 0, 0] ^= 1
    assert data_checks.check_data(made(images, [0, 1, 0, 1])).conflicts == ()


def test_blank_images_are_no_evidence_of_wrong_labels():
    images = noise(6)
    images[0] = images[1] = 0
    found = data_checks.check_data(made(images, [0, 1, 0, 1, 0, 1]))
    assert found.conflicts == ()
    assert "2 images show a single color" in warnings(found)


def test_imbalance_and_tiny_classes():
    labels = [0] * 120 + [1] * 9
    found = data_checks.check_data(made(noise(129), labels, ("much", "little")))
    assert "much has 13 times as many images as little" in warnings(found)
    assert "Fewer than 10 images in little" in warnings(found)
    even = data_checks.check_data(made(noise(40), [0, 1] * 20))
    assert "times as many" not in warnings(even)
    assert "Fewer" not in warnings(even)


def test_a_class_without_images_counts_as_empty_and_not_as_rare():
    found = data_checks.check_data(made(noise(40), [0, 2] * 20, ("a", "b", "c")))
    assert "times as many" not in warnings(found)
    assert "No training image for b" in notes(found)
    assert data_checks.key_figures(found)["Classes"] == "2"


def test_the_test_part():
    images = noise(20)
    labels = [0, 1] * 10
    assert "No test part" in notes(data_checks.check_data(made(images, labels)))
    test = (torch.from_numpy(images[:3].copy()), torch.tensor(labels[:3]))
    leaky = data_checks.check_data(made(images, labels, test=test))
    assert "3 test images also among the training images" in warnings(leaky)
    assert "No test part" not in notes(leaky)


def test_true_labels_are_counted_where_known():
    data = blobs(n=90)
    wrong = data.labels.clone()
    wrong[:9] = (wrong[:9] + 1) % 3
    found = data_checks.check_data(replace(data, labels=wrong))
    assert "10.0 % of the given labels differ" in notes(found)
    unknown = data_checks.check_data(replace(data, true_labels=None))
    assert "true labels" not in notes(unknown)


def test_few_images_are_a_warning():
    assert "Only 96 images" in warnings(data_checks.check_data(blobs(n=96)))
    assert "Only" not in warnings(data_checks.check_data(blobs(n=600)))


def test_settings_go_by_size():
    small = data_checks.suggested_settings(blobs(n=96), mirror=False)
    assert (small.network, small.augment, small.noise) == ("small", "none", "none")
    big = replace(blobs(n=96), name="npz:x", images=torch.zeros(96, 3, 32, 32, dtype=torch.uint8))
    large = data_checks.suggested_settings(big, mirror=False)
    assert (large.network, large.augment) == ("resnet9-w16", "shift")
    assert data_checks.suggested_settings(big, mirror=True).augment == "crop-flip"
    quick = data_checks.suggested_settings(big, mirror=True, thorough=False)
    assert quick.epochs * 2 == large.epochs
    assert quick.warmup < quick.correction_start < quick.epochs
    assert large.dataset == "npz:x"


@pytest.mark.parametrize("n", [6, 600])
def test_the_time_is_estimated_for_all_epochs_and_images(n, monkeypatch):
    data = blobs(n=n, n_test=30)
    config = data_checks.suggested_settings(data, mirror=False)

    class Told:
        seconds = {"training": 2.0, "evaluation": 1.0}

    trained = []
    monkeypatch.setattr(
        "engine.training.train.train",
        lambda config, few: trained.append((config, few)) or [0, Told],
    )
    few_n = min(n, data_checks.N_TIMED_IMAGES)
    expected = config.epochs * (3.0 * n / few_n + 1.0 * 30 / few_n)
    assert data_checks.estimated_seconds(data, config) == pytest.approx(expected)
    short, few = trained[0]
    assert (few.n, short.epochs) == (few_n, 2)


def test_a_few_images_can_really_be_timed():
    data = blobs(n=4)  # fewer than K
    assert (
        0
        < data_checks.estimated_seconds(data, data_checks.suggested_settings(data, mirror=True))
        < 60
    )


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
