"""What every form is written from: the samples of a run's data set, their files and labels."""

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from engine.analysis.review import FinalLabels, sample_ids
from engine.data.image_files import Listing
from engine.data.images import EXTENSIONS, open_image
from engine.data.layout import is_image
from engine.errors import DataError, ImageError, StoreError
from engine.runs.forks import data_of

if TYPE_CHECKING:
    from torch import Tensor

    from engine.analysis.label_issues import LabelIssues
    from engine.data import Data
    from engine.runs.folder import RunFolder

Read = Callable[[], bytes]
# id of an image of the training part -> its path in the data set as it came, and its content
Originals = Mapping[str, tuple[str, Read]]


class Sample(NamedTuple):
    """One image of the data set, of any part."""

    id: str
    part: str  # train, val or test
    name: str  # a path for a copy of it: relative, and unique also without its suffix
    source: Path | None  # its file, if it has one on this machine
    read: Read  # its content as it came; as PNG where it is no file
    label: int | None  # the final label; None: belongs to no class
    given: int
    row: int | None  # of the run's arrays; None where the run did not use it


@dataclass(frozen=True, eq=False)
class Bundle:
    """A run, its label issues and final labels.

    originals: where the files are that the run's own are copies of. root: the folder that paths in
    tables start at, by default that of the table. loaded: the decoded data set, if it is at hand.
    """

    run: "RunFolder"
    issues: "LabelIssues"
    final: FinalLabels
    originals: Originals | None = None
    root: Path | None = None
    loaded: "Data | None" = None

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return [str(name) for name in self.run.info["data"]["classes"]]

    @property
    def family(self) -> str:
        """What kind of data set it is: the part of its name before the colon."""
        return self.run.config.dataset.partition(":")[0]

    @cached_property
    def data(self) -> "Data":
        """The decoded data set. Raises StoreError if it is missing or has changed."""
        return self.loaded or data_of(self.run)

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the run's samples, in their order."""
        return sample_ids(self.run)

    @cached_property
    def _flagged(self) -> frozenset[int]:
        return frozenset(self.issues.flagged.tolist())

    def is_flagged(self, row: int | None) -> bool:
        """Whether a sample of the run has a label issue."""
        return row in self._flagged

    @property
    def has_files(self) -> bool:
        """Whether the data set is of image files, and no arrays."""
        from engine.data.registry import DATASETS

        entry = DATASETS.get(self.family)
        return entry is not None and entry.listing_of is not None

    @cached_property
    def listing(self) -> Listing | None:
        """The image files of the data set; None where it has none. Raises StoreError."""
        from engine.data.registry import DATASETS, request_of

        entry = DATASETS.get(self.family)
        if entry is None or entry.listing_of is None:
            return None
        try:
            found = entry.listing_of(request_of(self.run.config))
        except (DataError, OSError) as error:
            raise StoreError(f"{self.run.config.dataset} cannot be read: {error}") from None
        known = {file.id for file in found.files if file.part == "train"}
        lost = [name for name in self.ids if name not in known]
        if lost or sorted(found.classes) != sorted(self.classes):
            raise StoreError(
                f"{self.run.config.dataset} has changed since {self.run.folder} was created"
                + (f": {lost[0]} is missing" if lost else ": its classes are others")
            )
        return found

    def samples(self) -> Iterator[Sample]:
        """The images of all parts: those of the run in its order, then the others.

        Files that cannot be decoded are left out.
        """
        return self._from_arrays() if self.listing is None else self._from_files(self.listing)

    def _from_files(self, listing: Listing) -> Iterator[Sample]:
        n_train = sum(file.part == "train" for file in listing.files)  # they come first
        rows = matched([file.id for file in listing.files[:n_train]], self.ids)
        rows += [None] * (len(listing.files) - n_train)
        whole = self.run.config.limit is None  # then what the run lacks could not be decoded
        names = Names()
        for file, row in zip(listing.files, rows, strict=True):
            given = self.classes.index(listing.classes[file.label])
            if row is None and ((whole and file.part == "train") or not _opens(file.source)):
                continue
            original = (self.originals or {}).get(file.id)
            if original is not None:
                path, read = original
                source = None
            elif isinstance(file.source, bytes):
                path, source, read = file.id, None, partial(bytes, file.source)
            else:
                source, read = file.source, file.source.read_bytes
                path = file.id if is_image((file.id,)) else source.name
            label, given = self._labels(row, given)
            yield Sample(file.id, file.part, names.of(path, read), source, read, label, given, row)

    def _from_arrays(self) -> Iterator[Sample]:
        data, width = self.data, len(str(self.data.n))
        parts = {
            "train": (data.images, data.labels),
            "val": (data.val_images, data.val_labels),
            "test": (data.test_images, data.test_labels),
        }
        for part, (images, labels) in parts.items():
            if images is None or labels is None:
                continue
            for i in range(len(labels)):
                row = i if part == "train" else None
                label, given = self._labels(row, int(labels[i]))
                name = self.ids[i] if part == "train" else f"{part}-{i}"
                path = f"{part}/{name.zfill(width) if name.isdecimal() else name}.png"
                read = partial(_png_of, images[i])
                yield Sample(name, part, path, None, read, label, given, row)

    def _labels(self, row: int | None, loaded: int) -> tuple[int | None, int]:
        """The final label of an image, None where it is removed, and its given one."""
        if row is None:
            return loaded, loaded
        label = None if self.final.removed[row] else int(self.final.labels[row])
        return label, int(self.issues.given[row])


def matched(names: Sequence[str], ids: Sequence[str]) -> list[int | None]:
    """For each name its place in ids, which are some of the names in their order; else None.

    >>> matched(["a", "b", "a", "c"], ["b", "a"])
    [None, 0, 1, None]
    """
    places: list[int | None] = []
    at = 0
    for name in names:
        if at < len(ids) and name == ids[at]:
            places.append(at)
            at += 1
        else:
            places.append(None)
    return places


class Names:
    """Paths for copies of files: relative, plain, and unique also without their suffixes."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, path: str, read: Read) -> str:
        """A path like this one that is new. read: its content, if the path has no suffix."""
        parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]
        name = PurePosixPath(
            *[re.sub(r'[\0-\x1f:*?"<>|]', "_", part) for part in parts] or ["image"]
        )
        if not is_image((name.name,)):
            name = name.with_name(name.name + suffix_of(read()))
        stem, suffix = str(name.with_suffix("")), name.suffix
        free, number = stem, 2
        while free.casefold() in self._taken:
            free, number = f"{stem}-{number}", number + 1
        self._taken.add(free.casefold())
        return free + suffix


def path_of(sample: Sample, bundle: Bundle, folder: Path) -> str:
    """The path of a sample's file: from a folder where it is in it, or else absolute.

    Where the file is the copy of another, that one's path in the data set.
    """
    if bundle.originals and sample.id in bundle.originals:
        return bundle.originals[sample.id][0]
    if sample.source is None:
        raise StoreError(
            f"the images of {bundle.run.config.dataset} are no files of their own: use --as "
            "folders or huggingface"
        )
    own, root = Path(os.path.abspath(sample.source)), Path(os.path.abspath(folder))
    return own.relative_to(root).as_posix() if own.is_relative_to(root) else str(own)


def suffix_of(content: bytes) -> str:
    """The suffix of an image file by its content; .png where it cannot be opened."""
    try:
        with open_image(io.BytesIO(content)) as image:
            return EXTENSIONS.get(image.format or "", ".png")
    except ImageError:
        return ".png"


def as_png(image: np.ndarray) -> bytes:
    """An image (C, H, W) uint8 as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(out, "PNG")
    return out.getvalue()


def _png_of(image: "Tensor") -> bytes:
    return as_png(image.numpy())


def _opens(source: Path | bytes) -> bool:
    try:
        with open_image(io.BytesIO(source) if isinstance(source, bytes) else source):
            return True
    except (ImageError, OSError):
        return False
