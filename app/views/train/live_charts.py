"""The live charts and diagnoses of a run, computed once per epoch for all its viewers.

They are computed in the process that trains, so their time is taken from the training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.server import run_cache
from engine.analysis.diagnostics import Diagnosis, diagnose
from engine.caching import once
from engine.runs.lineage import records_before

if TYPE_CHECKING:
    import pyarrow as pa

STAGES = "Where does the time go?"
CHARTS = {  # title -> (metric -> legend, note)
    "How good is the network?": (
        {"test_accuracy": "test images\nright"},
        "On test images with right labels.",
    ),
    "Does it memorize wrong labels?": (
        {"fit_clean": "right labels\nlearned", "memorized": "wrong labels\nmemorized"},
        "If the dashed line rises, it does.",
    ),
    "Are the labels getting better?": (
        {"label_accuracy": "labels\nright", "clean_auroc": "wrong found\n(AUROC)"},
        "Dashed: how well P(clean) finds wrong ones; 50\u00a0% is guessing.",
    ),
}


@once(maxsize=16)
def charts_of(name: str, created: str, n: int, alone: bool) -> dict[str, tuple[pa.Table, dict]]:
    """Data and Vega-Lite specification of each live chart after n epochs, by title.

    created: time of the run's creation, which tells it from a deleted run with the same name.
    alone: whether the viewer may not see the run that it was forked from.
    """
    import pyarrow as pa  # late: before the first epoch there is nothing to draw

    from engine.charts import live_curves

    run, records = run_cache.run(name), run_cache.records(name)[:n]
    config, forked = run.config, run.info["first_epoch"]
    before = records_before(run)  # of a fork's parents
    first = before[0]["epoch"] if before else forked
    epochs = (first, max(config.epochs - 1, first + 1))
    marks = [(forked, "forked here")] if before else []
    marks += live_curves.events(
        records,
        config.warmup if config.mixing != "none" else 0,
        config.correction_start if config.correction != "none" else None,
    )
    charts = {STAGES: (live_curves.stage_rows(records), live_curves.stages_spec(epochs))}
    for title, (series, _) in CHARTS.items():
        rows = live_curves.curve_rows([*before, *records], series, marks, epochs)
        if (rows["kind"] == live_curves.LINE).any():
            colors = ("#0072B2", "#D55E00") if len(series) > 1 else ("#0072B2",)
            charts[title] = rows, live_curves.curves_spec(series, epochs, colors)
    return {
        title: (pa.Table.from_pandas(rows, preserve_index=False), spec)
        for title, (rows, spec) in charts.items()
    }


@once(maxsize=16)
def diagnoses(name: str, created: str, n: int) -> list[Diagnosis]:
    """The failures that a run shows after n epochs, the most serious first. created: see above."""
    run = run_cache.run(name)
    return diagnose(run.config, run_cache.records(name)[:n], rate_actual=run.info["rate_actual"])
