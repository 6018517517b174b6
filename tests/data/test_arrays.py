"""Arrays and foreign data sets: every layout, refused values, and the file beside the run."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from engine import from_arrays, from_dataset, load, register
from engine.data.arrays import store
from engine.errors import DataError
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.conftest import quick

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 3, 8, 9), dtype=np.uint8)  # (N, C, H, W)
LABELS = np.arange(12) % 3


@pytest.mark.parametrize(
    "images",
    [
        PIXELS,
        PIXELS.transpose(0, 2, 3, 1),
        PIXELS.astype(np.int64),
        PIXELS / 255,
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS).double() / 255,
        torch.from_numpy(PIXELS).permute(0, 2, 3, 1),
        PIXELS.tolist(),
    ],
    ids=lambda images: type(images).__name__,
)
def test_every_layout_is_the_same_data_set(images):
    data = from_arrays(images, LABELS.tolist(), classes=["a", "b", "c"])
    assert np.array_equal(data.images, PIXELS)
    assert data.labels.tolist() == LABELS.tolist()
    assert data.name == f"arrays:{data.fingerprint()}"


def test_gray_images_and_the_other_parts():
    gray, labels = PIXELS[:, 0], LABELS
    data = from_arrays(
        gray, labels, test=(gray[:3], labels[:3]), val=(gray[:2], labels[:2]),
        true_labels=(labels + 1) % 3, ids=range(12),
    )  # fmt: skip
    assert data.shape == (1, 8, 9)
    assert data.classes == ("0", "1", "2")
    assert (len(data.test_images), len(data.val_images)) == (3, 2)
    assert data.true_labels.tolist() == ((labels + 1) % 3).tolist()
    assert data.ids[3] == "3"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(images=PIXELS * 1.0), "train images are float64 from 0 to 255: allowed are integers"),
        (dict(images=PIXELS / 255 - 0.5), "floats in .0, 1., without normalization"),
        (dict(images=np.full((12, 8, 8), np.nan)), "images are float64 from"),
        (dict(images=PIXELS[:, :2, :, :4]), r"shape \(12, 2, 8, 4\): allowed are numbers"),
        (dict(images=PIXELS.astype(str)), "images have type <U"),
        (dict(images=[[1], [2, 3]]), "these values are no array"),
        (dict(labels=LABELS / 2), "labels have type float64"),
        (dict(labels=LABELS[:5]), "12 train images but 5 train labels"),
        (dict(labels=LABELS - 1), "train label -1 in row 0; labels count from 0"),
        (dict(labels=LABELS * 0), "all training images are '0', two classes are needed"),
        (dict(classes=["a", "b"]), r"label 2 in row 2; allowed are 0\.\.1"),
        (dict(ids=["a"]), "1 ids: allowed is 12, one per image"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        from_arrays(**dict(images=PIXELS, labels=LABELS) | changes)


class Pairs(torch.utils.data.Dataset):
    """As torchvision's: Pillow images, whole numbers, names of classes."""

    classes = ("a", "b", "c")

    def __len__(self):
        return 12

    def __getitem__(self, row):
        return Image.fromarray(PIXELS[row].transpose(1, 2, 0)), int(LABELS[row])


class Rows(list):
    """As Hugging Face's `datasets.Dataset`: rows by column name, names in a ClassLabel."""

    class features(dict):  # noqa: N801 - the attribute of that library
        names = None


def rows() -> Rows:
    found = Rows({"img": Pairs()[row][0], "fine": int(LABELS[row])} for row in range(12))
    names = type("ClassLabel", (), {"names": ["a", "b", "c"]})()
    found.features = {"img": object(), "fine": names}
    return found


def test_torch_and_hugging_face_data_sets_are_the_same_arrays():
    expected = from_arrays(PIXELS, LABELS, classes=["a", "b", "c"], test=(PIXELS, LABELS))
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(PIXELS), torch.from_numpy(LABELS))
    for found in (
        from_dataset(Pairs(), test=Pairs()),
        from_dataset(rows(), test=rows(), image="img", label="fine"),
        from_dataset(tensors, test=tensors, classes=["a", "b", "c"]),
    ):
        assert found.fingerprint() == expected.fingerprint()
        assert found.classes == expected.classes
    with pytest.raises(DataError, match="item 0 has img, fine: allowed are .* 'image' and 'label'"):
        from_dataset(rows())
    with pytest.raises(DataError, match="allowed is one size for all"):
        from_dataset([(PIXELS[0], 0), (PIXELS[0, :, 1:], 1)])


def test_hugging_face_itself():
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["a", "b", "c"])
    )
    columns = {"image": [Pairs()[row][0] for row in range(12)], "label": LABELS.tolist()}
    found = from_dataset(datasets.Dataset.from_dict(columns, features=features))
    assert np.array_equal(found.images, PIXELS)
    assert found.classes == ("a", "b", "c")


def test_a_run_finds_its_images_beside_it_also_after_a_move(tmp_path):
    data = from_arrays(
        PIXELS, LABELS, classes=["a", "b", "c"], test=(PIXELS[:4], LABELS[:4]), true_labels=LABELS
    )
    runner = Runner.new(quick(epochs=2, k=1), tmp_path / "runs" / "one", data=data)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    (file,) = (tmp_path / "runs" / "data").iterdir()
    assert file.stem == data.fingerprint()
    run = RunFolder(tmp_path / "runs" / "one")
    assert load(run.config.dataset).fingerprint() == data.fingerprint()
    assert load(run.config.dataset).classes == data.classes
    shutil.move(tmp_path / "runs", tmp_path / "moved")
    moved = RunFolder(tmp_path / "moved" / "one")
    assert load(moved.config.dataset).fingerprint() == data.fingerprint()
    written = next((tmp_path / "moved" / "data").iterdir()).stat().st_mtime_ns
    assert store(data, tmp_path / "moved") == moved.config.dataset
    assert next((tmp_path / "moved" / "data").iterdir()).stat().st_mtime_ns == written


def test_a_registered_data_set_has_a_name_a_limit_and_an_argument():
    @register("datasets")
    def patches(argument, seed):
        count = int(argument or 20)
        images = np.random.default_rng(seed).random((count, 8, 8))
        return images, np.arange(count) % 2

    assert load("patches:40", seed=1).n == 40
    assert load("patches", limit=10).n == 10
    assert load("patches").name == "patches"
    with pytest.raises(DataError, match="no data set is called 'patchez'; did you mean 'patches'"):
        load("patchez")
    register("datasets", lambda: 3, name="three")
    with pytest.raises(DataError, match="'three' returns int: allowed are a Data"):
        load("three")
