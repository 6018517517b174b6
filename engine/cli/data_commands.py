"""Commands of a data set: options in, exit status out."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from engine.analysis.checks.report import Report
    from engine.data import Data
    from engine.runs.folder import RunFolder

SUFFIXES = (".html", ".json")


def check(
    *,
    data: str | None,
    run: str | None,
    out: str | None,
    limit: int | None,
    image_size: int | None,
    image_fit: str,
    as_json: bool,
) -> int:
    """Check a data set: wrong labels, duplicates, leakage, outliers, poor images."""
    from engine.analysis.checks.report import key_figures
    from engine.analysis.data_checks import check_data
    from engine.cli.console import print_table
    from engine.runs.folder import RunFolder

    if out is not None and Path(out).suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"out = {out!r}: allowed is a name that ends with {' or '.join(SUFFIXES)}"
        )
    opened = None if run is None else RunFolder(run)
    loaded = _load(data, opened, limit, image_size, image_fit)
    report = check_data(loaded, opened)
    if out is not None:
        _write(report, Path(out), loaded)
        print(f"wrote {out}", file=sys.stderr)
    if as_json:
        print(json.dumps(report.as_dict()))
        return 0
    rows = [("result", "check", "found", "in words")]
    for one in report.by_severity():
        number = f"{one.count:,}" if one.count else ""
        rows.append((one.severity, one.title, number, one.summary))
    figures = ", ".join(f"{name.lower()}: {value}" for name, value in key_figures(report).items())
    print(f"{report.dataset}: {figures}\n{report.evidence}\n")
    print_table(rows)
    return 0


def _write(report: "Report", out: Path, data: "Data") -> None:
    """Write a report as .json, or else as a page with thumbnails. Raises StoreError."""
    from engine.files import write_text
    from engine.reports.check import check_page, thumbnails

    if out.suffix.lower() == ".json":
        text = json.dumps(report.as_dict(), indent=1)
    else:
        text = check_page(report, thumbnails(report, data))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, text)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror or error}") from None


def _load(
    name: str | None,
    run: "RunFolder | None",
    limit: int | None,
    image_size: int | None,
    image_fit: str,
) -> "Data":
    """The data set of this name, or of a run, as the run saw it. Raises EngineError."""
    from engine.data import load
    from engine.runs.forks import data_of

    if run is None:
        if name is None:
            raise ConfigError("data = None: name a data set, such as folder:my/photos, or a --run")
        return load(name, limit=limit, image_size=image_size, image_fit=image_fit)
    if name not in (None, run.config.dataset):
        raise ConfigError(
            f"data = {name!r}: the run {run.folder} is on {run.config.dataset}; leave DATA out, or "
            "name that"
        )
    if limit is not None or image_size is not None:
        raise ConfigError("limit and image_size are those of the run; leave them out")
    return data_of(run)
