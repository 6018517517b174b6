"""Which run, epoch and sample the visitor selected, as far as they exist."""

import numpy as np

from app.server import run_cache
from app.server.visible_runs import runs
from app.state.url_state import get


def run() -> str | None:
    """The selected run if it exists, else the newest one; None if there is none."""
    names = runs().names()
    selected = get("run")
    if selected in names:
        return selected
    return names[0] if names else None


def row(*names: str) -> int:
    """Row of the selected epoch, the nearest one that exists, or the newest if none is selected.

    Of several runs: its index in `run_cache.epochs(*names)`; the newest is the last epoch that all
    of them have. Raises StoreError if none has an epoch.
    """
    epochs = run_cache.epochs(*names)
    selected = get("epoch")
    if selected is None:
        selected = min(
            run_cache.records(name)[-1]["epoch"] for name in names if run_cache.records(name)
        )
    return int(np.abs(np.array(epochs) - selected).argmin())


def sample(n: int) -> int | None:
    """The selected sample; None if there is none, or if it is not below n."""
    index = get("sample")
    return index if index is not None and index < n else None
