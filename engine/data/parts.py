"""A labeled image set as NumPy arrays, and the checks of every data set; imports no torch."""

import itertools
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import DataError

LONGEST_CLASS_NAME = 200  # characters
LONGEST_CLASS_BYTES = 240  # of UTF-8; file systems end at 255
MOST_SHOWN = 120  # characters of a path in a message
DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # reorder a text

Part = tuple[np.ndarray, np.ndarray]  # images (N, C, H, W) uint8 and labels (N,) int64


class Notes(list[str]):
    """What was repaired or left out while loading, in sentences; and each file that was left out.

    left_out: name and reason of every file or row, of which the sentences name only the first.
    """

    def __init__(self, sentences: Iterable[str] = (), left_out: Iterable[tuple[str, str]] = ()):
        super().__init__(sentences)
        self.left_out = list(left_out)

    def leave_out(self, names: Iterable[str], reason: str) -> None:
        """Add files that are left out for one reason."""
        self.left_out += [(name, reason) for name in names]

    def add(self, others: "Notes") -> None:
        """Add other notes, and the files that they are about."""
        self += others
        self.left_out += others.left_out


@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays of an `engine.data.Data` before they become tensors; the same fields."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    test_images: np.ndarray
    test_labels: np.ndarray
    val_images: np.ndarray | None = None
    val_labels: np.ndarray | None = None
    true_labels: np.ndarray | None = None
    ids: tuple[str, ...] | None = None
    val_ids: tuple[str, ...] | None = None
    test_ids: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def check_parts(
    name: str,
    train: Part,
    test: Part | None,
    classes: Sequence[str],
    *,
    val: Part | None = None,
    true_labels: np.ndarray | None = None,
    ids: tuple[str, ...] | None = None,
    val_ids: tuple[str, ...] | None = None,
    test_ids: tuple[str, ...] | None = None,
    notes: Sequence[str] = (),
) -> Arrays:
    """Check images and labels of each part, without a copy of the images.

    Repairs, each with a note: no test part becomes one of length 0; a class without a training
    sample stays in the class list; images of such a class are dropped from the test and validation
    parts, since no network could learn it. Raises DataError on an empty training part, on fewer
    than two classes, on lengths or image shapes that do not fit, and on labels outside
    0..n_classes-1.
    """
    images, labels = train
    left_out = tuple(notes.left_out) if isinstance(notes, Notes) else ()
    notes = list(notes)
    for part, values in (("train", labels), ("train_true", true_labels)):
        if values is not None:
            _check_part(name, part, images, values, images.shape[1:])
            _check_below(name, part, values, len(classes))
    if len(labels) == 0:
        raise DataError(f"{name}: the training part is empty, at least two images are needed")
    counts = np.bincount(labels, minlength=len(classes))
    if (counts > 0).sum() < 2:
        only = classes[int(labels[0])]
        raise DataError(f"{name}: all training images are {only!r}, two classes are needed")
    empty = [kind for kind, count in zip(classes, counts.tolist(), strict=True) if not count]
    if empty:
        notes.append(
            f"No training image for {some(empty)}: kept as a class that cannot be learned."
        )
    if test is None:
        notes.append("No test part: test accuracy cannot be measured.")
        test = (images[:0], labels[:0])
    others: dict[str, Part] = {}
    other_ids = {"test": test_ids, "val": val_ids}
    for part, pair in (("test", test), ("val", val)):
        if pair is not None:
            _check_part(name, part, *pair, images.shape[1:])
            keep = _learnable(part, pair[1], counts, notes)
            others[part] = pair if keep.all() else (pair[0][keep], pair[1][keep])
            if (own := other_ids[part]) is not None:
                other_ids[part] = tuple(itertools.compress(own, keep))
    val_images, val_labels = others.get("val", (None, None))
    return Arrays(
        name,
        images,
        labels,
        tuple(classes),
        *others["test"],
        val_images,
        val_labels,
        true_labels=true_labels,
        ids=ids,
        val_ids=other_ids["val"],
        test_ids=other_ids["test"],
        notes=tuple(notes),
        left_out=left_out,
    )


def check_class_names(where: str, names: Sequence[str]) -> list[str]:
    """The names of the classes as they are displayed: NFC-normalized, without spaces at their ends.

    Raises DataError, which begins with where, on a name without a visible character, longer than
    200 characters or 240 bytes of UTF-8, or with a character that cannot be displayed (control
    characters, lone surrogates, marks that reorder text), and on two equal names.
    """
    plain: list[str] = []
    for raw in names:
        # before and after: normalization makes some texts longer
        n = max(len(raw), len(plain_class(raw))) if len(raw) <= LONGEST_CLASS_NAME else len(raw)
        if n > LONGEST_CLASS_NAME:
            raise DataError(
                f"{where}: the class name {shown(raw, 40)!r} has {n:,} characters; allowed "
                f"are {LONGEST_CLASS_NAME}"
            )
        if any(map(is_unprintable, raw)):
            raise DataError(
                f"{where}: the class name {shown(raw)!r} has a character that cannot be displayed; "
                "allowed are letters, digits, signs and spaces"
            )
        plain.append(plain_class(raw))
        if len(plain[-1].encode()) > LONGEST_CLASS_BYTES:
            raise DataError(
                f"{where}: the class name {shown(raw, 40)!r} has {len(plain[-1].encode())} bytes; "
                f"allowed are {LONGEST_CLASS_BYTES}"
            )
        if not any(unicodedata.category(c)[0] in "LNPSM" for c in plain[-1]):
            raise DataError(f"{where}: the name of class {len(plain) - 1} is empty")
    if len(set(plain)) < len(plain):
        twice = next(name for i, name in enumerate(plain) if name in plain[:i])
        raise DataError(
            f"{where}: two classes are called {twice!r} (spaces at the ends and the way accents "
            "are stored do not count); each class needs a name of its own"
        )
    return plain


def plain_class(name: str) -> str:
    """The class name of a class folder: NFC-normalized, since a Mac stores accents differently."""
    return unicodedata.normalize("NFC", name).strip()


def some(names: Sequence[object], most: int = 5) -> str:
    """The first few names and the number of the others: "a, b and 7 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def shown(name: str, most: int = 80) -> str:
    """An untrusted name for a message: without control characters, and shortened."""
    plain = "".join("\N{REPLACEMENT CHARACTER}" if is_unprintable(c) else c for c in name[:most])
    return plain if len(name) <= most else plain[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def has_control(text: str) -> bool:
    """Whether a text has control characters, such as NUL, which no path may have."""
    return any(unicodedata.category(character) == "Cc" for character in text)


def is_unprintable(character: str) -> bool:
    """Whether it is a control character, a lone surrogate, or one that reorders the text."""
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in DIRECTIONS
    )


def _check_part(
    name: str, part: str, images: np.ndarray, labels: np.ndarray, shape: tuple[int, ...]
) -> None:
    if len(images) != len(labels):
        raise DataError(f"{name}: {len(images)} {part} images but {len(labels)} {part} labels")
    if images.shape[1:] != shape:
        raise DataError(
            f"{name}: {part} images are {tuple(images.shape[1:])} (channels, height, width), "
            f"they must be {tuple(shape)} like the training images"
        )
    if len(labels) and labels.min() < 0:
        row = int(labels.argmin())
        raise DataError(f"{name}: {part} label {labels[row]} in row {row}; labels count from 0")


def _check_below(name: str, part: str, labels: np.ndarray, n_classes: int) -> None:
    if len(labels) and labels.max() >= n_classes:
        row = int(labels.argmax())
        raise DataError(
            f"{name}: {part} label {labels[row]} in row {row}; allowed are 0..{n_classes - 1}"
        )


def _learnable(part: str, labels: np.ndarray, counts: np.ndarray, notes: list[str]) -> np.ndarray:
    """(n,) bool: images whose class has a training sample; counts (C,) are these samples."""
    keep = np.isin(labels, np.flatnonzero(counts))
    if keep.all():
        return keep
    dropped = labels[~keep]
    notes.append(
        f"Dropped {len(dropped):,} of {len(labels):,} {part} images: no training image has their "
        f"label ({some(np.unique(dropped).tolist())})."
    )
    return keep
