"""What the Train page draws of a run after an epoch: made once for all who watch it.

A look of a viewer runs in the process that trains, so what it computes is taken from the training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.server import run_cache
from engine.analysis.diagnostics import Diagnosis, diagnose
from engine.caching import once

if TYPE_CHECKING:
    import pyarrow as pa

STAGES = "Where does the time go?"
PICTURES = {  # title -> (metric -> legend, what it means)
    "How good is the network?": (
        {"test_accuracy": "test images right"},
        "Images it never saw, with right labels.",
    ),
    "Does it learn wrong labels by heart?": (
        {"fit_clean": "clean labels learned", "memorized": "wrong labels by heart"},
        "If the dashed line rises, it does.",
    ),
    "Are the labels getting better?": (
        {"label_accuracy": "labels right", "clean_auroc": "P(clean) tells apart"},
        "Correction repairs them; dashed: 50 % is guessing.",
    ),
}


@once(maxsize=16)
def drawings(name: str, created: str, n: int) -> dict[str, tuple[pa.Table, dict]]:
    """Data and look of the live charts after n epochs, by their titles.

    created: when the run was, so that one that takes a deleted one's name is another.
    """
    import pyarrow as pa  # late: before the first epoch there is nothing to draw

    from engine.charts import live_curves

    run, records = run_cache.run(name), run_cache.records(name)[:n]
    config, first = run.config, run.info["first_epoch"]
    epochs = (first, max(config.epochs - 1, first + 1))
    marks = live_curves.events(
        records,
        config.warmup if config.mixing != "none" else 0,
        config.correction_start if config.correction != "none" else None,
    )
    found = {STAGES: (live_curves.stage_rows(records), live_curves.stages_spec(epochs))}
    for title, (series, _) in PICTURES.items():
        rows = live_curves.curve_rows(records, series, marks, turn=0.65 * epochs[1])
        if (rows["kind"] == live_curves.LINE).any():
            colors = ("#0072B2", "#D55E00") if len(series) > 1 else ("#0072B2",)
            found[title] = rows, live_curves.curves_spec(series, epochs, colors)
    return {
        title: (pa.Table.from_pandas(rows, preserve_index=False), spec)
        for title, (rows, spec) in found.items()
    }


@once(maxsize=16)
def suffering(name: str, created: str, n: int) -> list[Diagnosis]:
    """What the run suffers from after n epochs, if it does. created: as above."""
    run = run_cache.run(name)
    return diagnose(run.config, run_cache.records(name)[:n], rate_actual=run.info["rate_actual"])
