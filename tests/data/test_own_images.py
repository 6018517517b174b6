"""Images as people really have them: what is read is right, and what is not read is named."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from engine import data
from engine.data import images, layout, npz, pixels
from engine.data.image_files import Settings
from engine.errors import DataError

RNG = np.random.default_rng(0)
FORMATS = {".jpg": "JPEG", ".JPEG": "JPEG", ".png": "PNG", ".webp": "WEBP", ".TIF": "TIFF",
           ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF", ".avif": "AVIF"}  # fmt: skip


def blob(value: int = 0, size: tuple[int, int] = (12, 12), form: str = "PNG", **options) -> bytes:
    """An image file of a single color."""
    out = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(out, form, **options)
    return out.getvalue()


def of(pixels: np.ndarray, mode: str | None = None, form: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(out, form, **options)
    return out.getvalue()


def write(root: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return f"folder:{root}"


def notes(found: data.Data) -> str:
    return " ".join(found.notes)


def pixels_of(found: data.Data, name: str) -> np.ndarray:
    return found.images[found.ids.index(name)].numpy()


# Which files are read


def test_every_format_by_every_suffix_in_either_case(tmp_path):
    kinds = {s: f for s, f in FORMATS.items() if f != "AVIF" or features.check("avif")}
    files = {f"train/{k}/{i}{suffix}": blob(40 * i % 256, form=form)
             for k in "ab" for i, (suffix, form) in enumerate(kinds.items())}  # fmt: skip
    found = data.load(write(tmp_path, files))
    assert sorted(found.ids) == sorted(files)
    assert not [note for note in found.notes if "Left out" in note]
    for name in files:
        level = 40 * list(kinds).index(Path(name).suffix) % 256
        assert np.abs(pixels_of(found, name).astype(int) - level).max() <= 3, name


def test_subfolders_of_a_class_belong_to_it_and_classes_need_no_train(tmp_path):
    files = {"photos/cat/1.png": blob(), "photos/cat/2023/may/2.png": blob(1),
             "photos/dog/2024/1.png": blob(2), "photos/dog/2024/2.PNG": blob(3)}  # fmt: skip
    nested = data.load(write(tmp_path / "nested", files))
    assert nested.ids == tuple(sorted(files))
    assert nested.labels.tolist() == [0, 0, 1, 1]
    parted = {f"Train/{name}".replace("photos/", ""): raw for name, raw in files.items()}
    found = data.load(write(tmp_path / "parted", parted | {"valid/dog/deep/9.png": blob(9)}))
    assert (found.n, len(found.val_labels), found.classes) == (4, 1, ("cat", "dog"))
    assert found.images.equal(nested.images)


def test_whatever_is_not_read_is_counted_and_named(tmp_path):
    files = {f"{k}/{i}.png": blob(i) for k in "ab" for i in range(3)}
    others = ["a/.DS_Store", "__MACOSX/a/._0.png", "b/Thumbs.db", ".git/x.png", "a/x.psd",
              "b/deep/y.psd", "labels.txt", "stray.png"]  # fmt: skip
    found = data.load(write(tmp_path, files | dict.fromkeys(others, b"x") | {"a/bad.png": b"x"}))
    assert found.n == 6
    hidden, other, outside, broken = found.notes[:4]
    assert "Left out 4 hidden files" in hidden
    assert "3 files that are no images by their names (2 .psd, 1 .txt): a/x.psd, b/deep" in other
    assert outside == "Left out 1 image outside the class folders: stray.png."
    assert "Left out 1 file that cannot be decoded: a/bad.png is no JPEG, PNG" in broken
    said = " ".join(found.notes)
    assert all(name in said for name in [*others, "a/bad.png"])


def test_a_class_without_a_readable_file_is_named_in_the_refusal(tmp_path):
    files = {"train/a/1.png": blob(), "train/b/1.jp2": b"x", "train/b/2.jp2": b"x"}
    with pytest.raises(DataError, match=r"two classes.*2 \.jp2\): train/b/1\.jp2.*: train/b"):
        data.load(write(tmp_path, files))


def test_heic_without_its_reader_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "formats", lambda: images.FORMATS)
    stub = b"\0\0\0\x18ftypheic" + bytes(20)
    files = {f"{k}/{i}.png": blob(i) for k in "ab" for i in range(2)}
    found = data.load(write(tmp_path, files | {"a/IMG_1.HEIC": stub, "b/IMG_2.jpg": stub}))
    assert (
        "Left out 2 files that cannot be decoded: a/IMG_1.HEIC, b/IMG_2.jpg (each is a HEIF image, "
        "which needs pillow-heif: pip install 'mixnn-lab[heic]')" in notes(found)
    )


def test_heic_is_read_where_its_reader_is_installed(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    files = {f"{k}/{i}.heic": blob(90 * i, (64, 64), "HEIF") for k in "ab" for i in range(2)}
    found = data.load(write(tmp_path, files))
    assert found.ids == tuple(files)
    assert np.abs(pixels_of(found, "b/1.heic").astype(int) - 90).max() < 6


def test_the_first_frame_of_an_animation_is_read_and_said(tmp_path):
    frames = [Image.new("L", (12, 12), 9 * i) for i in range(30)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    pages = io.BytesIO()
    frames[3].save(pages, "TIFF", save_all=True, append_images=frames[4:6])
    found = data.load(write(tmp_path, {"a/1.gif": out.getvalue(), "b/1.tif": pages.getvalue()}))
    assert [image.unique().tolist() for image in found.images] == [[0], [27]]
    assert "first frame or page of 2 images with several" in notes(found)


def test_links_in_a_circle_are_followed_once(tmp_path):
    write(tmp_path, {"a/1.png": blob(), "b/1.png": blob(1)})
    (tmp_path / "b" / "again").symlink_to(tmp_path)
    assert data.load(f"folder:{tmp_path}").n == 2


# One photo must not refuse the set


def test_a_photo_too_large_for_the_memory_is_left_out_and_named(tmp_path):
    files = {f"{k}/{i}.png": blob(i, (64, 64)) for k in "ab" for i in range(5)}
    large = blob(7, (1000, 1000))
    write(tmp_path, files | {"a/large.png": large, "a/large.jpg": blob(7, (1000, 1000), "JPEG")})
    found = data.folder.read("x", tmp_path, Settings(most_memory=4_000_000))
    # a JPEG is decoded at less detail, in a fraction of the memory
    assert found.ids == ("a/0.png", "a/1.png", "a/2.png", "a/3.png", "a/4.png", "a/large.jpg",
                         "b/0.png", "b/1.png", "b/2.png", "b/3.png", "b/4.png")  # fmt: skip
    assert "a/large.png has 1,000 x 1,000 pixels, whose decoding would take 15 MB" in found.notes[0]
    with pytest.raises(DataError, match="decoding 12 images would take"):
        data.folder.read("x", tmp_path, Settings(most_memory=10_000))


# Pixels


def sixteen(values: np.ndarray) -> bytes:
    return of(values.astype(np.uint16))


@pytest.mark.parametrize(("factor", "bits"), [(1, 8), (16, 12), (257, 16)])
def test_gray_of_more_than_8_bits_keeps_its_levels(tmp_path, factor, bits):
    level = np.arange(256, dtype=np.uint16).reshape(16, 16)
    dark = level // 4
    files = {"a/1.png": sixteen(level * factor), "b/1.png": sixteen(dark * factor)}
    found = data.load(write(tmp_path, files))
    assert (pixels_of(found, "a/1.png")[0] == level).all()
    assert (pixels_of(found, "b/1.png")[0] == dark).all()  # by the range of all, not its own
    assert f"0 is black and {2**bits - 1:.6g} white" in notes(found)


def test_gray_of_real_numbers_is_scaled_by_its_range(tmp_path):
    level = np.linspace(-1000, 2000, 256, dtype=np.float32).reshape(16, 16)
    level[0, 3] = np.nan
    files = {f"{k}/1.tif": of(level, form="TIFF") for k in "ab"}
    found = pixels_of(data.load(write(tmp_path, files)), "a/1.tif")[0]
    expected = np.arange(256).reshape(16, 16)
    expected[0, 3] = 0
    assert (found == expected).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_a_white_background_and_says_so(tmp_path, mode):
    shape = np.zeros((12, 12, 4), np.uint8)  # black throughout: the shape is in alpha
    shape[3:9, 3:9, 3] = 255
    image, out = Image.fromarray(shape), io.BytesIO()
    if mode == "P":
        image = Image.fromarray(shape[..., 3] // 255).convert("P")
        image.putpalette([0, 0, 0, 0, 0, 0])
        image.save(out, "PNG", transparency=0)
    else:
        image.convert(mode).save(out, "PNG")
    files = {"a/1.png": out.getvalue(), "b/1.png": out.getvalue(), "b/2.png": blob(50)}
    found = data.load(write(tmp_path, files))
    expected = np.where(shape[..., 3] > 0, 0, 255)
    assert (pixels_of(found, "a/1.png") == expected).all()
    assert (pixels_of(found, "b/2.png") == 50).all()
    assert "Put a white background behind 2 transparent images." in notes(found)


def test_cmyk_palette_and_orientation_stay_right(tmp_path):
    ramp = np.zeros((16, 24, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(24) * 10, np.arange(16)[:, None] * 15
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = np.ascontiguousarray(np.rot90(ramp))
    files = {
        "a/cmyk.jpg": of(ramp, "CMYK", "JPEG", quality=100, subsampling=0),
        "a/palette.png": of(ramp, "P"),
        "b/turned.png": of(turned, exif=exif.tobytes()),
        "b/turned.tif": of(turned, form="TIFF", exif=exif),
        "b/turned.webp": of(turned, form="WEBP", exif=exif.tobytes(), lossless=True),
    }
    found = data.load(write(tmp_path, files))
    expected = ramp.transpose(2, 0, 1).astype(int)
    for name, most in zip(sorted(files), (3, 30, 0, 0, 0), strict=True):
        assert np.abs(pixels_of(found, name).astype(int) - expected).mean() <= most, name
    assert found.shape == (3, 16, 24)
    assert "Resized" not in notes(found)


# Size


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(2400, 160), *[(300 + 7 * i, 290 + 7 * i) for i in range(30)]], (64, 61)),
        ([(12, 12), *[(40, 30 + i) for i in range(9)]], (40, 34)),
        ([(1200, 60)] * 5, (160, 8)),  # not 64 x 3, which no network takes
        ([(4000, 3000)] * 6 + [(3000, 4000)] * 4, (64, 48)),
        ([(5, 4)] * 3, (5, 4)),  # never enlarged
    ],
)
def test_the_common_size_is_the_median_of_all_and_not_that_of_the_first(sizes, expected):
    assert pixels.common_size(sizes, "pad") == expected
    assert pixels.common_size(sizes[::-1], "pad") == expected


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_an_image_of_another_ratio_is_padded_cropped_or_stretched(tmp_path, fit):
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, :10], wide[:, 10:30], wide[:, 30:] = 50, 100, 200
    files = {f"{k}/{i}.png": blob(9, (20, 20)) for k in "ab" for i in range(2)}
    name = write(tmp_path, files | {"b/wide.png": of(wide)})
    found = pixels_of(data.load(name, image_fit=fit), "b/wide.png")[0].astype(int)
    assert found.shape == (20, 20)
    if fit == "pad":
        assert (found[:5] == 0).all()
        assert (found[15:] == 0).all()
        assert found[10, [0, 10, 19]].tolist() == [50, 100, 200]
    else:
        ends = [100, 100, 100] if fit == "crop" else [50, 100, 200]
        assert found[0, [1, 10, 18]].tolist() == ends
    said = notes(data.load(name, image_fit=fit))
    how = {"pad": "padded with black borders", "crop": "cropped", "stretch": "stretched"}[fit]
    assert f"Resized 1 of 5 images to 20 x 20 pixels; 1 of another aspect ratio were {how}." in said


def test_images_of_one_ratio_are_read_as_before(tmp_path):
    """All of them: independent of image_fit, by Pillow's own resizing alone."""
    photos = [RNG.integers(0, 256, (75 * k, 100 * k, 3), dtype=np.uint8) for k in (1, 2, 3)]
    files = {f"{k}/{i}.png": of(photo) for k in "ab" for i, photo in enumerate(photos)}
    name = write(tmp_path, files)
    loaded = [data.load(name, image_fit=fit) for fit in ("pad", "crop", "stretch")]
    assert len({found.fingerprint() for found in loaded}) == 1
    for i, photo in enumerate(photos):
        small = Image.fromarray(photo).resize((64, 48), Image.Resampling.BILINEAR)
        assert (pixels_of(loaded[0], f"a/{i}.png") == np.asarray(small).transpose(2, 0, 1)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_image_size_works_for_npz(tmp_path, channels):
    shape = (4, 10, 20) if channels == 1 else (4, 10, 20, 3)
    flat = np.full(shape, 90, np.uint8)
    np.savez(tmp_path / "a.npz", train_images=flat, train_labels=[0, 1, 0, 1])
    found = data.load(f"npz:{tmp_path}/a.npz", image_size=16)
    assert found.shape == (channels, 16, 16)
    assert (found.images[:, :, 4:12] == 90).all()
    assert (found.images[:, :, :4] == 0).all()
    assert "train_images: resized from 20 x 10 to 16 x 16 pixels" in found.notes[0]
    assert (data.load(f"npz:{tmp_path}/a.npz", image_size=16, image_fit="crop").images == 90).all()
    with pytest.raises(DataError, match="would take"):
        npz.read("x", tmp_path / "a.npz", Settings(image_size=512, most_memory=500_000))


def test_an_older_run_without_image_fit_keeps_its_images(tmp_path):
    from engine.config import configure
    from engine.files import read_json, write_json
    from engine.runs.folder import RunFolder
    from engine.runs.runner import Runner

    files = {f"{k}/{i}.png": blob(i + 9, (16 + i, 16)) for k in "ab" for i in range(3)}
    files["b/wide.png"] = blob(5, (64, 16))
    name = write(tmp_path / "photos", files)
    config = configure(
        dataset=name, noise="none", rate=0.0, epochs=1, warmup=1, correction_start=1, k=1,
        network="small", image_fit="stretch",
    )  # fmt: skip
    runner = Runner.new(config, tmp_path / "run")
    runner.run()
    info = read_json(tmp_path / "run" / "config.json")
    del info["config"]["image_fit"]
    write_json(tmp_path / "run" / "config.json", info)
    run = RunFolder(tmp_path / "run")
    assert run.config.image_fit == "stretch"
    assert data.load_data(run.config).fingerprint() == run.info["data"]["fingerprint"]
    assert data.load(name).fingerprint() != run.info["data"]["fingerprint"]


# Names


def test_composed_and_decomposed_accents_are_one_class(tmp_path):
    files = {"train/cafe\u0301/1.png": blob(), "train/caf\u00e9/2.png": blob(1),
             "train/dog/1.png": blob(2), "test/caf\u00e9/1.png": blob(3),
             "test/cafe\u0301/4.png": blob(4)}  # fmt: skip
    found = data.load(write(tmp_path, files))
    assert found.classes == ("caf\u00e9", "dog")
    assert found.labels.tolist() == [0, 0, 1]
    assert found.test_labels.tolist() == [0, 0]
    assert "Left out" not in notes(found)


def test_images_move_to_the_folders_of_their_new_classes():
    paths = [tuple(p.split("/")) for p in (
        "x/train/cafe\u0301/1.png", "x/train/cafe\u0301/deep/2.png", "x/train/dog/1.PNG",
        "x/train/dog/1-from-caf\u00e9.png", "x/test/dog/1.png", "x/readme.txt")]  # fmt: skip
    found = layout.arrange(paths, "x")
    assert (found.layout.prefix, found.depth) == ("x/", 2)
    new = layout.moved(found, {paths[0]: "dog", paths[1]: "dog", paths[2]: "caf\u00e9"})
    assert ["/".join(path) for path in new.values()] == [
        "x/train/dog/1.png",  # free, since 1.PNG moves away
        "x/train/dog/deep/2.png",
        "x/train/cafe\u0301/1.PNG",
    ]
    assert new[paths[0]] not in (paths[3], paths[2])
    stays = layout.moved(found, {paths[0]: "dog"})
    assert "/".join(stays[paths[0]]) == "x/train/dog/1-from-caf\u00e9-2.png"


# npz


def save(path: Path, **changes) -> str:
    arrays = dict(train_images=np.zeros((12, 8, 8), np.uint8), train_labels=np.arange(12) % 3)
    np.savez(path / "a.npz", **{k: v for k, v in (arrays | changes).items() if v is not None})
    return f"npz:{path / 'a.npz'}"


def test_one_hot_labels_are_taken(tmp_path):
    for kind in (int, np.float32, bool):
        found = data.load(save(tmp_path, train_labels=np.eye(3)[np.arange(12) % 3].astype(kind)))
        assert found.labels.tolist() == [0, 1, 2] * 4
        assert "one-hot" in found.notes[0]


def test_sparse_numbers_of_classes_become_as_many_classes(tmp_path):
    ids = np.array([0, 10, 2999])
    name = save(
        tmp_path,
        train_labels=ids[np.arange(12) % 3],
        test_images=np.zeros((4, 8, 8), np.uint8),
        test_labels=np.array([2999, 0, 7, 10]),
        train_true_labels=ids[np.arange(12) // 4],
    )
    found = data.load(name)
    assert found.classes == ("0", "10", "2999")
    assert found.labels.tolist() == [0, 1, 2] * 4
    assert found.true_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.test_labels.tolist() == [2, 0, 1]
    assert "The 3 numbers among the labels, 0, 10, 2999, became the classes" in notes(found)
    assert "Dropped 1 of 4 test images: no training image has their label (7)" in notes(found)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("kind", ["U9", "S9"])
def test_class_names_as_a_table_of_numbers_and_names(tmp_path, flip, kind):
    table = np.array([("10", "ant"), ("2999", "b\u00e9e".encode() if kind == "S9" else "b\u00e9e"),
                      ("0", "cow")], dtype=object)  # fmt: skip
    raw = np.array([[c.encode() if isinstance(c, str) and kind == "S9" else c for c in row]
                    for row in table]).astype(kind)  # fmt: skip
    name = save(tmp_path, train_labels=np.array([0, 10, 2999] * 4),
                class_names=raw[:, ::-1] if flip else raw)  # fmt: skip
    found = data.load(name)
    assert found.classes == ("cow", "ant", "b\u00e9e")
    assert found.labels.tolist() == [0, 1, 2] * 4


@pytest.mark.parametrize("kind", ["U", "S"])
def test_texts_are_labels_and_their_classes_are_sorted(tmp_path, kind):
    given = np.array(["NA", "caf\u00e9 ", "=1+1"] * 4)
    labels = given if kind == "U" else np.char.encode(given, "utf-8")
    found = data.load(save(tmp_path, train_labels=labels))
    assert found.classes == ("=1+1", "NA", "caf\u00e9")
    assert found.labels.tolist() == [1, 2, 0] * 4
    names = np.array(["caf\u00e9", "NA", "=1+1", "x"])
    found = data.load(save(tmp_path, train_labels=labels[:, None], class_names=names))
    assert found.labels.tolist() == [1, 0, 2] * 4
    assert found.classes == ("caf\u00e9", "NA", "=1+1", "x")


def image(value: float, row: int) -> np.ndarray:
    images = np.full((12, 8, 8), 0.5, np.float32)
    images[row, 1, 2] = value
    return images


MULTI = np.zeros((12, 14), int)
MULTI[:, 3] = MULTI[5, 9] = 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(train_images=image(np.nan, 7)), r"image 7 has values .*\(NaN or infinite\), 1 of 12"),
        (dict(train_images=image(-1, 4)), "range from -1 to 0.5, first outside in image 4$"),
        (dict(train_images=255 * image(1, 3)), "range from 127.5 to 255, .*: save them as uint8"),
        (dict(train_images=np.zeros((12, 3, 8, 8), np.uint8)), r"transpose\(0, 2, 3, 1\)"),
        (dict(train_labels=MULTI), r"row 5 has the labels 3, 9: one label .*train_labels\[:, c\]"),
        (dict(train_labels=np.full((12, 3), 1 / 3)), "0.333.* in row 0; allowed are one class"),
        (dict(train_labels=np.zeros((12, 3), int)), "row 0 has no label"),
        (dict(train_labels=np.arange(12) % 3 + 0.5), "contains 0.5 in row 0"),
        (dict(train_labels=np.array(["a", ""] * 6)), "has an empty text in row 1"),
        (
            dict(train_labels=np.array(["a", "b"] * 6), class_names=np.array(["a", "c"])),
            "has 'b' in row 1; allowed are the names in class_names: a, c",
        ),
        (
            dict(
                train_labels=np.array(["a", "b"] * 6),
                test_labels=np.arange(12) % 2,
                test_images=np.zeros((12, 8, 8), np.uint8),
            ),
            "test_labels has numbers where other labels are texts",
        ),
        (dict(class_names=np.array(["a", "b"])), r"0\.\.1, since class_names has 2 names"),
        (dict(class_names=np.full((3, 3), "a")), "numbers and names"),
        (dict(class_names=np.array([["a", "b"], ["c", "d"]])), "none of them has the numbers"),
        (
            dict(class_names=np.array([["5", "b"], ["6", "d"]])),
            "train label 0 in row 0; allowed are the numbers in class_names: 5, 6",
        ),
        (dict(class_names=np.array(["even", "odd", "even"])), "two classes are called 'even'"),
        (dict(class_names=np.array(["K\u00e4se".encode("latin1")] * 3)), "not UTF-8"),
        (
            dict(train_images=None, train_labels=None, x_train=np.zeros(3)),
            "rename x_train to train_images",
        ),
    ],
)
def test_an_error_names_range_offender_and_what_to_do(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        data.load(save(tmp_path, **changes))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_memory_for_two_thousand_photos_of_224_pixels_is_the_arrays(tmp_path):
    """And not that of the files, nor of two arrays."""

    def memory(name: str) -> int:
        """Bytes of this process: VmRSS now, VmHWM at most since `clear_refs`."""
        return 1024 * int(re.search(rf"{name}:\s*(\d+) kB", status.read_text())[1])

    status = Path("/proc/self/status")
    photo = RNG.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    raw = of(np.kron(photo, np.ones((32, 32, 1), np.uint8)), form="JPEG")
    for k in "ab":
        (tmp_path / k).mkdir()
        (tmp_path / k / "0.jpg").write_bytes(raw)
        for i in range(1, 1000):
            (tmp_path / k / f"{i}.jpg").hardlink_to(tmp_path / k / "0.jpg")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here
    before = memory("VmRSS")
    found = data.load(f"folder:{tmp_path}", image_size=224)
    assert found.images.shape == (2000, 3, 224, 224)
    assert found.images[0].equal(found.images[-1])
    assert memory("VmHWM") - before < 1.5 * found.images.nbytes
