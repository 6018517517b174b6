"""Results on disk, read within limits, and the conclusions of the shipped ones from the README.

A folder of results is untrusted: only plain files inside it are opened, links are refused.
"""

import functools
import io
import os
import re
import shlex
import stat
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
from pydantic import BaseModel, Field, ValidationError

from engine.errors import StoreError
from engine.experiments.base import (
    DEFAULT_N_SEEDS,
    FORMS,
    MOST_ROWS,
    N_SEEDS,
    QUICK_LIMIT,
)
from engine.experiments.figures import FIGURES, Figures
from engine.files import printable, raw_cell, read_json

README = Path(__file__).with_name("README.md")
MOST_BYTES = 8 << 20  # of one file
MOST_COLUMNS, MOST_PIXELS = 100, 20_000_000
MOST_RESULTS = 200  # of one folder
# columns whose values are panels and lines of a figure
GROUPS = ["metric", "method", "rate", "noise", "k", "alpha", "variant", "kind", "labels",
          "human_labels", "finder"]  # fmt: skip
MOST_GROUPS = 40

Names = Annotated[dict[str, str], Field(max_length=30)]


class Result(BaseModel):
    """What the JSON file of a result says, see `registry.answer`; tables: name -> file."""

    experiment: str
    question: str
    form: str = "quick"
    seeds: Annotated[list[int], Field(min_length=1, max_length=1000)]
    n_runs: int
    n_missing: int = 0
    seconds_a_run: float | None = None
    networks: list[str] = []
    machine: dict[str, Any] = {}
    trained_on_commits: list[str] = []
    settings: dict[str, Any] = {}
    varied: dict[str, list[Any]] = {}
    answers: Annotated[list[str], Field(max_length=300)] = []
    tables: Names = {}
    figures: Annotated[list[str], Field(max_length=30)] = []


class Conclusion(NamedTuple):
    """What the README concludes from the shipped results: in a few words, and as Markdown."""

    short: str
    text: str


def stems(folder: Path) -> dict[str, list[str]]:
    """Experiment -> its results in a folder, NAME-DATASET each; {} without a folder."""
    found: dict[str, list[str]] = {}
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if _is_file(entry))
    except OSError:
        return {}
    for name in names[:MOST_RESULTS]:
        stem = name.removesuffix(".json")
        of = [known for known in FIGURES if f"{stem}-".startswith(f"{known}-")]
        if of and stem != name and printable(name) == name:
            found.setdefault(max(of, key=len), []).append(stem)
    return found


def read(folder: Path, stem: str) -> Result:
    """A result of `stems`. Raises StoreError for a file that is broken or of something else."""
    path = _checked(folder, f"{stem}.json")
    try:
        result = Result.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        raise StoreError(f"{path} cannot be used: {where}: {first['msg']}") from None
    if result.experiment not in FIGURES:
        raise StoreError(f"{path} cannot be used: it is of {result.experiment!r}, no experiment")
    return result


def table(folder: Path, name: str) -> pd.DataFrame:
    """A table of a result. Raises StoreError, also for more than MOST_ROWS rows."""
    content = _bytes(folder, name)
    if content[: content.find(b"\n")].count(b",") >= MOST_COLUMNS:
        raise StoreError(f"{name} has more than {MOST_COLUMNS} columns")
    try:
        frame = pd.read_csv(io.BytesIO(content), nrows=MOST_ROWS + 1)
    except (ValueError, OverflowError, MemoryError) as error:  # also pandas' own errors
        raise StoreError(f"{name} is no table: {str(error)[:200]}") from None
    if len(frame) > MOST_ROWS:
        raise StoreError(f"{name} has more than {MOST_ROWS:,} rows")
    texts = frame.select_dtypes(exclude="number").columns
    frame = frame.assign(**{column: frame[column].map(raw_cell) for column in texts})
    return frame.rename(columns=raw_cell)


def is_corrected(frame: pd.DataFrame) -> bool:
    """Whether the tests of a table are corrected for multiple comparisons, or it has none.

    Older tables have `clear` without the corrected `p` from which it follows.
    """
    return "clear" not in frame or "p" in frame


def picture(folder: Path, name: str) -> bytes:
    """A figure of a result as PNG. Raises StoreError for any other file."""
    from engine.data.images import open_image
    from engine.errors import DataError

    content = _bytes(folder, name)
    try:
        with open_image(io.BytesIO(content)) as image:
            if image.format != "PNG" or image.width * image.height > MOST_PIXELS:
                raise StoreError(f"{name} is no PNG of at most {MOST_PIXELS // 10**6} megapixels")
            image.load()
    except DataError:
        raise StoreError(f"{name} is no PNG that can be read") from None
    return content


def drawn(experiment: str, tables: dict[str, pd.DataFrame]) -> Figures:
    """The figures of an experiment from its stored tables. Raises StoreError where they lack some.

    For a machine without a browser, which stores no pictures.
    """
    for frame in tables.values():
        for column in frame.columns.intersection(GROUPS):
            if (n := frame[column].nunique()) > MOST_GROUPS:
                raise StoreError(f"the figures cannot be drawn: {column} has {n:,} values")
    try:
        return FIGURES[experiment](tables)
    except Exception as error:  # whatever a table of somebody else may lead to
        why = f"{type(error).__name__}: {str(error)[:100]}"
        raise StoreError(f"the figures cannot be drawn from the stored tables ({why})") from None


def command(result: Result) -> str:
    """The command that repeats a result."""
    settings = result.settings
    dataset = str(settings.get("dataset", FORMS["quick"]["dataset"]))
    family = dataset.partition(":")[0]
    words = ["python", "-m", "engine", "experiment", result.experiment]
    if result.form != "quick":
        words += ["--form", result.form]
    if dataset != FORMS.get(result.form, {}).get("dataset"):
        words += ["--dataset", dataset]
    limit = settings.get("limit")
    if limit is not None and limit != QUICK_LIMIT.get(family):
        words += ["--limit", str(limit)]
    if settings.get("noise") == "human" and result.experiment == "detection":
        words += ["--noise", "human"]
    if result.seeds != list(range(N_SEEDS.get(family, DEFAULT_N_SEEDS))):
        words += ["--seed", ",".join(map(str, result.seeds))]
    return shlex.join(words)


@functools.cache
def conclusions() -> dict[str, Conclusion]:
    """Experiment -> what the README concludes from the shipped results; {} without a README."""
    try:
        readme = README.read_text()
    except OSError:
        return {}
    short = dict(
        re.findall(r"^\| \[([\w-]+)\]\(#[\w-]+\) \|[^|]*\| (.*) \|$", readme, re.MULTILINE)
    )
    sections = re.split(r"^## (.+)\n", readme, flags=re.MULTILINE)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    return {
        name: Conclusion(short[name], _without_files(texts[name]))
        for name in FIGURES
        if name in short and name in texts
    }


def _without_files(section: str) -> str:
    """The Markdown of a section below its question, without pictures and links to files."""
    lines = [line for line in section.strip().splitlines() if not line.startswith("![")]
    if lines and lines[0].startswith("*"):  # the question
        del lines[0]
    text = "\n".join(lines).strip()
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)\s]*\)", r"\1", text)


def _is_file(entry: os.DirEntry) -> bool:
    return entry.is_file(follow_symlinks=False)


def _checked(folder: Path, name: str) -> Path:
    """The path of a plain file in a folder. Raises StoreError for anything else."""
    path = folder / name
    try:
        if name != os.path.basename(name) or not stat.S_ISREG((found := os.lstat(path)).st_mode):
            raise StoreError(f"{name!r} is no plain file in {folder.name}/")
    except (OSError, ValueError):
        raise StoreError(f"{name!r} is missing in {folder.name}/") from None
    if found.st_size > MOST_BYTES:
        raise StoreError(f"{name} is larger than {MOST_BYTES >> 20} MB")
    return path


def _bytes(folder: Path, name: str) -> bytes:
    try:
        with open(_checked(folder, name), "rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise StoreError(f"{name} cannot be read: {error.strerror}") from None
