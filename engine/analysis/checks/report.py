"""The report of all checks of a data set: one dataclass, as JSON; reports/ and the app draw it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

SEVERITIES = ("error", "warning", "note", "ok", "skipped")  # the worst first
MOST_LISTED = 20_000  # items of one check


@dataclass(frozen=True)
class Sample:
    """One sample that a check names."""

    part: str  # "train", "val" or "test"
    row: int  # in its part
    id: str  # a path or an id of its own; else its row
    label: str  # name of the given class


@dataclass(frozen=True)
class Item:
    """One finding: a sample, or several that belong together, such as duplicates."""

    samples: tuple[Sample, ...]
    text: str  # what is said about it, a few words
    score: float  # the larger, the worse
    suggested: str | None = None  # name of another class, where the label may be wrong


@dataclass(frozen=True)
class Table:
    """Numbers of a check: a head, and rows as long as it."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Check:
    """The result of one check. summary: one or two sentences, also where nothing was found."""

    kind: str  # as in JSON, such as "near_duplicates"
    title: str
    severity: str  # one of SEVERITIES
    count: int  # of all items
    summary: str
    items: tuple[Item, ...] = ()  # the worst first, MOST_LISTED at most
    table: Table | None = None


@dataclass(frozen=True)
class Report:
    """All checks of a data set."""

    dataset: str
    counts: dict[str, int]  # samples of each part that is not empty
    shape: tuple[int, ...]  # (C, H, W) of an image, (D,) of a row
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]  # training samples of each class
    health: float | None  # estimated share of right labels; None where it is not known
    evidence: str  # what labels were judged by, one sentence
    checks: tuple[Check, ...]
    notes: tuple[str, ...]  # repairs made while loading
    left_out: tuple[tuple[str, str], ...] = ()  # name and reason of each file that was not read

    def __getitem__(self, kind: str) -> Check:
        return next(check for check in self.checks if check.kind == kind)

    def by_severity(self) -> list[Check]:
        """The checks, the worst first."""
        return sorted(self.checks, key=lambda check: SEVERITIES.index(check.severity))

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and texts, for JSON."""
        return asdict(self)


def check(
    kind: str,
    title: str,
    items: Sequence[Item],
    found: str,
    nothing: str,
    severity: str = "warning",
    table: Table | None = None,
) -> Check:
    """A check with its items sorted; found and nothing are its summaries with and without items."""
    listed = tuple(sorted(items, key=lambda item: -item.score)[:MOST_LISTED])
    state, summary = (severity, found) if listed else ("ok", nothing)
    return Check(kind, title, state, len(items), summary, listed, table)


def skipped(kind: str, title: str, why: str) -> Check:
    """A check that could not be made. why: one sentence."""
    return Check(kind, title, "skipped", 0, why)


def count(n: int, noun: str, nouns: str = "") -> str:
    """A number and its noun: "1 image", "1,200 images"."""
    return f"{n:,} {noun if n == 1 else nouns or noun + 's'}"


def percent(share: float) -> str:
    """A share in [0, 1] with few digits: 0.4 %, 12 %."""
    return f"{100 * share:.1f} %" if 0 < share < 0.0995 else f"{100 * share:.0f} %"


def key_figures(report: Report) -> dict[str, str]:
    """Label -> value of the counts, to show in a row."""
    figures = {"Training samples": f"{report.counts['train']:,}"}
    if "val" in report.counts:
        figures["Validation samples"] = f"{report.counts['val']:,}"
    figures["Test samples"] = f"{report.counts['test']:,}" if "test" in report.counts else "none"
    figures["Classes"] = f"{sum(n > 0 for n in report.class_counts):,}"
    if len(report.shape) == 3:
        channels, height, width = report.shape
        color = "gray" if channels == 1 else "color"
        figures["Pixels"] = f"{width} \N{MULTIPLICATION SIGN} {height} {color}"
    else:
        figures["Features"] = f"{report.shape[0]:,}"
    figures["Label health"] = "not known" if report.health is None else percent(report.health)
    return figures
