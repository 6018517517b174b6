"""What visitors may upload, and what is refused without leaving a file."""

import io
import re
import shutil
import stat
import struct
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.server.storage import storage_of
from app.server.uploads import contents, paths, registry, safe_zip, sandbox
from app.server.uploads.limits import Limits
from app.server.uploads.safe_zip import UploadError
from engine.data import folder, image_files, images, load
from engine.files import write_json


def png(value: int = 0, side: int = 8) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((side, side), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


def saved(pixels: np.ndarray, form: str, mode: str | None = None) -> bytes:
    out, image = io.BytesIO(), Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(out, form)
    return out.getvalue()


def zipped(files: dict[str, bytes], **options) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", options.pop("compression", zipfile.ZIP_DEFLATED)) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    out.seek(0)
    return out


def arrays(**changes) -> io.BytesIO:
    parts = dict(
        train_images=np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8) % 251,
        train_labels=np.array([[0], [1], [0], [1], [2], [2]], dtype=np.uint8),
    )
    out = io.BytesIO()
    np.savez(out, **{k: v for k, v in (parts | changes).items() if v is not None})
    out.seek(0)
    return out


def pets(prefix: str = "") -> dict[str, bytes]:
    return {
        f"{prefix}{kind}/{i}.png": png(40 * i + c)
        for c, kind in enumerate(("cat", "dog"))
        for i in range(3)
    }


def leftovers(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def root(tmp_path, unpacked_here) -> Path:
    """A folder of runs; test_jobs.py and test_hostile.py unpack in processes."""
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def refused(root: Path, file: io.BytesIO, name: str = "mine.zip") -> str:
    """The reason; no file may remain, neither in the runs root nor next to it."""
    with pytest.raises(UploadError) as caught:
        registry.receive(file, name, root)
    assert leftovers(root.parent) == []
    assert str(caught.value).startswith(name)
    return str(caught.value)


def refused_here(root: Path, file: io.BytesIO, **limits) -> str:
    """The reason of the sandbox, run in this process, where limits can be lowered."""
    own = root / "own"
    own.mkdir()
    (own / paths.INCOMING).write_bytes(file.read())
    with pytest.raises(UploadError) as caught:
        sandbox.unpack(own, "mine.zip", Limits(**limits), 8, lambda what, done, total: None)
    return str(caught.value)


# --- what is taken


def test_an_npz_becomes_a_data_set(root):
    about = registry.receive(arrays(), "mine.npz", root)
    assert (about.form, about.name) == ("npz", "mine.npz")
    assert Path(about.dataset.partition(":")[2]).parent.parent == root / ".uploads"
    data = load(about.dataset)
    assert data.labels.tolist() == [0, 1, 0, 1, 2, 2]
    assert registry.find(about.key, root) == about
    assert registry.of_dataset(about.dataset, root) == about


def test_an_npz_of_features_is_one_of_rows(root):
    features = dict(train_images=None, train_labels=None, X=np.eye(6), y=np.array(["a", "b"] * 3))
    about = registry.receive(arrays(**features), "mine.npz", root)
    assert about.form == "features"
    assert load(about.dataset).shape == (6, 1, 1)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "file,label\n1.png,cat\n2.png,dog\n", "put both into one .zip"),
        ("a.csv", "x,y\n1,2\n", "has the columns x, y; the one of labels needs"),
        ("a.csv", "x,label\n1,a\n2,a\n", "two classes are needed"),
        ("a.parquet", "x,label\n1,a\n2,b\n", "is no Parquet file"),
        ("a.txt", "x", "nor a table (.csv, .tsv, .jsonl, .parquet)"),
    ],
)
def test_a_table_that_has_no_features_says_what_to_do(root, name, content, words):
    assert words in refused(root, io.BytesIO(content.encode()), name)


@pytest.mark.parametrize("prefix", ["", "train/", "pets/", "a/b/", "pets/Training/"])
def test_class_folders_are_found_inside_outer_folders(root, prefix):
    about = registry.receive(zipped(pets(prefix)), "pets.zip", root)
    data = load(about.dataset)
    assert data.classes == ("cat", "dog")
    assert data.ids == tuple(f"train/{kind}/{i}.png" for kind in data.classes for i in range(3))
    has_parts = "train" in prefix.lower()
    assert about.layout.parts == ({"train": prefix.split("/")[-2]} if has_parts else None)
    assert about.layout.prefix == {"pets/": "pets/", "a/b/": "a/b/", "pets/Training/": "pets/"}.get(
        prefix, ""
    )


def test_parts_keep_their_own_names(root):
    files = pets("train/") | pets("validation/") | {"test/cat/9.png": png(9)}
    about = registry.receive(zipped(files), "pets.zip", root)
    data = load(about.dataset)
    assert (data.n, len(data.val_labels), len(data.test_labels)) == (6, 6, 1)
    assert about.layout.parts == {"train": "train", "val": "validation", "test": "test"}


def test_a_class_may_be_called_train(root):
    files = {"train/1.png": png(1), "car/1.png": png(2), "car/2.png": png(3)}
    assert load(registry.receive(zipped(files), "x.zip", root).dataset).classes == ("car", "train")


def test_other_files_are_left_out_and_named(root):
    files = pets() | {
        "__MACOSX/cat/._0.png": b"x",
        ".DS_Store": b"x",
        "cat/more.zip": zipped(pets()).read(),
        "cat/note.txt": b"x",
        "cat/deep/1.png": png(),
        "stray.png": png(),
    }
    about = registry.receive(zipped(files), "pets.zip", root)
    assert load(about.dataset).ids[3] == "train/cat/deep/1.png"
    assert load(about.dataset).n == 7
    hidden, other, outside = about.notes
    assert "Left out 2 hidden files" in hidden
    assert ".DS_Store, __MACOSX/cat/._0.png" in hidden
    assert "2 files that are no images by their names (1 .zip, 1 .txt): cat/more.zip" in other
    assert "Left out 1 image outside the class folders: stray.png." in outside
    assert not [name for name in leftovers(root) if name.endswith((".zip", ".txt"))]


def test_an_unreadable_image_among_others_is_left_out(root):
    about = registry.receive(zipped(pets() | {"cat/bad.png": b"no image"}), "pets.zip", root)
    data = load(about.dataset)
    assert data.n == 6
    (note,) = about.notes
    assert note.startswith("Left out 1 file that cannot be decoded: cat/bad.png is no JPEG, PNG, ")


def test_photos_in_subfolders_and_of_any_format_are_images(root):
    forms = {"webp": "WEBP", "TIF": "TIFF", "bmp": "BMP", "gif": "GIF", "jpeg": "JPEG"}
    files = {f"{kind}/2024/{i}.{suffix}": saved(np.full((8, 8, 3), 40 * i + c, np.uint8), form)
             for c, kind in enumerate(("cat", "dog")) for i, (suffix, form) in
             enumerate(forms.items())}  # fmt: skip
    about = registry.receive(zipped(files), "pets.zip", root)
    data = load(about.dataset)
    assert sorted(data.ids) == sorted(f"train/{name}" for name in files)
    assert about.notes == ()
    for name in files:
        level = int(name[9]) * 40 + (name[:3] == "dog")
        assert abs(int(data.images[data.ids.index(f"train/{name}")].max()) - level) <= 1


def test_the_server_itself_decodes_only_jpeg_and_png(root):
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 60
    shape = np.zeros((700, 350, 4), np.uint8)
    files = pets() | {
        "cat/a.tif": saved(deep, "TIFF"),
        "cat/b.tif": saved(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8), "TIFF"),
        "dog/c.webp": saved(shape, "WEBP"),
        "dog/d.tif": saved(np.zeros((8, 8, 4), np.uint8), "TIFF", "CMYK"),
        "dog/e.gif": saved(np.zeros((8, 8), np.uint8), "GIF"),
        "dog/cut.webp": saved(shape, "WEBP")[:60],
        "dog/f.jpg": saved(np.zeros((8, 8, 3), np.uint8), "JPEG"),
    }
    about = registry.receive(zipped(files), "pets.zip", root)
    base = Path(about.dataset.partition(":")[2])
    kinds = {path.read_bytes()[:3] for path in base.rglob("*") if path.is_file()}
    assert kinds == {b"\x89PN", b"\xff\xd8\xff"}
    assert "1 file that cannot be decoded: dog/cut.webp is truncated" in about.notes[0]
    found = load(about.dataset)
    assert found.n == 12
    assert "0 is black and 4095 white" in " ".join(found.notes)  # 16 bits stay 16 bits
    tall = found.images[found.ids.index("train/dog/c.webp")]
    assert (tall[:, :, 2:6] == 255).all()  # transparent: on white
    assert (tall[:, :, :2] == 0).all()


def unmarked(names: list[str], encoding: str) -> io.BytesIO:
    """A zip whose names are in an encoding and not marked as UTF-8."""
    raw = {"ABCD"[i] * len(name.encode(encoding)): name for i, name in enumerate(names)}
    content = zipped({plain: png(i) for i, plain in enumerate(raw)}).getvalue()
    for plain, name in raw.items():
        content = content.replace(plain.encode(), name.encode(encoding))
    return io.BytesIO(content)


@pytest.mark.parametrize(
    ("encoding", "classes"),
    [
        ("utf-8", ["caf\u00e9", "\u00c4pfel"]),  # as macOS writes them
        ("gbk", ["\u5065\u5eb7", "\u80ba\u708e"]),
        ("cp932", ["\u30cd\u30b3", "\u30a4\u30cc"]),
        ("cp437", ["K\u00e4tzchen", "H\u00fcndin"]),
        ("cp866", ["\u043a\u043e\u0448\u043a\u0430", "\u0441\u043e\u0431\u0430\u043a\u0430"]),
    ],
)
def test_names_without_a_mark_are_read_in_their_encoding(root, encoding, classes):
    names = [f"{kind}/photo{i}.png" for kind in classes for i in range(2)]
    about = registry.receive(unmarked(names, encoding), "x.zip", root)
    assert sorted(load(about.dataset).classes) == sorted(classes)
    assert bool(about.notes) == (encoding != "utf-8")
    if about.notes:
        assert "The names of 4 files are not in UTF-8; they were read as " in about.notes[0]


def test_a_table_beside_images_has_their_labels(root):
    table = b"file_name,label,split\n" + b"".join(
        b"%d.png,%s,%s\n" % (i, kind, part)
        for i, (kind, part) in enumerate([(b"NA", b""), (b"dog", b""), (b"dog", b"test")])
    )
    files = {f"x/images/{i}.png": png(9 * i) for i in range(4)} | {"x/labels.csv": table}
    about = registry.receive(zipped(files), "x.zip", root)
    data = load(about.dataset)
    assert data.classes == ("NA", "dog")
    assert data.ids == ("train/NA/x/images/0.png", "train/dog/x/images/1.png")
    assert data.test_labels.tolist() == [1]
    assert about.notes == (
        "Labels are from x/labels.csv.",
        "Left out 1 images that no table names: x/images/3.png.",
    )


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"file_name,label\n../0.png,a\n/etc/x.png,b\n", "'a', two classes .* missing .*: /etc/x"),
        (b"file_name,label\n0.png,a/b\n1.png,b\n", "'a/b' cannot be the name of a folder"),
        (b"file_name,label\n0.png,..\n1.png,b\n", "'..' cannot be the name of a folder"),
        (b"file_name,label\n0.png,a\n1.png,a\n", "'a', two classes are needed"),
        (b"file_name,size\n0.png,1\n", "labels.csv was not used: .* needed are path"),
    ],
)
def test_a_table_that_no_run_can_use(root, table, reason):
    files = {f"images/{i}.png": png(9 * i) for i in range(2)} | {"labels.csv": table}
    assert re.search(reason, refused(root, zipped(files)))


def test_one_huge_photo_does_not_refuse_the_others(root):
    """As a phone takes it; decoding it whole would take more memory than is allowed."""
    large = saved(np.zeros((3000, 4000, 3), np.uint8), "PNG")
    jpeg = saved(np.zeros((3000, 4000, 3), np.uint8), "JPEG")
    own = root / "own"
    own.mkdir()
    files = pets() | {"cat/large.png": large, "cat/phone.jpg": jpeg}
    (own / paths.INCOMING).write_bytes(zipped(files).read())
    sandbox.unpack(own, "x.zip", Limits(memory=100_000_000), 8, lambda what, done, total: None)
    settings = image_files.Settings(most_memory=100_000_000)
    found = folder.read("x", own / "x", settings)
    assert len(found.labels) == 7
    assert "cat/large.png has 4,000 x 3,000 pixels, whose decoding would take" in found.notes[0]


def test_the_same_content_is_the_same_upload(root):
    first = registry.receive(arrays(), "mine.npz", root)
    again = registry.receive(arrays(), "again.npz", root)
    assert again == replace(first, name="again.npz") == registry.find(first.key, root)
    assert len(list((root / ".uploads").iterdir())) == 1


def test_the_same_content_of_two_visitors_is_two_uploads(root):
    first = registry.receive(arrays(), "patients.npz", root, owner="ann")
    second = registry.receive(arrays(), "b.npz", root, owner="bob")
    assert second.key != first.key
    assert "patients" not in f"{second}{second.dataset}"
    assert registry.find(first.key, root) == first
    again = registry.receive(arrays(), "c.npz", root, owner="bob")
    assert (again.key, again.name, again.dataset) == (second.key, "c.npz", second.dataset)
    assert registry.receive(arrays(), "x.npz", root).key not in (first.key, second.key)


def test_the_form_depends_on_content_and_not_on_the_name(root):
    assert registry.receive(arrays(), "mine.zip", root).form == "npz"
    assert registry.receive(zipped(pets()), "mine.npz", root).form == "folder"


# --- paths


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.png", "leads out"),
        ("cat/../../evil.png", "leads out"),
        ("cat\\..\\..\\evil.png", "leads out"),
        ("/etc/evil.png", "absolute"),
        ("C:\\evil.png", "absolute"),
        ("cat/a\nb.png", "control character"),
        ("cat/a\u202egnp.exe.png", "control character"),
        ("cat/" + "x" * 300 + ".png", "304 bytes"),
    ],
)
def test_paths_that_lead_outside_or_hide_something(root, name, reason):
    assert reason in refused(root, zipped(pets() | {name: png()}))


def test_traversal_hidden_in_a_file_that_is_left_out(root):
    assert "leads out" in refused(root, zipped(pets() | {"__MACOSX/../../x": b""}))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices(root, kind):
    file = zipped(pets())
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("cat/link.png")
        link.external_attr = (kind | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    file.seek(0)
    assert "plain files" in refused(root, file)


def test_a_duplicate_name(root):
    file = zipped(pets())
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("cat/0.png", png(7))
    file.seek(0)
    assert "twice" in refused(root, file)


def test_names_in_any_language_are_kept(root):
    files = {"Kätzchen 🐈/Bild (1).png": png(1), "<b>dog/$x$.png": png(2)}
    data = load(registry.receive(zipped(files), "x.zip", root).dataset)
    assert data.classes == ("<b>dog", "Kätzchen 🐈")


# --- size


def test_an_upload_that_is_too_large(root, monkeypatch):
    monkeypatch.setattr(registry, "MOST_UPLOADED", 500)
    monkeypatch.setattr(registry, "CHUNK", 100)
    assert "the most allowed" in refused(root, arrays())


def test_a_bomb_is_stopped_while_it_unpacks(root, monkeypatch):
    monkeypatch.setattr(safe_zip, "RATIO_COUNTS_FROM", safe_zip.MB)
    read = []
    count = safe_zip.Archive._count
    monkeypatch.setattr(
        safe_zip.Archive, "_count", lambda self, n: (read.append(n), count(self, n))
    )
    bomb = zipped(pets() | {"cat/zeros.png": bytes(50 * safe_zip.MB)})
    assert "zip bomb" in refused_here(root, bomb)
    assert sum(read) < 12 * safe_zip.MB


def test_a_bomb_with_a_small_size_in_its_header(root, monkeypatch):
    monkeypatch.setattr(safe_zip, "RATIO_COUNTS_FROM", safe_zip.MB)
    raw = bytearray(zipped({"cat/zeros.png": bytes(50 * safe_zip.MB)}).read())
    declared = struct.pack("<L", 50 * safe_zip.MB)
    raw = raw.replace(declared, struct.pack("<L", 10))
    message = refused_here(root, io.BytesIO(bytes(raw)))
    assert "damaged" in message or "bomb" in message


def test_arrays_can_be_a_bomb_too(root, monkeypatch):
    monkeypatch.setattr(safe_zip, "RATIO_COUNTS_FROM", safe_zip.MB)
    out = io.BytesIO()
    np.savez_compressed(
        out, train_images=np.zeros((40_000, 32, 32), np.uint8), train_labels=np.zeros(40_000)
    )
    out.seek(0)
    assert "zip bomb" in refused_here(root, out)


def test_more_than_the_total_limit(root, monkeypatch):
    monkeypatch.setattr(safe_zip, "MOST_UNPACKED", 300)
    assert "MB, which is the most allowed" in refused_here(root, zipped(pets()))


def test_too_many_files(root, monkeypatch):
    monkeypatch.setattr(safe_zip, "MOST_FILES", 5)
    assert "it holds 6 files; allowed are 5" in refused_here(root, zipped(pets()))


def test_a_list_of_members_that_would_fill_the_memory(root, monkeypatch):
    monkeypatch.setattr(safe_zip, "MOST_AT_ONCE", 200)
    assert "list of files is too long" in refused_here(root, zipped(pets()))


def test_an_image_of_too_many_pixels(root, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    file = zipped({"cat/big.png": png(side=11), "dog/1.png": png()})
    message = refused_here(root, file)
    assert "two classes are needed. Left out 1 file that cannot be decoded" in message
    assert "cat/big.png has 11 x 11 pixels; allowed are 100" in message


def test_more_pixels_than_an_upload_may_have_are_refused_by_their_headers(root, monkeypatch):
    monkeypatch.setattr(image_files, "_decode", None)
    reason = refused_here(root, zipped(pets()), pixels=6 * 64 - 1)
    assert "million pixels in all, which is the most allowed" in reason


def test_a_full_disk(root, monkeypatch):
    monkeypatch.setattr(registry, "SPARE", 1 << 60)
    assert "disk is full" in refused(root, arrays())


# --- content


def test_pickles(root):
    marks = []

    class Evil:
        def __reduce__(self):
            return (marks.append, ("ran",))

    message = refused(root, arrays(extra=np.array([Evil()], dtype=object)), "mine.npz")
    assert "pickle" in message
    assert "extra.npy" in message
    assert not marks


def test_arrays_with_a_false_length(root):
    good = io.BytesIO()
    np.save(good, np.zeros((6, 8, 8), np.uint8))
    raw = good.getvalue().replace(b"(6, 8, 8)", b"(9, 8, 8)")
    labels = io.BytesIO()
    np.save(labels, np.arange(6))
    file = zipped({"train_images.npy": raw, "train_labels.npy": labels.getvalue()})
    assert "has 384 bytes where its header says 576" in refused(root, file)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (dict(train_images=np.zeros((6, 8), np.uint8)), "shape (6, 8)"),
        (dict(train_images=np.zeros((6, 4, 4), np.uint8)), "4 x 4"),
        (dict(train_images=np.zeros((6, 300, 8), np.uint8)), "8 x 300"),
        (dict(train_images=None), "has no train_images"),
        (dict(train_labels=np.zeros(6, int)), "two classes are needed"),
        (dict(train_labels=np.arange(5)), "6 train images but 5"),
        (dict(train_labels=np.array([0, 1, 2, 3, 4, -1])), "label -1"),
    ],
)
def test_arrays_that_no_run_can_use(root, changes, reason):
    message = refused(root, arrays(**changes), "mine.npz")
    assert reason in message
    assert str(root) not in message


def test_too_many_classes(root, monkeypatch):
    monkeypatch.setattr(contents, "MOST_CLASSES", 2)
    assert "3 classes" in refused_here(root, arrays())
    monkeypatch.setattr(contents, "MOST_CLASSES", 1000)
    monkeypatch.setattr(contents, "MOST_SOFT", 17)
    (root / "own").rename(root / "first")
    assert "as the product" in refused_here(root, arrays())


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"cat/1.png": png(), "cat/2.png": png()}, "two classes are needed"),
        ({"cat/1.png": b"x", "dog/1.png": b"y"}, "no readable"),
        ({"readme.txt": b"x"}, "holds no JPEG, PNG"),
        ({"1.png": png(), "2.png": png()}, "in a class folder"),
        (pets("val/") | pets("valid/") | pets("train/"), "both 'val' and 'valid'"),
    ],
)
def test_folders_that_no_run_can_use(root, files, reason):
    message = refused(root, zipped(files))
    assert reason in message
    assert str(root) not in message


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b"GIF89a" * 100, "neither an .npz"),
        (zipped(pets()).getvalue()[:-30], "neither an .npz"),
        (zipped(pets()).getvalue().replace(b"IHDR", b"XXXX"), "damaged"),
    ],
)
def test_files_that_are_broken(root, raw, reason):
    if reason == "damaged":  # stored, so that the change hits the content and not the packing
        raw = zipped(pets(), compression=zipfile.ZIP_STORED).getvalue().replace(b"IHDR", b"XXXX")
    assert reason in refused(root, io.BytesIO(raw))


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_compression_that_can_need_gigabytes(root, method):
    assert "stored (0) and deflated (8)" in refused(root, zipped(pets(), compression=method))


def test_encrypted_files(root):
    raw = bytearray(zipped(pets()).getvalue())
    at = raw.index(b"PK\x01\x02")
    raw[at + 8] |= 1
    assert "without a password" in refused(root, io.BytesIO(bytes(raw)))


# --- folders of the server


def test_no_folder_of_the_server_without_permission(root, tmp_path, monkeypatch):
    monkeypatch.delenv("MIXNN_FOLDERS", raising=False)
    with pytest.raises(UploadError, match="MIXNN_FOLDERS"):
        registry.named(str(tmp_path), root)
    assert not paths.may_read("folder:/etc", root)
    assert not paths.may_read(f"npz:{tmp_path}/x.npz", root)
    assert not paths.may_read(f"manifest:{tmp_path}/x.csv", root)
    assert not paths.may_read("hf:cifar10", root)
    assert paths.may_read("digits", root)


def test_a_folder_of_the_server_inside_what_may_be_read(root, tmp_path, monkeypatch):
    photos = tmp_path / "photos" / "pets"
    for name, content in pets().items():
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(content)
    monkeypatch.setenv("MIXNN_FOLDERS", str(tmp_path / "photos"))
    about = registry.named(str(photos), root)
    assert load(about.dataset).n == 6
    assert paths.may_read(about.dataset, root)
    for outside in (tmp_path, photos / ".." / "..", "/etc", "~"):
        with pytest.raises(UploadError, match="cannot be read"):
            registry.named(str(outside), root)
    with pytest.raises(UploadError, match="holds|not there|no"):
        registry.named(str(photos / "gone"), root)
    assert registry.named(str(photos), root).at > about.at  # checked again
    (tmp_path / "photos" / "way out").symlink_to("/etc")
    with pytest.raises(UploadError, match="cannot be read"):
        registry.named(str(tmp_path / "photos" / "way out"), root)


def test_uploads_may_be_read_by_those_who_know_their_key(root, monkeypatch):
    about = registry.receive(arrays(), "mine.npz", root)
    assert paths.may_read(about.dataset, root)
    assert not paths.may_read(f"npz:{root}/.uploads/../x.npz", root)
    for text in (
        "npz:/tmp/a\0b.npz",
        "folder:/x\x1fy",
        f"{about.dataset}\n",
        "npz:~no-such-user/x",
    ):
        assert not paths.may_read(text, root)
    monkeypatch.setenv("MIXNN_FOLDERS", str(root.parent))
    assert paths.may_read(about.dataset, root)
    assert paths.may_read(f"npz:{root.parent}/x.npz", root)
    for inside in (
        "run/labels.npz",
        "",
        ".uploads",
        ".uploads/.new-abc/upload/x.npz",
        ".mixnn.sqlite3",
    ):
        assert not paths.may_read(f"npz:{root}/{inside}", root)
    shutil.copy(root / ".uploads" / about.key / "upload.json", root)
    for key in ("", "..", "../x", "abc"):
        assert registry.find(key, root) is None


# --- cleaning


def test_old_uploads_without_a_run_are_removed(root):
    idle = registry.receive(arrays(), "a.npz", root)
    used = registry.receive(arrays(train_labels=np.arange(6) % 2), "b.npz", root)
    (root / "demo").mkdir()
    write_json(root / "demo" / "config.json", {"config": {"dataset": used.dataset}})
    assert registry.clean(root) == 0
    assert registry.clean(root, now=time.time() + 25 * 3600) == 1
    assert registry.find(idle.key, root) is None
    assert registry.find(used.key, root) == used


def test_an_upload_is_kept_for_a_run_that_waits_and_for_one_of_a_sweep(root):
    waits = registry.receive(arrays(), "a.npz", root)
    swept = registry.receive(arrays(train_labels=np.arange(6) % 2), "b.npz", root)
    later = time.time() + 25 * 3600
    request = {"kind": "new", "config": {"dataset": waits.dataset}}
    storage_of(root).save_queue([3, request])
    (root / "of ann" / "sweep" / "k3").mkdir(parents=True)
    path = root / "of ann" / "sweep" / "k3" / "config.json"
    write_json(path, {"config": {"dataset": swept.dataset}})
    assert registry.clean(root, now=later) == 0
    storage_of(root).save_queue([])
    path.unlink()
    assert registry.clean(root, now=later) == 2
