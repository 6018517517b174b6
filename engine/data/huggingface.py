"""Data sets of Hugging Face's library datasets: saved ones, or downloaded by name."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.data import manifest
from engine.data.image_files import Listing
from engine.data.layout import PART_NAMES
from engine.data.parts import Notes, shown, some
from engine.data.tables import Row
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.registry import Request

LABELS = ("label", "labels", "fine_label", "class", "category")


def listing_of(request: "Request") -> Listing:
    """The images of the request's argument."""
    return listing(request.name, request.path(), request.argument)


def listing(name: str, path: Path, own_name: str) -> Listing:
    """The images of a folder that save_to_disk wrote at path, or else of the data set own_name.

    The latter is downloaded by datasets into its own cache, unless its variable HF_HUB_OFFLINE is
    set. Parts are its splits; the label is the column of class labels, or one of LABELS. Image
    files are decoded here, not by datasets. Raises DataError.
    """
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"{shown(name)!r} needs the library datasets: pip install 'mixnn-lab[hf]'"
        ) from None
    try:
        is_saved = any((path / file).is_file() for file in ("state.json", "dataset_dict.json"))
        found = datasets.load_from_disk(str(path)) if is_saved else datasets.load_dataset(own_name)
    except Exception as error:  # of the network, the hub, files and Arrow
        reason = str(error).partition("\n")[0][:200]
        raise DataError(
            f"{shown(name)!r} cannot be loaded: {reason}. Allowed are a folder written by "
            "save_to_disk, and the name of a data set on the hub, if this machine reaches it"
        ) from None
    splits = found if isinstance(found, dict) else {"train": found}
    rows: list[Row | None] = []
    notes = Notes()
    for split, part in splits.items():
        if split.lower() in PART_NAMES:
            rows += list(_rows(part, split))
        else:
            notes.append(f"Left out the split {shown(split, 40)}: {part.num_rows:,} rows.")
    if n := sum(row is None for row in rows):
        notes.append(f"Left out {n:,} rows without an image or a label.")
    sources = [row and (row.content or Path(row.path)) for row in rows]
    return manifest.listed(rows, sources, shown(name), notes)


def _rows(split: Any, name: str) -> Iterator[Row | None]:
    """The rows of one split; None without an image or label.

    Raises DataError where the columns of images and labels cannot be recognized.
    """
    import datasets

    features = split.features
    images = [key for key, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [key for key, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    labels = labels[:1] if len(labels) == 1 else [key for key in LABELS if key in features]
    if not images or not labels:
        raise DataError(
            f"the split {name} has the columns {some(list(features))}; needed are one of images "
            f"and one of labels: {', '.join(LABELS)}"
        )
    names = getattr(features[labels[0]], "names", None)
    part = PART_NAMES[name.lower()]
    for number, row in enumerate(split.cast_column(images[0], datasets.Image(decode=False))):
        image, label = row[images[0]], row[labels[0]]
        if isinstance(label, list | dict):
            raise DataError(
                f"row {number} of {name} has {shown(str(label), 60)}; one label per image"
            )
        if image is None or label is None or label == -1:  # -1: the hub's mark of a hidden label
            yield None
            continue
        text = str(names[label] if names else label)
        path = image["path"] or f"{number}"
        yield Row(f"{name}/{number}", path, part, text, None, image["bytes"])
