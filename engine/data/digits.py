"""Handwritten digits of scikit-learn, 8x8 gray: no download, and a run takes seconds."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from engine.data.base import Data
    from engine.data.registry import Request

SHAPE = (1, 8, 8)
N_TEST = 360


def load(request: "Request") -> "Data":
    """1,437 training and 360 test digits, (N, 1, 8, 8) uint8; the split never changes."""
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from engine.data.base import assemble

    images, labels = load_digits(return_X_y=True)
    # The file counts 0..16 inked dots per 4x4 block.
    images = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, *SHAPE)
    split = train_test_split(
        torch.from_numpy(images),
        torch.from_numpy(labels.astype(np.int64)),
        test_size=N_TEST,
        stratify=labels,
        random_state=0,
    )
    train_images, test_images, train_labels, test_labels = split
    return assemble(
        request.name,
        (train_images, train_labels),
        (test_images, test_labels),
        [str(digit) for digit in range(10)],
        true_labels=train_labels,
    )
