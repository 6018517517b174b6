"""The data sets by name, what each one is, and load(), which loads one."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.config import registry as parts
from engine.config.messages import did_you_mean
from engine.data.parts import has_control, shown
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.data.base import Data
    from engine.data.image_files import Listing

IMAGE_SIZES = (8, 512)
IMAGE_FITS = ("pad", "crop", "stretch")
# families of one's own images, of any size
OWN_IMAGES = ("folder", "manifest", "labelstudio", "hf", "npz")
BACKBONE = "engine.data.backbone"  # imported when it is needed
DECODER = "engine.data.image_files"  # likewise
IMAGE_FILES = ("folder", "manifest", "labelstudio", "hf")
OWN = (*OWN_IMAGES, "features")  # families of data of one's own


@dataclass(frozen=True)
class Request:
    """The arguments of load(); each family of data sets uses what it needs."""

    name: str
    argument: str  # after the colon, "" without one
    root: Path
    seed: int
    image_size: int | None
    image_fit: str

    def path(self) -> Path:
        """The path that the argument names. Raises DataError."""
        if not self.argument:
            raise DataError(f"{self.name!r} needs a path after a colon, like npz:/data/mine.npz")
        try:
            return Path(self.argument).expanduser()
        except RuntimeError:
            home = self.argument.partition("/")[0]
            raise DataError(f"{self.name!r}: no home folder {home!r} on this machine") from None


@dataclass(frozen=True)
class DataSet:
    """One data set, or one family of them. Counts are None where they depend on the user's files.

    module: dotted name of the module whose load(request) loads it, or whose listing_of(request)
    names its image files; imported when that is needed.
    """

    usage: str
    description: str
    module: str
    shape: tuple[int, int, int] | None = None  # (C, H, W)
    n_train: int | None = None
    n_test: int | None = None
    n_classes: int | None = None
    needs_download: bool = False

    def load(self, request: Request) -> "Data":
        """Load the data set. Raises DataError and OSError."""
        data: Data
        if self.listing_of is None:
            data = import_module(self.module).load(request)
        else:
            data = import_module(DECODER).load(request, self.listing_of(request))
        return data

    @property
    def listing_of(self) -> Callable[[Request], "Listing"] | None:
        """Returns the image files of a request; None where the data set is of arrays."""
        return getattr(import_module(self.module), "listing_of", None)


def _published(
    name: str, description: str, shape: tuple[int, int, int], n_train: int, n_classes: int
) -> DataSet:
    return DataSet(
        name,
        description,
        "engine.data.published",
        shape,
        n_train,
        n_test=10_000,
        n_classes=n_classes,
        needs_download=True,
    )


DATASETS: dict[str, DataSet] = {
    "digits": DataSet(
        "digits",
        "handwritten digits, 8x8 gray; a run takes seconds",
        "engine.data.digits",
        shape=(1, 8, 8),
        n_train=1437,
        n_test=360,
        n_classes=10,
    ),
    "shapes": DataSet(
        "shapes[:N]",
        "ten generated shapes in any color, place and rotation; N training images, up to a million",
        "engine.data.shapes",
        shape=(3, 32, 32),
        n_train=10_000,
        n_test=2000,
        n_classes=10,
    ),
    "mnist": _published("mnist", "handwritten digits, 28x28 gray", (1, 28, 28), 60_000, 10),
    "fashion-mnist": _published("fashion-mnist", "clothes, 28x28 gray", (1, 28, 28), 60_000, 10),
    "cifar10": _published("cifar10", "animals and vehicles, 32x32 color", (3, 32, 32), 50_000, 10),
    "cifar100": _published("cifar100", "a hundred things, 32x32 color", (3, 32, 32), 50_000, 100),
    "npz": DataSet(
        "npz:PATH", "your own arrays in one .npz file in the MedMNIST layout", "engine.data.npz"
    ),
    "folder": DataSet(
        "folder:PATH",
        "your own image files in <class>/, or in train/<class>/, val/<class>/ and test/<class>/",
        "engine.data.folder",
    ),
    "manifest": DataSet(
        "manifest:FILE",
        "your own image files named with their labels in a .csv, .tsv, .jsonl or .parquet table",
        "engine.data.manifest",
    ),
    "labelstudio": DataSet(
        "labelstudio:FILE",
        "your own image files as tasks of Label Studio (.json), with annotations and predictions",
        "engine.data.labelstudio",
    ),
    "features": DataSet(
        "features:FILE",
        "rows of numbers instead of images, such as embeddings, in an .npy, .npz or .parquet file, "
        "or a table",
        "engine.data.features",
    ),
    "hf": DataSet(
        "hf:PATH_OR_NAME",
        "a data set that Hugging Face's datasets saved, or that it downloads by name "
        "(pip install 'mixnn-lab[hf]')",
        "engine.data.huggingface",
    ),
}


def load(
    name: str,
    *,
    root: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    image_size: int | None = None,
    image_fit: str = "pad",
    backbone: str | None = None,
    backbone_weights: str | None = None,
) -> "Data":
    """Load a data set by its name in DATASETS.

    root: the folder of downloads, by default the environment variable MIXNN_DATA or data/ in the
    project. limit: size of a stratified subset of the training samples, with at least one per
    class; the test part stays complete. seed: of that subset, and for shapes of the images.
    image_size, for OWN_IMAGES only: height and width of all images in pixels. image_fit: how
    images get that size, or the common one of a folder: "pad", "crop" or "stretch". backbone,
    backbone_weights: a pretrained network and its weights, whose features take the place of the
    images, see `backbone`; image files then get the size that it expects. Raises
    DataError, which names what is wrong and what is allowed.
    """
    key, colon, argument = name.partition(":")
    if has_control(name):
        raise DataError(f"the name {shown(name)!r} has control characters, which no data set has")
    entry = _entry(key)
    if entry is None:
        own = [name for name in parts.names("datasets") if name not in DATASETS]
        guess = did_you_mean(key, [*DATASETS, *own]) or "."
        if "/" in name or "." in name:
            guess = f"; a path follows its kind, such as folder:{shown(name)}."
        choices = ", ".join([*(entry.usage for entry in DATASETS.values()), *own])
        raise DataError(f"no data set is called {name!r}{guess} Choose from {choices}")
    if colon and ":" not in entry.usage:
        raise DataError(f"{key!r} takes no argument: {':' + argument!r} is one too many")
    if image_size is not None:
        low, high = IMAGE_SIZES
        if key not in OWN_IMAGES or not low <= image_size <= high:
            raise DataError(
                f"image_size {image_size} with {name!r}: allowed are {low} to {high} pixels, with "
                f"{', '.join(f'{family}:' for family in OWN_IMAGES)} only"
            )
    if backbone is not None and image_size is None and key in IMAGE_FILES:
        image_size = import_module(BACKBONE).image_size(backbone)
    if image_fit not in IMAGE_FITS:
        raise DataError(f"image_fit {image_fit!r}: allowed are {', '.join(IMAGE_FITS)}")
    try:
        data = entry.load(Request(name, argument, data_folder(root), seed, image_size, image_fit))
    except OSError as error:  # a name too long, a path that may not be read
        raise DataError(f"{shown(name)!r} cannot be read: {error.strerror or error}") from None
    data = data if limit is None else _limited(data, limit, seed)
    if backbone is None:
        return data
    made: Data = import_module(BACKBONE).features_of(
        data, backbone, backbone_weights, data_folder(root)
    )
    return made


def _limited(data: "Data", limit: int, seed: int) -> "Data":
    """A stratified subset of the training samples."""
    n_classes = len(data.labels.unique())
    if limit < n_classes:
        raise DataError(f"limit {limit} is less than one sample for each of {n_classes} classes")
    if limit >= data.n:
        return data
    return data.subset(stratified_sample(data.labels.numpy(), limit, seed))


def _entry(key: str) -> DataSet | None:
    """The data set of this name: a built-in one, or one of your own (`engine.register`)."""
    if key in DATASETS or parts.find("datasets", key) is None:
        return DATASETS.get(key)
    return DataSet(f"{key}[:ARGUMENT]", "a data set of your own", "engine.data.arrays")


def load_data(config: "RunConfig") -> "Data":
    """The data set that the settings of a run name. Raises DataError.

    Image files that a pretrained network is trained on get the size that it expects.
    """
    size, family = config.image_size, config.dataset.partition(":")[0]
    if size is None and parts.is_pretrained(config.network) and family in IMAGE_FILES:
        size = import_module(BACKBONE).image_size(config.network)
    return load(
        config.dataset,
        limit=config.limit,
        seed=config.data_seed,
        image_size=size,
        image_fit=config.image_fit,
        backbone=config.backbone,
        backbone_weights=config.backbone_weights,
    )


def request_of(config: "RunConfig") -> Request:
    """The data set that the settings of a run name, as a request to its module."""
    name, _, argument = config.dataset.partition(":")
    return Request(
        config.dataset, argument, data_folder(), config.data_seed, config.image_size,
        config.image_fit,
    )  # fmt: skip


def is_available(name: str, root: Path | None = None) -> bool:
    """Whether load needs no download for this name."""
    entry = DATASETS.get(name)
    return entry is None or not entry.needs_download or (data_folder(root) / f"{name}.npz").exists()


def data_folder(root: Path | None = None) -> Path:
    """The folder of downloads: root, else MIXNN_DATA, else data/ in the project."""
    default = Path(__file__).resolve().parents[2] / "data"
    return Path(root or os.environ.get("MIXNN_DATA") or default).expanduser()


def stratified_sample(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """A random sample of n rows (n,) int64, ascending, with the class shares of labels (N,).

    Counts differ from exact shares by less than one, except that each class gets one row at least.
    n is between the number of classes and N.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(labels)
    shares = counts * (n / len(labels))
    take = np.maximum(np.floor(shares), counts > 0).astype(int)
    while (missing := n - take.sum()) != 0:
        if missing > 0:
            take[np.argmax(shares - take)] += 1
        else:
            take[np.argmax(np.where(take > 1, take - shares, -np.inf))] -= 1
    rows = [rng.permutation(np.flatnonzero(labels == c))[:k] for c, k in enumerate(take)]
    return np.sort(np.concatenate(rows))
