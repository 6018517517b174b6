"""One .npz file in the MedMNIST layout: train_images, train_labels, test_images and so on."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from engine.data import memory
from engine.data.image_files import Settings
from engine.data.npz_headers import AT_ONCE, are_features, check_headers, header, peak
from engine.data.parts import Arrays, Part, check_class_names, check_parts, plain_class, shown, some
from engine.data.pixels import fitted
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.base import Data
    from engine.data.registry import Request

PARTS = ("train", "val", "test")
KEYS = [f"{part}_{kind}" for part in PARTS for kind in ("images", "labels")]
KEYS += ["train_true_labels", "class_names"]
LARGEST_LABEL = 2**31 - 1
SPARSE = 10  # numbers without an image, beyond which labels are taken as ids of classes


def load(request: "Request") -> "Data":
    """What `read` reads from the request's path, as a Data."""
    from engine.data.base import as_data  # late: torch

    return as_data(
        read(request.name, request.path(), Settings(request.image_size, request.image_fit))
    )


def read(name: str, path: Path, settings: Settings = Settings()) -> Arrays:  # noqa: B008 - frozen
    """Read train_images and train_labels; val_*, test_*, train_true_labels, class_names if present.

    Images are (N, H, W), (N, H, W, 1) or (N, H, W, 3), labels (N,) or (N, 1) from 0, one-hot
    (N, C), or texts (N,), which are the classes or occur in class_names. class_names are
    (C,) texts, or a table (C, 2) of numbers and names. Without them the
    classes are the numbers 0 to the largest training label; if most of these have no image, only
    those that have. Repairs, each with a note: other integer images within 0..255 become uint8;
    float or bool images within 0..1 are scaled to 0..255; whole numbers stored as float become
    integer labels; those of check_parts. image_size of the settings resizes all images. Types,
    shapes and memory are checked by the arrays' headers before any array is read. Raises DataError
    on anything else. Object arrays, which could run code, are never opened.
    """
    with _opened(path) as file:
        headers = {key: header(path, file, key) for key in KEYS if f"{key}.npy" in file.NameToInfo}
        contents = some([name.removesuffix(".npy") for name in file.NameToInfo], 10)
        parts = [part for part in PARTS if check_headers(path, headers, part, contents)]
        if "train" not in parts:
            hint = ""
            if "x_train.npy" in file.NameToInfo:  # as of Keras
                hint = "; rename x_train to train_images, y_train to train_labels, and so on"
            elif are_features(file.NameToInfo):
                hint = f"; rows of numbers are features:{path}"
            raise DataError(
                f"{path} has no train_images; it contains {contents or 'nothing'}{hint}"
            )
        what = f"{path}: reading {', '.join(headers)}"
        n_bytes = sum(peak(*item, settings.image_size) for item in headers.items())
        memory.check_fits(what, n_bytes, settings.most_memory)
        notes: list[str] = []
        arrays = {part: _part(path, file, part, settings, notes) for part in parts}
        true_labels = None
        if "train_true_labels" in headers:
            true_labels = _labels(path, file, "train_true_labels", notes)
        labels = {part: labels for part, (_, labels) in arrays.items()}
        if true_labels is not None:
            labels["train_true"] = true_labels
        numbers, classes = None, None
        if "class_names" in headers:
            numbers, classes = _class_names(path, _array(path, file, "class_names"))
    if any(values.dtype.kind == "U" for values in labels.values()):
        labels, classes = _numbered(path, labels, classes, notes)
    else:
        if classes is None:
            numbers, classes = _numbers(path, labels, notes)
        if numbers is not None:
            labels = _renumbered(path, labels, numbers)
    arrays = {part: (images, labels[part]) for part, (images, _) in arrays.items()}
    try:
        return check_parts(
            name,
            arrays["train"],
            arrays.get("test"),
            classes,
            val=arrays.get("val"),
            true_labels=labels.get("train_true"),
            notes=notes,
        )
    except DataError as error:
        if "allowed are 0.." in str(error) and "class_names" in headers:
            raise DataError(f"{error}, since class_names has {len(classes)} names") from None
        raise


def _opened(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise DataError(f"{path} does not exist; npz:PATH needs an .npz file")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an .npz file (numpy.savez writes one)")
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # zipfile fails in many ways on a damaged list of members
        raise DataError(f"{path} is damaged: {str(error) or 'it ends too early'}") from error


def _array(path: Path, file: zipfile.ZipFile, key: str) -> np.ndarray:
    try:
        with file.open(f"{key}.npy") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:  # untrusted bytes: zipfile, zlib and NumPy fail in many ways
        raise DataError(f"{path} is damaged: {str(error) or 'it ends too early'}") from error


def _part(
    path: Path, file: zipfile.ZipFile, part: str, settings: Settings, notes: list[str]
) -> Part:
    images = _images(path, file, f"{part}_images", notes)
    size = settings.image_size
    if size is not None and images.shape[2:] != (size, size):
        height, width = images.shape[2:]
        notes.append(
            f"{part}_images: resized from {width} x {height} to {size} x {size} pixels"
            f"{'' if height == width else f' (image_fit: {settings.image_fit})'}."
        )
        images = _resized(images, size, settings.image_fit)
    return images, _labels(path, file, f"{part}_labels", notes)


def _images(path: Path, file: zipfile.ZipFile, key: str, notes: list[str]) -> np.ndarray:
    """(N, H, W[, 1 or 3]) of any number type -> (N, C, H, W) uint8."""
    images = _array(path, file, key)
    if images.ndim == 3:
        images = images[..., None]
    images = images.transpose(0, 3, 1, 2)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    top = 255 if images.dtype.kind in "iu" else 1
    out = np.empty(images.shape, dtype=np.uint8)
    n_rows = max(1, AT_ONCE // max(1, images[:1].size))
    for start in range(0, len(images), n_rows):
        some_images = images[start : start + n_rows]
        right = (some_images >= 0) & (some_images <= top)
        if not np.all(right):
            row = start + int(np.argmin(right.all((1, 2, 3))))
            raise DataError(
                f"{path}: {key} is {images.dtype}; allowed are uint8, integers within 0..255 and "
                f"floats within 0..1, and {_offender(images, row, n_rows, top)}"
            )
        scaled = some_images if top == 255 else np.round(some_images * np.float32(255))
        out[start : start + n_rows] = scaled.astype(np.uint8)
    notes.append(f"{key}: {images.dtype} within 0..{top} became uint8 within 0..255.")
    return out


def _offender(images: np.ndarray, row: int, n_rows: int, top: int) -> str:
    """Which image has a value that is not allowed, the range of all, and what to do."""
    low, high, n_wrong = np.inf, -np.inf, 0
    for start in range(0, len(images), n_rows):
        values = images[start : start + n_rows]
        finite = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        n_wrong += int((~finite).any((1, 2, 3)).sum())
        if finite.any():
            low = min(low, float(values[finite].min()))
            high = max(high, float(values[finite].max()))
    if n_wrong:
        return (
            f"image {row} has values that are not finite (NaN or infinite), {n_wrong:,} of "
            f"{len(images):,} images have: remove these images, or replace the values"
        )
    advice = ": save them as uint8" if top == 1 and low >= 0 and high <= 255 else ""
    return f"its values range from {low:.6g} to {high:.6g}, first outside in image {row}{advice}"


def _resized(images: np.ndarray, side: int, fit: str) -> np.ndarray:
    """(N, C, H, W) uint8 -> (N, C, side, side) uint8."""
    out = np.empty((*images.shape[:2], side, side), dtype=np.uint8)
    for image, to in zip(images, out, strict=True):
        pixels = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
        to[:] = np.atleast_3d(np.asarray(fitted(pixels, (side, side), fit))).transpose(2, 0, 1)
    return out


def _labels(path: Path, file: zipfile.ZipFile, key: str, notes: list[str]) -> np.ndarray:
    """(N,) or (N, 1) whole numbers, or one-hot (N, C) -> (N,) int64; texts -> (N,) texts."""
    labels = _array(path, file, key)
    if labels.dtype.kind in "US":
        return _texts(path, key, labels)
    if labels.ndim == 2 and labels.shape[1] != 1:
        return _from_one_hot(path, key, labels, notes)
    labels = labels.reshape(-1)
    if labels.dtype.kind == "f":
        wrong = np.flatnonzero(~(labels == np.round(labels)) | ~np.isfinite(labels))
        if len(wrong):
            raise DataError(
                f"{path}: {key} contains {labels[wrong[0]]} in row {wrong[0]}; labels must be "
                "integers from 0"
            )
        notes.append(f"{key}: whole numbers stored as {labels.dtype} became integers.")
    if len(labels) and labels.dtype.kind != "b":
        row = int(labels.argmax() if labels.max().item() > LARGEST_LABEL else labels.argmin())
        if not -LARGEST_LABEL <= labels[row].item() <= LARGEST_LABEL:
            raise DataError(
                f"{path}: {key} contains {labels[row]} in row {row}; labels count from 0, up to "
                f"{LARGEST_LABEL:,} at most"
            )
    return labels.astype(np.int64)


def _texts(path: Path, key: str, labels: np.ndarray) -> np.ndarray:
    """(N,) or (N, 1) texts -> (N,) texts as they are displayed. Bytes are decoded as UTF-8."""
    if labels.ndim == 2 and labels.shape[1] != 1:
        raise DataError(
            f"{path}: {key} has texts and the shape {labels.shape}; one label per image is needed, "
            "(N,)"
        )
    try:
        texts = np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels
        different, places = np.unique(texts.reshape(-1), return_inverse=True)
        names = [plain_class(name) for name in different.tolist()]
    except (ValueError, SystemError):  # NumPy: a number that is not a character
        raise DataError(f"{path}: {key} has bytes that are not UTF-8 text") from None
    if "" in names:
        row = int(np.argmax(places == names.index("")))
        raise DataError(f"{path}: {key} has an empty text in row {row}; each image needs a label")
    return np.array(names, dtype=np.str_)[places]


def _numbered(
    path: Path, labels: dict[str, np.ndarray], classes: list[str] | None, notes: list[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Texts as places (N,) int64 in the classes, by default those of the training part, sorted.

    len(classes) for those of val and test that are no class.
    """
    if numbers := [part for part, values in labels.items() if values.dtype.kind != "U"]:
        raise DataError(
            f"{path}: {numbers[0]}_labels has numbers where other labels are texts; allowed are "
            "numbers in all parts, or texts in all"
        )
    if classes is None:
        known = np.concatenate([labels[part] for part in ("train", "train_true") if part in labels])
        classes = check_class_names(f"{path}: train_labels", np.unique(known).tolist())
    place_of = {name: place for place, name in enumerate(classes)}
    places = {}
    for part, values in labels.items():
        unknown = sorted(set(values.tolist()) - set(place_of))
        if unknown and part.startswith("train"):
            row = int(np.argmax(values == unknown[0]))
            raise DataError(
                f"{path}: {part}_labels has {shown(unknown[0], 40)!r} in row {row}; allowed are "
                f"the names in class_names: {some(classes)}"
            )
        if unknown:
            notes.append(f"{part}_labels: {some(unknown)} occur in no training label.")
        numbers_of = [place_of.get(name, len(classes)) for name in values.tolist()]
        places[part] = np.array(numbers_of, dtype=np.int64)
    return places, classes


def _from_one_hot(path: Path, key: str, labels: np.ndarray, notes: list[str]) -> np.ndarray:
    """(N, C) with a single 1 in each row -> (N,) int64."""
    if wrong := np.flatnonzero(~((labels == 0) | (labels == 1)).all(1)).tolist():
        row = labels[wrong[0]]
        value = row[(row != 0) & (row != 1)][0]
        raise DataError(
            f"{path}: {key} has shape {labels.shape} and {value} in row {wrong[0]}; allowed are "
            "one class per image, (N,), or one-hot rows of a single 1 and zeros"
        )
    n_labels = (labels == 1).sum(1)
    if wrong := np.flatnonzero(n_labels != 1).tolist():
        has = np.flatnonzero(labels[wrong[0]] == 1).tolist()
        raise DataError(
            f"{path}: {key} has shape {labels.shape}, and the image of row {wrong[0]} has "
            f"{f'the labels {some(has)}' if has else 'no label'}: one label per image is needed. "
            f"Of several labels, check one at a time: save {key}[:, c] for a class c as {key} (N,)"
        )
    notes.append(f"{key}: one-hot rows became the number of their class.")
    return labels.argmax(1).astype(np.int64)


def _class_names(path: Path, names: np.ndarray) -> tuple[np.ndarray | None, list[str]]:
    """The texts of class_names, and of a table (C, 2) the classes' numbers (C,), ascending.

    Bytes (NumPy's type S) are decoded as UTF-8.
    """
    where = f"{path}: class_names"
    try:
        values = names.ravel().tolist()
        texts = [raw.decode() if isinstance(raw, bytes) else str(raw) for raw in values]
    except (ValueError, SystemError):  # NumPy: a number that is not a character
        raise DataError(f"{where} has bytes that are not UTF-8 text") from None
    if names.ndim == 2 and 1 not in names.shape:
        return _table(where, texts[::2], texts[1::2])
    return None, check_class_names(where, texts)


def _table(where: str, left: list[str], right: list[str]) -> tuple[np.ndarray, list[str]]:
    """Numbers (C,) int64, ascending, and names of classes; one column has the numbers."""
    for numbers, names in ((left, right), (right, left)):
        if all(text.isdecimal() and len(text) < 10 for text in numbers):
            if len(set(map(int, numbers))) < len(numbers):
                raise DataError(f"{where}: a number of its table stands for two classes")
            order = sorted(range(len(numbers)), key=lambda i: int(numbers[i]))
            values = np.array([int(numbers[i]) for i in order], dtype=np.int64)
            return values, check_class_names(where, [names[i] for i in order])
    raise DataError(
        f"{where} has two columns, and none of them has the numbers of the classes; allowed are "
        "names (C,), or numbers and names (C, 2)"
    )


def _numbers(
    path: Path, labels: dict[str, np.ndarray], notes: list[str]
) -> tuple[np.ndarray | None, list[str]]:
    """Class names "0", "1", ... up to the largest label; if most have no image, only the others.

    Then the numbers of the classes (C,) int64 come along.
    """
    known = np.concatenate([labels[part] for part in ("train", "train_true") if part in labels])
    present = np.unique(known)
    largest = int(present[-1]) if len(present) else -1
    if present.min(initial=0) >= 0 and largest + 1 - len(present) > max(len(present), SPARSE):
        notes.append(
            f"The {len(present):,} numbers among the labels, {some(present.tolist())}, became the "
            f"classes; the other numbers up to {largest:,} have no image."
        )
        return present, [str(number) for number in present.tolist()]
    if largest > len(labels["train"]):  # one more than the rows, for labels that count from 1
        raise DataError(
            f"{path}: train label {largest} with {len(labels['train'])} images; labels must be "
            "0..C-1, and classes cannot outnumber the images"
        )
    return None, [str(number) for number in range(largest + 1)]


def _renumbered(
    path: Path, labels: dict[str, np.ndarray], numbers: np.ndarray
) -> dict[str, np.ndarray]:
    """Labels as places in numbers (C,), ascending; C or more for others of val and test."""
    places = {}
    for part, values in labels.items():
        place = np.searchsorted(numbers, values)
        unknown = numbers[np.minimum(place, len(numbers) - 1)] != values
        # others keep their number for the note, if it is no place
        place = np.where(unknown, np.maximum(values, len(numbers)), place)
        if part.startswith("train") and unknown.any():
            row = int(np.argmax(unknown))
            raise DataError(
                f"{path}: {part} label {values[row]} in row {row}; allowed are the numbers in "
                f"class_names: {some(numbers.tolist())}"
            )
        places[part] = place.astype(np.int64)
    return places
