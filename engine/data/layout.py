"""Which files of a folder are images of which part and class; knows paths, opens no file."""

import os
import pathlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from engine.data.images import SUFFIXES
from engine.data.parts import MOST_SHOWN, Notes, check_class_names, plain_class, shown, some
from engine.errors import DataError

PARTS = ("train", "val", "test")
PART_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val",
              "validation": "val", "test": "test", "testing": "test"}  # fmt: skip
SYSTEM = ("__MACOSX", "Thumbs.db", "desktop.ini")  # what operating systems leave behind
# why a file is left out: in a sentence about one, and about several
HIDDEN = ("hidden file or file of an operating system",
          "hidden files or files of an operating system")  # fmt: skip
OTHER = ("file that is no image by its name", "files that are no images by their names")
OUTSIDE = ("image outside the class folders", "images outside the class folders")
UNKNOWN = ("image whose class has no training image",
           "images whose classes have no training image")  # fmt: skip

Path = tuple[str, ...]  # names of folders, and of the file
Why = tuple[str, str]


@dataclass(frozen=True)
class Layout:
    """The folders above the class folders."""

    prefix: str = ""  # above the classes or parts, "pets/"
    parts: dict[str, str] | None = None  # "val" -> the name of its folder; None: only classes


@dataclass
class Arrangement:
    """What the files of a folder are."""

    layout: Layout
    classes: list[str]  # of the training part, as displayed, in the order of their folders
    images: dict[Path, tuple[str, str]]  # path -> part and class; by part, class folder, name
    left_out: dict[Why, list[Path]] = field(default_factory=dict)  # why -> paths, sorted
    remarks: list[str] = field(default_factory=list)  # more sentences

    @property
    def depth(self) -> int:
        """The number of folders above the class folder of an image."""
        return self.layout.prefix.count("/") + (self.layout.parts is not None)

    def notes(self) -> Notes:
        """One sentence for each reason why files are left out: how many, and the first names."""
        found = _notes(self.left_out)
        found += self.remarks
        return found

    def notes_on_files(self, used: Collection[Path]) -> Notes:
        """The notes on files that are no images, except for those in used."""
        others = {why: self.left_out.get(why, []) for why in (HIDDEN, OTHER)}
        return _notes({why: [p for p in paths if p not in used] for why, paths in others.items()})


def arrange(paths: Iterable[Path], where: str) -> Arrangement:
    """Find the parts and classes of image files by their paths.

    Classes are the folders in train/, or the topmost folders where there is no train/; both may lie
    in further folders that hold nothing else. All images below a class folder belong to it. Two
    folders whose names differ only in how accents are stored, or in spaces at the ends, are one
    class. where: begins the messages. Raises DataError on names that are not allowed, on two
    folders for one part, and on other parts without train/.
    """
    left_out: dict[Why, list[Path]] = {why: [] for why in (HIDDEN, OTHER, OUTSIDE, UNKNOWN)}
    found: list[Path] = []
    for path in sorted(paths):
        if is_hidden(path):
            left_out[HIDDEN].append(path)
        elif not is_image(path):
            left_out[OTHER].append(path)
        else:
            found.append(path)
    outer = _outer_folders(found)
    depth = len(outer)
    parts = _parts_in([path[depth:] for path in found], where)
    layout = Layout("".join(f"{name}/" for name in outer), parts)
    part_of = {own: part for part, own in (parts or {}).items()}
    by_part: dict[str, list[tuple[str, Path]]] = {part: [] for part in PARTS}
    for path in found:
        own = path[depth:]
        part = "train" if parts is None else part_of.get(own[0] if own else "")
        below = own if parts is None else own[1:]
        if part is None or len(below) < 2:
            left_out[OUTSIDE].append(path)
        else:
            by_part[part].append((below[0], path))
    for part, files in by_part.items():  # before names are compared: they must be readable
        _check_names(f"{where}: {part}/", [kind for kind, _ in files])
    classes = list(dict.fromkeys(plain_class(kind) for kind, _ in by_part["train"]))
    images: dict[Path, tuple[str, str]] = {}
    known = set(classes)
    for part, files in by_part.items():
        for kind, path in files:
            if (name := plain_class(kind)) in known:
                images[path] = part, name
            else:
                left_out[UNKNOWN].append(path)
    return Arrangement(layout, classes, images, {k: sorted(v) for k, v in left_out.items() if v})


def moved(found: Arrangement, classes: Mapping[Path, str]) -> dict[Path, Path]:
    """New paths of images that get other classes; no two files get the same path.

    classes: path of an image -> its new class. The file keeps its name and the folders above and
    below its class folder, unless another file has that path: then its name says where it is from.
    """
    folders: dict[tuple[Path, str], str] = {}  # the class folders as they are called
    for path, (_, kind) in found.images.items():
        folders.setdefault((path[: found.depth], kind), path[found.depth])
    others = [path for paths in found.left_out.values() for path in paths]
    taken = {_folded(path) for path in (*found.images, *others) if path not in classes}
    new: dict[Path, Path] = {}
    for path, kind in classes.items():
        above, own, below = path[: found.depth], path[found.depth], path[found.depth + 1 :]
        folder = folders.get((above, kind), kind)
        free, number = (*above, folder, *below), 1
        while _folded(free) in taken:
            name, more = PurePosixPath(path[-1]), f"-{number}" if number > 1 else ""
            name = name.with_name(f"{name.stem}-from-{plain_class(own)}{more}{name.suffix}")
            free, number = (*above, folder, *below[:-1], str(name)), number + 1
        taken.add(_folded(free))
        new[path] = free
    return new


def list_files(
    root: pathlib.Path, see_empty: Callable[[Path], None] = lambda folder: None
) -> Iterator[Path]:
    """The files below root, in any order; links are followed once.

    see_empty: called with each folder that holds nothing.
    """
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (real := (status.st_dev, status.st_ino)) in seen:
            folders.clear()
            continue
        seen.add(real)
        own = pathlib.Path(folder).relative_to(root).parts
        if not folders and not files:
            see_empty(own)
        yield from ((*own, name) for name in files)


def is_hidden(path: Path) -> bool:
    """Whether a file is hidden, in a hidden folder, or left behind by an operating system."""
    return any(name.startswith(".") or name in SYSTEM for name in path)


def says_loss(note: str) -> bool:
    """Whether a note is about images that are left out, not only about other files."""
    return "eft out" in note and not any(words in note for words in (*HIDDEN, *OTHER))


def is_image(path: Path) -> bool:
    """Whether a file's name has a suffix of an image file."""
    return bool(path) and PurePosixPath(path[-1]).suffix.lower() in SUFFIXES


def _folded(path: Path) -> str:
    """What two paths have in common that are one file where case does not count."""
    return "/".join(path).casefold()


def _outer_folders(images: list[Path]) -> Path:
    """The folders that lead to the only one with several folders of images, or with parts."""
    outer: Path = ()
    while True:
        inside = [path[len(outer) :] for path in images if len(path) > len(outer) + 1]
        first = {path[0] for path in inside}
        if len(first) != 1 or all(len(path) == 2 for path in inside):
            return outer
        [name] = first
        if name.lower() in PART_NAMES:
            return outer
        outer += (name,)


def _parts_in(images: list[Path], where: str) -> dict[str, str] | None:
    """Part -> its folder; None where the topmost folders are the classes."""
    folders = sorted({path[0] for path in images if len(path) > 1})
    own = [name for name in folders if name.lower() in PART_NAMES]
    names: dict[str, str] = {}
    for name in own:
        part = PART_NAMES[name.lower()]
        if part in names:
            raise DataError(f"{where} holds both {names[part]!r} and {name!r}; keep one of them")
        names[part] = name
    if "train" not in names:
        if own and len(own) == len(folders):
            raise DataError(
                f"{where} has {', '.join(own)} but no train; images to train on belong in "
                "train/<class>/"
            )
        return None
    in_train = [len(path) for path in images if path[:1] == (names["train"],)]
    # a class may be called "train" as well: then most of its images are directly in it
    is_class = in_train.count(2) >= len(in_train) / 2 and len(own) < len(folders)
    return None if is_class else names


def _check_names(where: str, names: Iterable[str]) -> None:
    """Raise DataError on a class name that is not allowed."""
    for name in dict.fromkeys(names):
        [plain] = check_class_names(where, [name])
        if plain.startswith("."):
            raise DataError(f"{where}: the class name {plain[:40]!r} begins with a dot")


def _notes(left_out: Mapping[Why, list[Path]]) -> Notes:
    notes = Notes(f"{_sentence(why, paths)}." for why, paths in left_out.items() if paths)
    for why, paths in left_out.items():
        notes.leave_out(("/".join(path) for path in paths), why[0])
    return notes


def _sentence(why: Why, paths: list[Path]) -> str:
    names = some([shown("/".join(path), MOST_SHOWN) for path in paths])
    kinds = ""
    if why == OTHER:
        suffixes = Counter(PurePosixPath(path[-1]).suffix.lower() or "no suffix" for path in paths)
        kinds = f" ({', '.join(f'{n:,} {kind}' for kind, n in suffixes.most_common(5))})"
    return f"Left out {len(paths):,} {why[len(paths) > 1]}{kinds}: {names}"
