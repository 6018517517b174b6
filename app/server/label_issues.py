"""The label issues of a run, computed once per epoch for all pages."""

from app.server import run_cache
from app.server.run_view import RunView
from engine.analysis.label_issues import LabelIssues, label_issues
from engine.caching import once
from engine.runs.folder import open_run
from engine.runs.records import epochs_file


def issues_of(view: RunView) -> LabelIssues:
    """Which labels of a run look wrong at an epoch. Raises StoreError without one."""
    run = view.run
    stamp = run_cache.stamp_of(epochs_file(run.folder))
    return _issues(str(run.folder), stamp, view.row, run.alone)


@once(maxsize=4)
def _issues(folder: str, stamp: tuple[int, ...], row: int, alone: bool) -> LabelIssues:
    return label_issues(open_run(folder, alone=alone), row)
