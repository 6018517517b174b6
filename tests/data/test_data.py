"""Loading by name: the data is what the files hold, and what cannot be used says so."""

import io
import re
import shutil
import subprocess
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from engine import data
from engine.data import base, image_files, memory, npz, npz_headers, parts, registry
from engine.data.images import open_image
from engine.errors import DataError, ImageError
from tests.hostile_files import animation, eps, png, png_header

REAL_IMAGES = Path(__file__).parents[3] / "shared" / "data" / "cifar10_jpg.tar.xz"


def random_images(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def save(path: Path, **changes) -> str:
    """Write a good .npz of 12 + 6 images in 3 classes, with changes; None leaves an array out."""
    arrays = {
        "train_images": random_images(12, 5, 4, 3),
        "train_labels": np.arange(12) % 3,
        "test_images": random_images(6, 5, 4, 3, seed=1),
        "test_labels": np.arange(6) % 3,
    } | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return f"npz:{path}"


def write(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def folder(path: Path, files: dict[str, tuple[int, ...]]) -> str:
    """Write one random image of a shape (H, W) or (H, W, 3) per file name."""
    for seed, (file, shape) in enumerate(files.items()):
        write(path / file, random_images(1, *shape, seed=seed)[0])
    return f"folder:{path}"


@pytest.fixture
def two_classes(tmp_path):
    """A folder with two classes of two images each."""
    names = [f"train/{kind}/{k}.png" for kind in ("cat", "dog") for k in (1, 2)]
    return folder(tmp_path, dict.fromkeys(names, (5, 4, 3)))


# Data itself


def make(n: int = 6, shape: tuple[int, ...] = (3, 5, 4)) -> data.Data:
    images, labels = torch.from_numpy(random_images(n, *shape)), torch.arange(n) % 2
    part = (images[:2].clone(), labels[:2].clone())
    return base.assemble("made", (images, labels), part, "ab", val=part, true_labels=labels.clone())


def test_take_gathers_as_numpy_does():
    found, rows = make(), [5, 0, 0, 3]
    for indices in (rows, np.array(rows), torch.tensor(rows)):
        assert (found.take(indices).numpy() == found.images.numpy()[rows]).all()
    assert (found.n, found.n_classes, found.shape) == (6, 2, (3, 5, 4))


def test_to_moves_every_tensor_and_copies_nothing_that_is_there_already():
    found = make()
    assert found.to("cpu").images.data_ptr() == found.images.data_ptr()
    moved = [value for value in vars(found.to("meta")).values() if isinstance(value, torch.Tensor)]
    assert [value.device.type for value in moved] == ["meta"] * 7


@pytest.mark.parametrize("channels", [1, 3])
def test_channel_stats_equal_those_of_numpy_over_many_chunks(channels):
    found = make(2 * base.CHUNK + 7, (channels, 5, 4))
    mean, std = found.channel_stats()
    pixels = found.images.numpy() / 255
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-5)
    assert mean.dtype == std.dtype == torch.float32


def test_a_constant_channel_has_a_deviation_that_can_divide():
    found = make()
    found.images[:] = 7
    assert found.channel_stats()[1].tolist() == pytest.approx([1 / 255] * 3)


def test_fingerprint_is_of_the_values_and_changes_with_each_of_them():
    seen = {make().fingerprint(), make().to("cpu").fingerprint()}
    assert len(seen) == 1
    for key in ("images", "labels", "test_images", "test_labels"):
        found = make()
        getattr(found, key).view(-1)[-1] += 1
        seen.add(found.fingerprint())
    assert len(seen) == 5


# load


def test_an_unknown_name_lists_the_choices_and_suggests_a_close_one():
    with pytest.raises(DataError, match="did you mean 'cifar10'") as error:
        data.load("CIFAR-10")
    assert all(entry.usage in str(error.value) for entry in data.DATASETS.values())
    with pytest.raises(DataError, match="'zzz'") as error:
        data.load("zzz")
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digits:3", {}, "':3'"),
        ("npz", {}, "needs a path"),
        ("folder:", {}, "needs a path"),
        ("digits", {"image_size": 16}, "npz: only"),
        ("folder:.", {"image_fit": "zoom"}, "allowed are pad, crop, stretch"),
        ("folder:.", {"image_size": 4}, "8 to 512"),
        ("digits", {"limit": 9}, "10 classes"),
        ("digits", {"limit": 0}, "limit 0"),
    ],
)
def test_requests_that_make_no_sense_are_refused(name, options, message):
    with pytest.raises(DataError, match=message):
        data.load(name, **options)


@pytest.mark.parametrize("name", ["digits", "shapes"])
def test_the_listing_says_what_is_loaded(name):
    entry, found = data.DATASETS[name], data.load(name)
    assert entry.shape == found.shape
    assert (entry.n_train, entry.n_test) == (found.n, len(found.test_labels))
    assert entry.n_classes == found.n_classes
    assert not entry.needs_download


def test_limit_keeps_shares_rows_and_the_test_part():
    whole, found = data.load("digits"), data.load("digits", limit=200, seed=3)
    rows = [int(row) for row in found.ids]
    assert rows == sorted(set(rows))
    assert (found.images == whole.images[rows]).all()
    assert (found.labels == whole.labels[rows]).all()
    assert (found.true_labels == whole.labels[rows]).all()
    assert len(found.test_labels) == 360
    shares = whole.labels.bincount() * 200 / whole.n
    assert (found.labels.bincount() - shares).abs().max() < 1
    assert data.load("digits", limit=200, seed=3).ids == found.ids
    assert data.load("digits", limit=200, seed=4).ids != found.ids
    enough = data.load("digits", limit=5000)
    assert (enough.n, enough.ids) == (whole.n, None)


@pytest.mark.parametrize("n", [4, 5, 20, 99, 100])
def test_stratified_draws_at_least_one_of_each_class_and_no_more_than_there_are(n):
    labels = np.repeat([0, 1, 2, 4], [94, 3, 2, 1])
    rows = registry.stratified_sample(labels, n, seed=0)
    assert len(set(rows.tolist())) == n
    assert set(labels[rows]) == {0, 1, 2, 4}


# Digits


def test_digits_are_those_of_scikit_learn_split_once_and_for_all():
    found = data.load("digits")
    raw, _ = load_digits(return_X_y=True)
    both = torch.cat([found.images, found.test_images]).flatten(1).numpy()
    expected = np.rint(raw / 16 * 255)
    assert (both[np.lexsort(both.T)] == expected[np.lexsort(expected.T)]).all()
    tested = found.test_labels.bincount() / (found.labels.bincount() + found.test_labels.bincount())
    assert (tested - 360 / 1797).abs().max() < 0.01
    assert (data.load("digits", seed=1).images == found.images).all()


# npz


@pytest.mark.parametrize("tail", [(), (1,), (3,)])
def test_npz_images_come_channels_first_and_labels_flat(tmp_path, tail):
    images, labels = random_images(12, 5, 4, *tail), np.arange(12, dtype=np.uint8)[:, None] % 3
    test_images = random_images(6, 5, 4, *tail, seed=1)
    found = data.load(
        save(tmp_path / "a.npz", train_images=images, train_labels=labels, test_images=test_images)
    )
    channels = tail[0] if tail else 1
    assert found.shape == (channels, 5, 4)
    for channel in range(channels):
        expected = images.reshape(12, 5, 4, channels)[..., channel]
        assert (found.images[:, channel].numpy() == expected).all()
    assert found.labels.tolist() == [0, 1, 2] * 4
    assert found.labels.dtype == torch.int64
    assert found.images.is_contiguous()
    assert (found.classes, found.true_labels, found.val_images) == (("0", "1", "2"), None, None)
    assert (found.ids, found.notes) == (None, ())


def test_npz_optional_arrays_are_used_and_others_left_alone(tmp_path):
    truth = np.arange(12)[::-1] % 3
    found = data.load(
        save(
            tmp_path / "a.npz",
            val_images=random_images(2, 5, 4, 3, seed=9),
            val_labels=np.array([2, 0]),
            train_true_labels=truth,
            class_names=np.array(["ant", "bee", "cow"]),
            remarks=np.array([None]),  # an object array that is not needed
        )
    )
    assert found.classes == ("ant", "bee", "cow")
    assert found.true_labels.tolist() == truth.tolist()
    assert found.val_labels.tolist() == [2, 0]
    assert found.val_images.shape == (2, 3, 5, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": None}, "no train_images; it contains train_labels, test_images"),
        ({"train_images": None, "train_labels": None}, "no train_images; it contains test_images"),
        ({"train_labels": None}, "no train_labels; it contains train_images"),
        ({"test_labels": None}, "no test_labels"),
        (
            {"train_images": np.empty((0, 5, 4, 3), np.uint8), "train_labels": np.empty(0, int)},
            "training part is empty",
        ),
        ({"train_labels": np.zeros(12, int)}, "two classes are needed"),
        ({"train_labels": np.arange(11) % 3}, "12 train images but 11 train labels"),
        ({"test_labels": np.arange(5) % 3}, "6 test images but 5 test labels"),
        ({"train_true_labels": np.arange(11) % 3}, "11 train_true labels"),
        ({"train_labels": np.arange(12) % 3 - 1}, "label -1 in row 0; labels count from 0"),
        ({"test_labels": np.arange(6) - 2}, "label -2 in row 0"),
        ({"train_labels": np.arange(12) + 10}, "label 21 with 12 images"),
        ({"class_names": np.array(["a", "b"])}, r"label 2 in row 2; allowed are 0\.\.1"),
        (
            {"train_true_labels": np.arange(12) % 4, "class_names": np.array(["a", "b", "c"])},
            r"train_true label 3 in row 3; allowed are 0\.\.2",
        ),
        ({"train_labels": np.arange(12) % 3 + 0.5}, "contains 0.5"),
        ({"train_labels": np.full(12, np.nan)}, "contains nan"),
        ({"train_labels": np.array([["a", "b"]] * 12)}, "one label per image is needed"),
        ({"train_labels": np.zeros((12, 2, 1))}, r"shape \(12, 2, 1\); one label per image"),
        ({"train_labels": np.array([0, None] * 6)}, "not of plain numbers"),
        ({"train_images": random_images(12, 5, 4, 2)}, r"\(12, 5, 4, 2\); allowed are \(N, H, W\)"),
        ({"train_images": random_images(12, 3, 5, 4)}, r"\(12, 3, 5, 4\); allowed"),
        ({"train_images": random_images(12, 5, 0, 3)}, r"\(12, 5, 0, 3\); allowed"),
        ({"train_images": np.full((12, 5, 4, 3), 256)}, "int64; allowed are uint8, integers"),
        ({"train_images": np.full((12, 5, 4, 3), -0.1)}, "float64; allowed are uint8"),
        ({"train_images": np.full((12, 5, 4, 3), np.nan)}, "float64; allowed are uint8"),
        ({"train_images": np.full((12, 5, 4, 3), "x")}, "allowed are uint8"),
        ({"test_images": random_images(6, 4, 5, 3)}, r"\(3, 4, 5\).*must be \(3, 5, 4\)"),
    ],
)
def test_npz_errors_name_the_array_and_what_is_allowed(tmp_path, changes, message):
    name = save(tmp_path / "bad.npz", **changes)
    with pytest.raises(DataError, match=message) as error:
        data.load(name)
    assert "bad.npz" in str(error.value)


def test_files_that_are_no_npz_are_named(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(3))
    (tmp_path / "empty.npz").touch()
    save(tmp_path / "good.npz")
    content = bytearray((tmp_path / "good.npz").read_bytes())
    content[300] ^= 255  # inside the first image array: its checksum is off
    (tmp_path / "damaged.npz").write_bytes(content)
    for file, message in [
        ("absent.npz", "does not exist"),
        ("array.npy", "not an .npz file"),
        ("empty.npz", "not an .npz file"),
        ("damaged.npz", "is damaged"),
        ("", "does not exist"),
    ]:
        with pytest.raises(DataError, match=message):
            data.load(f"npz:{tmp_path / file}")


def test_npz_repairs_are_made_and_noted(tmp_path):
    level = random_images(12, 5, 4, 3)
    for images in (level / 255.01, level.astype(np.int64), (level / 255.01).astype(np.float32)):
        found = data.load(save(tmp_path / "a.npz", train_images=images))
        assert (found.images.numpy() == level.transpose(0, 3, 1, 2)).all()
        assert [images.dtype.name in note for note in found.notes] == [True]
    found = data.load(save(tmp_path / "a.npz", train_images=level > 99))
    assert (found.images.numpy() == 255 * (level > 99).transpose(0, 3, 1, 2)).all()
    found = data.load(save(tmp_path / "a.npz", train_labels=np.arange(12) % 3.0))
    assert found.labels.tolist() == [0, 1, 2] * 4
    assert "whole numbers stored as float64" in found.notes[0]


def test_no_test_part_is_one_of_length_zero(tmp_path):
    found = data.load(save(tmp_path / "a.npz", test_images=None, test_labels=None))
    assert found.test_images.shape == (0, 3, 5, 4)
    assert found.test_labels.shape == (0,)
    assert "No test part" in found.notes[0]


def test_a_gap_in_the_labels_stays_a_class_and_its_test_images_go(tmp_path):
    name = save(tmp_path / "a.npz", train_labels=np.array([0, 1, 3] * 4), test_labels=np.arange(6))
    found = data.load(name)
    assert found.classes == ("0", "1", "2", "3")
    assert found.labels.tolist() == [0, 1, 3] * 4
    assert found.test_labels.tolist() == [0, 1, 3]
    everything = random_images(6, 5, 4, 3, seed=1).transpose(0, 3, 1, 2)
    assert (found.test_images.numpy() == everything[[0, 1, 3]]).all()
    assert "No training image for 2:" in found.notes[0]
    assert "Dropped 3 of 6 test images" in found.notes[1]
    assert data.load(name, limit=3).labels.unique().tolist() == [0, 1, 3]


def test_a_class_that_only_the_truth_knows_is_a_class(tmp_path):
    truth = np.arange(12) % 4
    found = data.load(save(tmp_path / "a.npz", train_true_labels=truth))
    assert found.n_classes == 4
    assert found.true_labels.tolist() == truth.tolist()


def test_a_class_with_one_image_is_kept_and_drawn(tmp_path):
    labels = np.array([0] * 6 + [1] * 5 + [2])
    found = data.load(save(tmp_path / "a.npz", train_labels=labels), limit=4)
    assert found.labels.bincount().tolist()[2] == 1
    assert found.ids[-1] == "11"


# folder


def test_folder_reads_pixels_classes_parts_and_ids(tmp_path):
    files = {
        "train/dog/b.PNG": (5, 4, 3),
        "train/dog/a.png": (5, 4, 3),
        "train/cat/1.png": (5, 4, 3),
        "val/cat/2.png": (5, 4, 3),
        "test/dog/3.png": (5, 4, 3),
    }
    name = folder(tmp_path, files)
    for stray in ("train/dog/.hidden.png", "train/dog/notes.txt", "train/readme.png"):
        (tmp_path / stray).write_text("not an image")
    (tmp_path / "train/.cache").mkdir()
    (tmp_path / "train/dog/folder.png").mkdir()
    found = data.load(name)
    assert found.classes == ("cat", "dog")
    assert found.ids == ("train/cat/1.png", "train/dog/a.png", "train/dog/b.PNG")
    assert found.labels.tolist() == [0, 1, 1]
    assert (found.val_labels.tolist(), found.test_labels.tolist()) == ([0], [1])
    for image, file in zip(found.images, found.ids, strict=True):
        pixels = random_images(1, 5, 4, 3, seed=list(files).index(file))[0]
        assert (image.permute(1, 2, 0).numpy() == pixels).all()
    assert found.true_labels is None
    assert found.notes == (
        "Left out 1 hidden file or file of an operating system: train/dog/.hidden.png.",
        "Left out 1 file that is no image by its name (1 .txt): train/dog/notes.txt.",
        "Left out 1 image outside the class folders: train/readme.png.",
    )


def test_folder_is_gray_only_where_every_image_is(tmp_path, two_classes):
    gray = tmp_path / "gray"
    shades = dict.fromkeys(["train/a/1.png", "train/b/2.png", "test/b/3.png"], (5, 4))
    found = data.load(folder(gray, shades))
    assert found.shape == (1, 5, 4)
    assert (found.images[1, 0].numpy() == random_images(1, 5, 4, seed=1)[0]).all()
    write(tmp_path / "train/cat/gray.png", random_images(1, 5, 4)[0])
    found = data.load(two_classes)
    gray_image = found.images[found.ids.index("train/cat/gray.png")]
    assert (gray_image.numpy() == random_images(1, 5, 4)[0]).all()
    assert len(gray_image) == 3


def test_sixteen_bit_gray_is_scaled_and_not_clipped(tmp_path):
    level = random_images(2, 5, 4)
    for kind, pixels in zip("ab", level, strict=True):
        write(tmp_path / f"train/{kind}/1.png", pixels.astype(np.uint16) * 257)
    assert (data.load(f"folder:{tmp_path}").images[:, 0].numpy() == level).all()


def test_folder_sizes_become_the_most_common_one(tmp_path, two_classes):
    flat = np.full((20, 10, 3), 77, np.uint8)
    write(tmp_path / "train/cat/large.png", flat)
    found = data.load(two_classes)
    assert found.shape == (3, 5, 4)
    large = found.images[found.ids.index("train/cat/large.png")]
    assert (large[:, :, 1:3] == 77).all()
    assert (large[:, :, [0, 3]] == 0).all()
    assert (found.images[0].permute(1, 2, 0).numpy() == random_images(1, 5, 4, 3)[0]).all()
    assert "Resized 1 of 5 images to 4 x 5" in found.notes[0]
    found = data.load(two_classes, image_size=9)
    assert found.shape == (3, 9, 9)
    assert "Resized 5 of 5" in found.notes[0]


@pytest.mark.parametrize("longest", [130, 600])  # 600: large enough for threads
def test_large_images_shrink_to_64_pixels_and_keep_what_they_show(tmp_path, longest):
    ramp = np.linspace(0, 255, longest).astype(np.uint8)
    for k in range(6):
        pixels = np.tile(ramp, (longest // 2, 1))
        write(tmp_path / f"train/{'ab'[k % 2]}/{k}.jpg", pixels, quality=95)
    found = data.load(f"folder:{tmp_path}")
    assert found.shape == (1, 32, 64)
    expected = (np.arange(64) + 0.5) / 64 * 255
    assert np.abs(found.images.numpy() - expected).max() < 5
    assert "Resized 6 of 6 images to 64 x 32" in found.notes[0]


def test_shrinking_averages_pixels_instead_of_picking_some(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))
    for kind in "ab":
        write(tmp_path / f"train/{kind}/1.png", stripes)
    inner = data.load(f"folder:{tmp_path}").images[:, 0, 1:-1, 1:-1].float()
    assert (inner - 127.5).abs().max() < 3


def test_images_stand_upright_by_their_exif_orientation(tmp_path, two_classes):
    """Orientation 6: the camera lay on its side, and the file's rows are the picture's columns."""
    upright = random_images(1, 5, 4, 3, seed=7)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / "train/dog/turned.png", np.rot90(upright).copy(), exif=exif)
    found = data.load(two_classes)
    image = found.images[found.ids.index("train/dog/turned.png")]
    assert (image.permute(1, 2, 0).numpy() == upright).all()
    assert not any("Resized" in note for note in found.notes)


def test_files_that_cannot_be_decoded_are_left_out_and_named(tmp_path, two_classes):
    for k in range(6):
        (tmp_path / f"train/cat/broken{k}.jpg").write_bytes(b"no image")
    whole = (tmp_path / "train/dog/1.png").read_bytes()
    (tmp_path / "train/dog/cut.png").write_bytes(whole[:-30])  # its header is in order
    found = data.load(two_classes)
    assert found.ids == ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "train/dog/2.png")
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert "7 files that cannot be decoded: train/cat/broken0.jpg" in found.notes[0]
    assert "broken4.jpg and 1 more (each is no JPEG" in found.notes[0]
    assert "train/dog/cut.png is truncated or damaged." in found.notes[0]
    for row, seed in enumerate(range(4)):
        pixels = random_images(1, 5, 4, 3, seed=seed)[0]
        assert (found.images[row].permute(1, 2, 0).numpy() == pixels).all()


def test_folders_of_unknown_or_empty_classes_are_ignored_with_a_note(tmp_path, two_classes):
    folder(tmp_path, {"test/zebra/1.png": (5, 4, 3), "test/dog/1.png": (5, 4, 3)})
    (tmp_path / "train/empty").mkdir()
    found = data.load(two_classes)
    assert found.classes == ("cat", "dog")
    assert found.test_labels.tolist() == [1]
    assert found.notes[0].endswith("whose class has no training image: test/zebra/1.png.")
    assert found.notes[1] == "Class folders without an image: train/empty."


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "images belong in train/<class>/ or <class>/"),
        ({"a/1.png": (5, 4)}, "'a', two classes are needed"),
        ({"1.png": (5, 4)}, "in a class folder.*Left out 1 image outside .*: 1.png"),
        ({"test/a/1.png": (5, 4)}, "has test but no train"),
        ({"train/a/1.png": (5, 4), "train/a/2.png": (5, 4)}, "'a', two classes are needed"),
    ],
)
def test_folders_without_two_classes_are_refused(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        data.load(folder(tmp_path, files))


def test_a_folder_of_broken_files_only_is_refused(tmp_path):
    (tmp_path / "train/a").mkdir(parents=True)
    (tmp_path / "train/a/1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="no readable"):
        data.load(f"folder:{tmp_path}")


@pytest.mark.skipif(not REAL_IMAGES.exists(), reason="needs ../shared/data/cifar10_jpg.tar.xz")
def test_real_photos_are_decoded_as_pillow_does(tmp_path):
    wanted = {f"{k:04}.jpg" for k in range(20)}
    files = {}
    with tarfile.open(REAL_IMAGES) as archive:
        for member in archive:  # unpacking all of it takes half a minute
            if member.isfile() and Path(member.name).name in wanted:
                files[member.name] = archive.extractfile(member).read()
            if len(files) == 40:
                break
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = data.load(f"folder:{tmp_path}")
    assert (found.n, found.shape, found.n_classes) == (40, (3, 32, 32), 2)
    for image, file in zip(found.images, found.ids, strict=True):
        with open_image(tmp_path / file) as expected:
            assert (image.permute(1, 2, 0).numpy() == np.asarray(expected)).all()


# images


def test_nothing_else_opens_images():
    """Pillow goes by content: EPS called .png would start Ghostscript."""
    root = Path(__file__).parents[2]
    rooms = ("engine", "app", "notebooks", "tests")
    files = [path for room in rooms for path in (root / room).rglob("*")]
    opener = re.compile(r"Image\.open\b|\bImageFile\.Parser|from PIL\.Image import")
    found = {
        path.relative_to(root).as_posix()
        for path in files
        if path.suffix in (".py", ".ipynb") and opener.search(path.read_text())
    }
    assert found == {"engine/data/images.py"}


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_postscript_called_an_image_is_left_out_and_not_run(tmp_path, two_classes, suffix):
    marker = tmp_path / "ran"
    (tmp_path / f"train/cat/x.{suffix}").write_bytes(eps(str(marker)))
    found = data.load(two_classes)
    assert f"Left out 1 file that cannot be decoded: train/cat/x.{suffix} is no" in found.notes[0]
    assert not marker.exists()


@pytest.mark.skipif(shutil.which("gs") is None, reason="needs Ghostscript")
def test_the_postscript_of_these_tests_would_run(tmp_path):
    """Else the tests above would show nothing."""
    marker, source = tmp_path / "ran", tmp_path / "x.eps"
    source.write_bytes(eps(str(marker)))
    command = ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-dNOSAFER", "-sDEVICE=nullpage", str(source)]
    subprocess.run(command, check=True, capture_output=True)
    assert marker.read_text() == "ran"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"no image", "is no JPEG, PNG"),
        (png(1)[:-30], "truncated or damaged"),
        (png_header(60_000, 60_000), "too many pixels|60,000 x 60,000"),
        (png_header(9_000, 9_000), "9,000 x 9,000 pixels; allowed are 80,000,000"),
        (png_header(30_001, 1), "30,000 on a side"),
        (animation(11), "has 11 frames; allowed are 10"),
    ],
    ids=["no image", "cut", "billions", "81 million", "long side", "animation"],
)
def test_an_image_that_is_refused_says_why(raw, reason):
    with pytest.raises(ImageError, match=reason), open_image(io.BytesIO(raw)) as image:
        image.load()


def test_the_first_of_a_few_frames_is_read():
    with open_image(io.BytesIO(animation(3))) as image:
        assert np.asarray(image.convert("L")).max() == 0


def test_a_lack_of_memory_is_not_a_bad_image():
    with pytest.raises(MemoryError), open_image(io.BytesIO(png(1))):
        raise MemoryError


# memory


def test_what_does_not_fit_is_refused_before_it_is_read(tmp_path, monkeypatch, two_classes):
    monkeypatch.setattr(memory, "free_memory", lambda: 100)
    monkeypatch.setattr(np.lib.format, "read_array", None)
    with pytest.raises(DataError, match="would take 0 MB of memory; 0 MB are free"):
        data.load(save(tmp_path / "a.npz"))
    monkeypatch.setattr(image_files, "_decode", None)
    with pytest.raises(DataError, match="decoding 4 images would take"):
        data.load(two_classes)


@pytest.mark.parametrize("code", ["?", "u1", "u2", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("tail", [(), (3,)])
def test_the_estimate_covers_what_reading_takes(tmp_path, code, tail):
    """tracemalloc sees NumPy's arrays; the estimate is at most twice as much."""
    n = 20_000
    images = np.zeros((n, 16, 16, *tail), np.dtype(code))
    path = tmp_path / "a.npz"
    np.savez(path, train_images=images, train_labels=(np.arange(n) % 2).astype(code))
    with zipfile.ZipFile(path) as file:
        headers = {k: npz_headers.header(path, file, k) for k in ("train_images", "train_labels")}
    estimate = sum(npz_headers.peak(*item) for item in headers.items())
    del images
    tracemalloc.start()
    npz.read("x", path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < estimate + (1 << 20)
    assert estimate < 2 * peak + (4 << 20)


def test_free_memory_is_what_the_container_has_left(tmp_path, monkeypatch):
    machine = memory.free_memory()
    assert machine > 1 << 20
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    for name, text in {"max": "1000", "current": "700", "stat": "anon 1\ninactive_file 50"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory.free_memory() == 350
    (tmp_path / "memory.max").write_text("max")
    assert memory.free_memory() > 1 << 20


# names of classes


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a", ""], "the name of class 1 is empty"),
        (["a", "  "], "the name of class 1 is empty"),
        (["a" * 201, "b"], "201 characters; allowed are 200"),
        (["a\nb", "c"], "cannot be displayed"),
        (["a\u202eb", "c"], "cannot be displayed"),
        (["\ud800", "c"], "cannot be displayed"),
        (["caf\u00e9", "cafe\u0301"], "two classes are called 'café'"),
        (["a", "a "], "two classes are called 'a'"),
    ],
)
def test_class_names_that_cannot_be_displayed_or_distinguished(names, reason):
    with pytest.raises(DataError, match=f"^here: .*{reason}"):
        parts.check_class_names("here", names)


def test_ordinary_class_names_stay_as_they_are(tmp_path):
    names = ["0", "9", "Kätzchen 🐈", "=1+1", "<b>", "a b", "x" * 200]
    assert parts.check_class_names("here", names) == names
    assert parts.check_class_names("here", [" cafe\u0301 "]) == ["caf\u00e9"]
    utf8 = np.array(["Käse".encode(), b"b", b"c"])
    assert data.load(save(tmp_path / "a.npz", class_names=utf8)).classes == ("Käse", "b", "c")


def test_a_class_stored_as_on_a_mac_and_as_on_linux_is_one(tmp_path):
    files = ["train/cafe\u0301/1.png", "train/dog/1.png", "test/caf\u00e9/2.png"]
    found = data.load(folder(tmp_path, dict.fromkeys(files, (5, 4))))
    assert found.classes == ("caf\u00e9", "dog")
    assert found.test_labels.tolist() == [0]


# Downloads


@pytest.fixture
def fake_torchvision(monkeypatch):
    """Stands in for torchvision's CIFAR10 and MNIST; the list counts its calls."""
    import torchvision

    calls = []

    class Fake:
        classes = ["0 - zero", "1 - one"]

        def __init__(self, root, train, download):
            assert download
            calls.append(train)
            n = 8 if train else 4
            self.data = random_images(n, 6, 6, 3, seed=n)
            self.targets = [k % 2 for k in range(n)]

    class FakeGray(Fake):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.data, self.targets = (
                torch.from_numpy(self.data[..., 0]),
                torch.tensor(self.targets),
            )

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Fake)
    monkeypatch.setattr(torchvision.datasets, "MNIST", FakeGray)
    return calls


@pytest.mark.parametrize(("name", "channels"), [("cifar10", 3), ("mnist", 1)])
def test_downloads_are_kept_and_not_made_twice(
    tmp_path, monkeypatch, fake_torchvision, name, channels
):
    monkeypatch.setenv("MIXNN_DATA", str(tmp_path / "kept"))
    first, second = data.load(name), data.load(name)
    assert fake_torchvision == [True, False]
    assert [file.name for file in (tmp_path / "kept").iterdir()] == [f"{name}.npz"]
    for found in (first, second):
        pixels = random_images(8, 6, 6, 3, seed=8).transpose(0, 3, 1, 2)[:, :channels]
        assert (found.images.numpy() == pixels).all()
        assert found.test_images.shape == (4, channels, 6, 6)
        assert found.labels.tolist() == found.true_labels.tolist() == [0, 1] * 4
        assert (found.name, found.classes) == (name, ("0", "1"))
    data.load(name, root=tmp_path / "other")
    assert (tmp_path / "other" / f"{name}.npz").exists()


def test_no_network_says_what_was_tried_and_what_works_without(tmp_path, monkeypatch):
    import torchvision

    def offline(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "CIFAR100", offline)
    with pytest.raises(DataError, match=r"CIFAR100 .*cifar100\.npz: no route.*npz:PATH"):
        data.load("cifar100", root=tmp_path)


def test_a_write_that_fails_leaves_no_file_behind(tmp_path, monkeypatch, fake_torchvision):
    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(DataError, match="no space left"):
        data.load("cifar10", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_torchvision_has_every_published_data_set():
    import torchvision

    from engine.data.published import TORCHVISION_NAMES

    assert all(hasattr(torchvision.datasets, name) for name in TORCHVISION_NAMES.values())
    assert set(TORCHVISION_NAMES) == {n for n, e in data.DATASETS.items() if e.needs_download}


def test_is_available_knows_what_needs_a_download(tmp_path):
    assert data.is_available("digits", tmp_path)
    assert data.is_available("npz:anything", tmp_path)
    assert not data.is_available("cifar10", tmp_path)
    (tmp_path / "cifar10.npz").touch()
    assert data.is_available("cifar10", tmp_path)


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded():
    out = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(out, "JPEG", progressive=True)
    honest = out.getvalue()
    with open_image(io.BytesIO(honest)) as image:
        image.load()
    start = honest.rindex(b"\xff\xda")
    hostile = honest[:-2] + honest[start:-2] * 100 + honest[-2:]
    with pytest.raises(ImageError, match="scans; allowed are 64"), open_image(io.BytesIO(hostile)):
        pass


@pytest.mark.parametrize("name", ["\u0958" * 101, "\u200b\u200c", "\U0001d160" * 49, "x" * 241])
def test_class_names_that_grow_or_show_nothing_are_refused(name):
    with pytest.raises(DataError, match="allowed are|is empty"):
        parts.check_class_names("mine.npz", ["cat", name])


def test_a_path_that_the_system_refuses_is_a_sentence():
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        data.load("npz:" + "x" * 5000)
