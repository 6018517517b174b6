"""Tables of labels: one row per image, from CSV, JSON Lines or Parquet; opens no image."""

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from engine.data.layout import PART_NAMES, is_hidden, is_image
from engine.data.parts import MOST_SHOWN, Notes, check_class_names, plain_class, shown, some
from engine.errors import DataError
from engine.files import raw_cell, safe_cell

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
# columns, by their names in lower case with _ for spaces; the first one that a table has counts
PATH = (
    "path",
    "file_name",
    "filename",
    "file",
    "image_path",
    "filepath",
    "image",
    "id",
    "image_id",
)
ID = ("id", "image_id")
LABEL = ("label_name", "class_name", "label", "class", "category", "target")
SPLIT = ("split", "part", "subset")
TRUE_LABEL = ("true_label", "clean_label")
ANNOTATOR = re.compile(r"(annotator|rater|label|vote)_?(\d+|[a-z]\w*)")  # label_1, annotator_ann
DELIMITERS = ",;\t"
MOST_ALONE = 10  # rows from which on labels that all differ are no classes
NO_FILE = "row whose file is missing or not the only one of its name"  # why they are left out
NO_LABEL = "row without an image or a label"
TWICE = "row for an image that has one already"
UNNAMED = "image that no table names"
CELL = 1 << 20  # characters at most

Path = tuple[str, ...]  # names of folders, and of the file
Rows = list[dict[str, Any]]


class Row(NamedTuple):
    """What a row says of an image."""

    id: str
    path: str  # as in the table
    part: str
    label: str
    true_label: str | None
    content: bytes | None = None  # the image file itself, as Parquet tables may hold it


class Labeled(NamedTuple):
    """An image that a row of a table labels."""

    table: Path
    number: int  # of the row, from 0
    row: Row
    path: Path


def read_rows(raw: bytes, name: str) -> Rows:
    """The rows of a table by its file name's suffix; keys as in its head. Raises DataError.

    All cells of a CSV are texts; a class called NA stays one. The apostrophe that `safe_cell` of
    engine/files.py puts before a formula is removed.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".parquet":
        return _from_parquet(raw, name)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{name} is not UTF-8 text; save it as CSV UTF-8") from None
    return _from_json_lines(text, name) if suffix == ".jsonl" else _from_csv(text, name)


def labeled(rows: Rows, name: str, notes: Notes, part: str = "train") -> list[Row | None]:
    """What each row says; None for those without a path or label, with a note.

    part: of rows without a column for it.

    Labels of several annotators become the majority, the first one's where there is none. Raises
    DataError on missing columns, on unknown parts and on several labels in one cell.
    """
    path, label, split, true, own, voters = _columns(rows)
    if path is None or (label is None and not voters):
        names = [shown(c, 40) for c in dict.fromkeys(column for row in rows for column in row)]
        raise DataError(
            f"{name} has the columns {some(names, 10)}; needed "
            "are path (or id) and label, or several annotators' labels as label_1, label_2"
        )
    if label is not None and voters:
        notes.append(
            f"{name}: the label is the one in {shown(label, 40)}; {some(voters)} not used."
        )
    found: list[Row | None] = []
    ties, n_voted, missing = 0, 0, []
    for number, row in enumerate(rows, 1):
        where = f"{name}, row {number}"
        if label is not None:
            given = plain_label(row.get(label), where)
        else:
            votes = [v for c in voters for v in _votes(row.get(c), where)]
            given, tied = majority(votes)
            ties, n_voted = ties + tied, n_voted + bool(votes)
        source, content = _source(row.get(path), where)
        if source is None or given is None:
            missing.append(number)
            found.append(None)
            continue
        own_part = part if split is None else _part(row.get(split), where)
        true_label = None if true is None else plain_label(row.get(true), where)
        name_of = plain_label(row.get(own), where) if own is not None else None
        found.append(Row(name_of or source, source, own_part, given, true_label, content))
    if n_voted:
        who = "annotators" if len(voters) == 1 else f"{len(voters)} annotators"
        notes.append(
            f"{name}: labels are the majority of {who}; {ties:,} of {n_voted:,} images without a "
            "majority have the label of the first."
        )
    notes.leave_out([f"{name}, row {number}" for number in missing], NO_LABEL)
    if missing:
        notes.append(
            f"{name}: left out {len(missing):,} rows without a path or label: {some(missing)}."
        )
    return found


def annotations(rows: Rows, name: str) -> tuple[tuple[str, ...], dict[str, list[str | None]]]:
    """The annotators of a table, and each one's label of each sample, by the id of its `Row`.

    There are annotators' labels also where another column has the label. None: no label.
    """
    path, _, _, _, own, voters = _columns(rows, with_lists=True)
    found: dict[str, list[str | None]] = {}
    for number, row in enumerate(rows, 1):
        where = f"{name}, row {number}"
        source = None if path is None else _source(row.get(path), where)[0]
        key = (plain_label(row.get(own), where) if own is not None else None) or source
        if key is None:
            continue
        cells: list[Any] = [row.get(column) for column in voters]
        if len(cells) == 1 and isinstance(cells[0], list | tuple):  # a list of labels
            cells = list(cells[0])
        found[key] = [plain_label(cell, where) for cell in cells]
    if len(voters) == 1:
        most = max(map(len, found.values()), default=0)
        return tuple(str(number) for number in range(1, most + 1)), found
    return tuple(voters), found


def find(rows: Sequence[Row | None], files: Iterable[Path], folder: Path) -> list[Path | None]:
    """The file of each row: its path from the table's folder, or else the only file of that name.

    A name may lack its suffix, as ids do. None where there is no such file, or several.
    """
    known = set(files)
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in known:
        by_name[path[-1]].append(path)
        by_name[PurePosixPath(path[-1]).stem].append(path)
    found: list[Path | None] = []
    for row in rows:
        names = () if row is None else tuple(p for p in _posix(row.path).split("/") if p != ".")
        exact = next((path for path in ((*folder, *names), names) if path in known), None)
        close = by_name[names[-1]] if names and exact is None else []
        found.append(exact or (close[0] if len(close) == 1 else None))
    return found


def in_files(
    files: Iterable[Path],
    read: Callable[[Path], bytes],
    notes: Notes,
    read_rows: Callable[[bytes, str], Rows] = read_rows,
) -> list[Labeled]:
    """The images that tables among some files label, at most once each.

    Tables are those with the columns that `labeled` needs. The part is that of the column split,
    else of the table's folder or name (train/metadata.csv, train.csv). read: the content of a file.
    read_rows: the rows of a table, given its content and name.
    """
    paths = sorted(path for path in files if not is_hidden(path))
    images = [path for path in paths if is_image(path)]
    found: list[Labeled] = []
    taken: dict[Path, None] = {}
    for table in paths:
        if PurePosixPath(table[-1]).suffix.lower() not in SUFFIXES:
            continue
        name = "/".join(table)
        own = Notes()
        stem = PurePosixPath(table[-1]).stem.lower()
        parts = [PART_NAMES[n.lower()] for n in (*table[:-1], stem) if n.lower() in PART_NAMES]
        try:
            rows = labeled(read_rows(read(table), name), name, own, parts[0] if parts else "train")
        except DataError as error:
            notes.append(f"{name} was not used: {error}.")
            continue
        places = find(rows, images, table[:-1])
        if not any(places):
            notes.append(f"{name} was not used: none of its rows names an image here.")
            continue
        notes.append(f"Labels are from {name}.")
        notes.add(own)
        pairs = [(row, path) for row, path in zip(rows, places, strict=True) if row]
        lost = [row.path for row, path in pairs if path is None]
        notes.leave_out(lost, NO_FILE)
        if lost:
            notes.append(
                f"{name}: left out {len(lost):,} rows whose file is missing or not the only one of "
                f"its name: {some([shown(path, MOST_SHOWN) for path in lost])}."
            )
        twice = [row.path for row, path in pairs if path in taken]
        notes.leave_out(twice, TWICE)
        if twice:
            notes.append(f"{name}: left out {len(twice):,} rows for an image that has one already.")
        for number, (row, path) in enumerate(zip(rows, places, strict=True)):
            if row and path and path not in taken:
                taken[path] = None
                found.append(Labeled(table, number, row, path))
    if unnamed := ["/".join(path) for path in images if found and path not in taken]:
        names = some([shown(path, MOST_SHOWN) for path in unnamed])
        notes.append(f"Left out {len(unnamed):,} images that no table names: {names}.")
        notes.leave_out(unnamed, UNNAMED)
    return found


def class_names(rows: Iterable[Row], where: str) -> list[str]:
    """The classes of the training rows, by number where all are whole numbers, else by name."""
    train = [row for row in rows if row.part == "train"]
    names = {row.label for row in train}
    if len(names) == len(train) >= MOST_ALONE:
        raise DataError(
            f"{where}: each of {len(train):,} rows has a label of its own; allowed are classes"
        )
    names |= {row.true_label for row in train if row.true_label}
    if all(re.fullmatch(r"-?\d{1,9}", name) for name in names):
        ordered = sorted(names, key=int)
    else:
        ordered = sorted(names)
    return check_class_names(where, ordered)


def changed(raw: bytes, name: str, labels: Mapping[int, str | None]) -> bytes:
    """The table with other labels, row (from 0) -> label; None removes the row.

    All other rows stay as they came, byte for byte; in Parquet, value for value. Without a column
    of labels it gets one.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".parquet":
        return _changed_parquet(raw, labels)
    text = raw.decode("utf-8-sig")
    mark = "\ufeff" if raw.startswith(b"\xef\xbb\xbf") else ""
    if suffix == ".jsonl":
        return (mark + _changed_json_lines(text, labels)).encode()
    return (mark + _changed_csv(text, labels)).encode()


def label_column(columns: Iterable[Any]) -> Any:
    """The name of the column of labels as the table has it; None without one."""
    plain = {plain_column(column): column for column in columns}
    return next((plain[kind] for kind in LABEL if kind in plain), None)


class _Columns(NamedTuple):
    """The names of the columns that are used, as in the table."""

    path: str | None
    label: str | None
    split: str | None
    true_label: str | None
    id: str | None
    annotators: list[str]


def _columns(rows: Rows, with_lists: bool = False) -> _Columns:
    """with_lists: a column "labels" holds annotators' labels also beside one of labels."""
    columns = {plain_column(column): column for row in rows for column in row}
    path, label, split, true, own = (
        next((columns[kind] for kind in kinds if kind in columns), None)
        for kinds in (PATH, LABEL, SPLIT, TRUE_LABEL, ID)
    )
    used = {path, label, split, true, own}
    voters = [c for plain, c in columns.items() if ANNOTATOR.fullmatch(plain) and c not in used]
    if (label is None or (with_lists and not voters)) and "labels" in columns:
        voters = [columns["labels"]]
    return _Columns(path, label, split, true, own, voters)


def plain_column(column: object) -> str:
    """A column's name in lower case with _ for spaces."""
    return str(column).strip().lower().replace(" ", "_").replace("-", "_")


def _posix(path: str) -> str:
    return path.replace("\\", "/")


def _from_csv(text: str, name: str) -> Rows:
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
        head = next(lines, [])
        rows = [line for line in lines if line]
    except csv.Error as error:
        raise DataError(f"{name} is no CSV: {error}") from None
    if twice := [column for column, n in Counter(head).items() if column and n > 1]:
        raise DataError(f"{name} has {shown(twice[0], 40)!r} twice among its columns; rename one")
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise DataError(f"{name}, row {number} has {len(row)} cells, its head {len(head)}")
    return [dict(zip(head, map(raw_cell, row), strict=True)) for row in rows]


def _delimiter(text: str) -> str:
    head = text.partition("\n")[0]
    return max(DELIMITERS, key=head.count)


def _from_json_lines(text: str, name: str) -> Rows:
    rows: Rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{name}, line {number} is no JSON object")
        rows.append(row)
    return rows


def _from_parquet(raw: bytes, name: str) -> Rows:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(pyarrow.BufferReader(raw)).read(use_threads=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{name} is no Parquet file: {str(error)[:100]}") from None
    return with_class_names(table.to_pylist(), (table.schema.metadata or {}).get(b"huggingface"))


def with_class_names(rows: Rows, features: bytes | None) -> Rows:
    """The rows with names instead of numbers, where Hugging Face's description has the names."""
    for column, names in class_label_names(features).items():
        for row in rows:
            if isinstance(row[column], int) and 0 <= row[column] < len(names):
                row[column] = names[row[column]]
    return rows


def class_label_names(features: bytes | None) -> dict[str, list[str]]:
    """Column -> names of its classes, by Hugging Face's description of a table."""
    if features is None:
        return {}
    described = json.loads(features).get("info", {}).get("features", {})
    kinds = {column: kind for column, kind in described.items() if isinstance(kind, dict)}
    return {column: kind["names"] for column, kind in kinds.items() if kind.get("names")}


def plain_label(value: Any, where: str) -> str | None:
    """A cell as a text; None where it is empty. Raises DataError on several values in one cell."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, list | tuple | dict):
        raise DataError(
            f"{where} has {shown(str(value), 60)}; one label per image is needed. Of several "
            "labels, check one at a time: make a column of yes and no for a class"
        )
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None if value != value else value
    text = "" if value is None else plain_class(str(value))
    return text or None


def _source(value: Any, where: str) -> tuple[str | None, bytes | None]:
    """The path of an image, and its content where the table holds it."""
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
        return str(value.get("path") or where.rpartition(" ")[2]), value["bytes"]
    return (None if value is None else str(value).strip() or None), None


def _votes(value: Any, where: str) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [text for v in values if (text := plain_label(v, where)) is not None]


def majority(votes: Sequence[str]) -> tuple[str | None, bool]:
    """The most frequent vote, and whether several are; then it is the first vote."""
    counts = Counter(votes).most_common(2)
    tied = len(counts) == 2 and counts[0][1] == counts[1][1]
    return (votes[0] if tied else counts[0][0]) if votes else None, tied


def _part(value: Any, where: str) -> str:
    text = plain_label(value, where)
    part = PART_NAMES.get((text or "train").lower())
    if part is None:
        raise DataError(
            f"{where} has the split {shown(str(text), 40)!r}; allowed are train, val and test"
        )
    return part


def _changed_json_lines(text: str, labels: Mapping[int, str | None]) -> str:
    out, number = [], 0
    for line in text.splitlines(keepends=True):
        if line.strip():
            out.append(_changed_line(line, labels.get(number)) if number in labels else line)
            number += 1
        else:
            out.append(line)
    return "".join(out)


def _changed_line(line: str, label: str | None) -> str:
    """A line with this label; empty for None."""
    if label is None:
        return ""
    row = json.loads(line)
    column = label_column(row) or "label"
    if plain_label(row.get(column), "") == label:
        return line
    is_number = isinstance(row.get(column), int) and label.lstrip("-").isdigit()
    end = line[len(line.rstrip("\r\n")) :]
    new = row | {column: int(label) if is_number else label}
    return json.dumps(new, ensure_ascii=False) + end


def _changed_csv(text: str, labels: Mapping[int, str | None]) -> str:
    delimiter = _delimiter(text)
    lines = io.StringIO(text, newline="").readlines()
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    head = next(reader)
    end = lines[0][len(lines[0].rstrip("\r\n")) :] or "\n"
    column = label_column(reversed(head))  # the first of several
    place = None if column is None else head.index(column)

    def written(cells: list[str]) -> str:
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter, lineterminator=end).writerow(cells)
        return out.getvalue()

    own = {}  # label -> the cell that the table itself has for it
    if place is not None:
        rows = csv.reader(lines[reader.line_num :], delimiter=delimiter, strict=True)
        own = {_label_in(row[place]): row[place].strip() for row in rows if row}
    before = reader.line_num
    out = ["".join(lines[:before]) if place is not None else written([*head, "label"])]
    number = 0
    for row in reader:
        raw, before = "".join(lines[before : reader.line_num]), reader.line_num
        label = labels.get(number, "")
        if row and label is None:
            raw = ""
        elif row and place is None:
            raw = written([*row, safe_cell(label or "")])
        elif row and label and place is not None and label != _label_in(row[place]):
            cell = own.get(label, safe_cell(label))
            raw = written([*row[:place], cell, *row[place + 1 :]])
        out.append(raw)
        number += bool(row)
    return "".join(out)


def _label_in(cell: str) -> str:
    return plain_class(raw_cell(cell))


def _changed_parquet(raw: bytes, labels: Mapping[int, str | None]) -> bytes:
    import pyarrow
    import pyarrow.parquet as parquet

    table = parquet.ParquetFile(pyarrow.BufferReader(raw)).read(use_threads=False)
    column = label_column(table.column_names)
    names = class_label_names((table.schema.metadata or {}).get(b"huggingface")).get(column, [])
    if column is None:
        values: list[Any] = [None] * table.num_rows
        kind = pyarrow.string()
    else:
        values, kind = table[column].to_pylist(), table.schema.field(column).type
    for number, label in labels.items():
        if label is not None and plain_label(values[number], "") != label:
            is_number = pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)
            values[number] = names.index(label) if label in names else label
            if is_number and isinstance(values[number], str):
                values[number] = int(label)
    new = pyarrow.array(values, kind)
    if column is None:
        table = table.append_column("label", new)
    else:
        place = table.column_names.index(column)
        table = table.set_column(place, table.schema.field(column), new)
    removed = {number for number, label in labels.items() if label is None}
    table = table.take([i for i in range(table.num_rows) if i not in removed])
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()
