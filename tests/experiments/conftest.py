"""A tiny CIFAR-10 with human labels, in a folder of its own."""

import numpy as np
import pytest


def tiny_cifar(folder) -> None:
    """A cifar10.npz of 64 images of 8 x 8 pixels, a column per class, and human labels."""
    labels = np.arange(64) % 10
    images = np.random.default_rng(0).integers(0, 60, (64, 8, 8, 3)).astype(np.uint8)
    images[np.arange(64), :, labels % 8] += 120
    np.savez(
        folder / "cifar10.npz",
        train_images=images,
        train_labels=labels,
        test_images=images[:20],
        test_labels=labels[:20],
        class_names=np.array([f"class {c}" for c in range(10)]),
    )
    wrong = np.where(np.arange(64) < 16, (labels + 1) % 10, labels)
    np.savez(
        folder / "cifar10n_labels.npz",
        clean_label=labels,
        worse_label=wrong,
        aggre_label=np.where(np.arange(64) < 4, wrong, labels),
        random_label1=np.where(np.arange(64) < 10, wrong, labels),
    )


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNN_DATA", str(tmp_path))
    tiny_cifar(tmp_path)
    return tmp_path
