"""The report of all checks of a data set as a page that loads nothing, with the worst examples."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from engine.analysis.checks.report import Check, Item, Report, Sample, Table, count, key_figures
from engine.charts import escaping
from engine.reports.images import PNG_UP_TO, image_urls
from engine.reports.names import public_name
from engine.reports.page import h

if TYPE_CHECKING:
    from engine.data import Data

HERE = Path(__file__).resolve().parent
MOST_ITEMS = 18  # of a check
MOST_IMAGES = 4  # of a group
MOST_ROWS = 30  # of a table
WORDS = {
    "error": "Problem",
    "warning": "Warning",
    "note": "Note",
    "ok": "OK",
    "skipped": "Skipped",
}

Urls = Mapping[tuple[str, int], str]


def check_page(report: Report, urls: Urls) -> str:
    """The page. urls: of the images, as of `thumbnails`; those that are missing are left out."""
    shown = [check for check in report.by_severity() if check.items or check.table]
    return Template((HERE / "check.html").read_text()).substitute(
        title=f"Data check: {h(public_name(report.dataset))}",
        style=(HERE / "page.css").read_text() + (HERE / "check.css").read_text(),
        figures="".join(
            f"<div><dt>{h(name)}</dt><dd>{h(value)}</dd></div>"
            for name, value in key_figures(report).items()
        ),
        evidence=h_long(report.evidence),
        overview=_overview(report),
        sections="\n".join(_section(check, urls, tiny=_is_tiny(report)) for check in shown),
    )


def thumbnails(report: Report, data: "Data") -> dict[tuple[str, int], str]:
    """A data: URL of each image that is shown, by part and row."""
    if len(report.shape) != 3:
        return {}
    rows: dict[str, dict[int, None]] = {}
    for check in report.checks:
        for item in check.items[:MOST_ITEMS]:
            for sample in item.samples[:MOST_IMAGES]:
                rows.setdefault(sample.part, {})[sample.row] = None
    found = {}
    for part, wanted in rows.items():
        part_images = {"train": data.images, "val": data.val_images, "test": data.test_images}[part]
        if part_images is None:
            continue
        urls = image_urls(replace(data, images=part_images), _array(wanted))
        found.update({(part, row): url for row, url in zip(wanted, urls, strict=True)})
    return found


def h_long(value: object) -> str:
    """A text as HTML, shown literally, up to 1,000 characters."""
    return html.escape(escaping.text(value, 1000))


def _array(rows: Iterable[int]) -> np.ndarray:
    return np.fromiter(rows, dtype=np.int64)


def _is_tiny(report: Report) -> bool:
    return len(report.shape) == 3 and max(report.shape[1:]) <= PNG_UP_TO


def _overview(report: Report) -> str:
    rows = "".join(
        f'<tr><td>{_mark(check)}</td><th scope="row">{_title(check)}</th>'
        f"<td>{f'{check.count:,}' if check.count else ''}</td><td>{h_long(check.summary)}</td></tr>"
        for check in report.by_severity()
    )
    head = "".join(f'<th scope="col">{c}</th>' for c in ("result", "check", "found", "in words"))
    return (
        f'<div class="wide"><table class="overview"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _title(check: Check) -> str:
    if not (check.items or check.table):
        return h(check.title)
    return f'<a href="#{h(check.kind)}">{h(check.title)}</a>'


def _mark(check: Check) -> str:
    return f'<span class="severity {check.severity}">{WORDS[check.severity]}</span>'


def _section(check: Check, urls: Urls, *, tiny: bool) -> str:
    with_samples = [item for item in check.items if item.samples]
    parts = [f'<section id="{h(check.kind)}"><h2>{h(check.title)} {_mark(check)}</h2>']
    parts.append(f"<p>{h_long(check.summary)}</p>")
    if with_samples:
        few = with_samples[:MOST_ITEMS]
        if len(few) < check.count:
            parts.append(f'<p class="quiet">The worst {len(few)} of {check.count:,}:</p>')
        items = "".join(f"<li>{_item(item, urls)}</li>" for item in few)
        parts.append(f'<ul class="items{" tiny" * tiny}">{items}</ul>')
    if check.table is not None:
        parts.append(_table(check.table))
    return "".join([*parts, "</section>"])


def _item(item: Item, urls: Urls) -> str:
    images = "".join(
        f'<img src="{urls[sample.part, sample.row]}" alt="{h(describe(sample))}">'
        for sample in item.samples[:MOST_IMAGES]
        if (sample.part, sample.row) in urls
    )
    lines = [f"<b>{h(item.text)}</b>", *(h(describe(s)) for s in item.samples[:MOST_IMAGES])]
    if (more := len(item.samples) - MOST_IMAGES) > 0:
        lines.append(f"and {count(more, 'other')}")
    return f"{images}<br>{'<br>'.join(lines)}" if images else "<br>".join(lines)


def describe(sample: Sample) -> str:
    """Where a sample is and how it is labeled: "train cats/1.png, labeled cat"."""
    return f"{sample.part} {sample.id}, labeled {sample.label}"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{h(cell)}</th>' for cell in table.head)
    body = "".join(
        f'<tr><th scope="row">{h(row[0])}</th>{"".join(f"<td>{h(c)}</td>" for c in row[1:])}</tr>'
        for row in _cut(table.rows)
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def _cut(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The first and the last rows of a long table."""
    if len(rows) <= MOST_ROWS:
        return list(rows)
    gap = ("…", *("" for _ in rows[0][1:]))
    return [*rows[: MOST_ROWS // 2], gap, *rows[-MOST_ROWS // 2 :]]
