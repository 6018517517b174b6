"""What each command does: options in, exit status out. The options are in cli/parser.py.

Each command imports what it computes with, so that one that only reads starts without PyTorch.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import inputs

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.runs.sweep import Progress


def train(
    *,
    out: str | None,
    as_json: bool,
    config: str | None,
    method: str | None,
    preset: str | None,
    **settings: Any,
) -> int:
    """Train one run and print its results."""
    from engine.cli.console import follow
    from engine.config import configure
    from engine.runs.folder import free_folder
    from engine.runs.runner import Runner

    chosen = inputs.named(settings)
    if config is None:
        made = configure(method=method or "mixnn", preset=preset or "auto", **chosen)
    else:
        made = inputs.from_file(config, preset).varied(method=method, **chosen)
    return follow(Runner.new(made, out or free_folder(made, Path("runs"))), as_json)


def resume(*, run: str, as_json: bool) -> int:
    """Go on with a run after its last whole epoch."""
    from engine.cli.console import follow
    from engine.runs.folder import Run
    from engine.runs.runner import Runner

    return follow(Runner.resume(run), as_json, shown=len(Run(run).epochs))


def fork(*, run: str, epoch: int, out: str, as_json: bool, **settings: Any) -> int:
    """Start a new run from the state of another after an epoch."""
    from engine.cli.console import follow
    from engine.runs.runner import Runner

    return follow(Runner.fork(run, epoch, out, **inputs.named(settings)), as_json)


def show(*, run: str, as_json: bool) -> int:
    """Print a run's settings and results."""
    from engine.cli.console import print_summary
    from engine.runs.folder import Run

    print_summary(Run(run), as_json)
    return 0


def export(*, run: str, out: str) -> int:
    """Write the given labels of a run, and the changes that are proposed, as CSV."""
    from engine.analysis import label_export
    from engine.analysis.label_issues import label_issues
    from engine.runs.folder import Run

    issues = label_issues(Run(run))
    if issues.warning:
        print(f"warning: {issues.warning}", file=sys.stderr, flush=True)
    suspicious = label_export.export(Run(run), out, issues)
    n_proposed = int((issues.proposed != issues.given).sum())
    print(f"wrote {out}: {suspicious} suspicious labels, {n_proposed} changes proposed")
    return 0


def sweep(
    *,
    out: str,
    jobs: int | None,
    ray: str | None,
    table: str | None,
    config: str | None,
    **axes: str | None,
) -> int:
    """Train a run for every combination of the settings' values; write one table of them all."""
    from engine.runs import sweep as sweeps

    root, file = Path(out), Path(table or Path(out) / "table.parquet")
    sweeps.check_table_name(file)
    named = {name: sweeps.values(text) for name, text in axes.items() if text is not None}
    if named.get("noise_matrix", ["none"]) != ["none"]:
        named.setdefault("noise", ["matrix"])
    chosen = {name: inputs.plain(name, values) for name, values in named.items()}
    configs = sweeps.grid(inputs.axes_from_file(config, chosen) | chosen)
    status = _finish(configs, sweeps.sweep(configs, root, jobs=jobs, ray=ray))
    folders = [root / sweeps.run_name(config) for config in configs]
    there = [folder for folder in folders if (folder / "config.json").exists()]
    if there:
        sweeps.save_table(sweeps.table(there), file)
        print(f"wrote {file}: {len(there)} of {len(configs)} runs")
    return status


def experiment(
    *,
    names: list[str],
    form: str,
    out: str,
    runs: str,
    jobs: int | None,
    ray: str | None,
    seed: str | None,
    **settings: Any,
) -> int:
    """Answer questions about the method by many runs: tables, figures and sentences."""
    from engine.cli.console import INTERRUPTED, print_table
    from engine.experiments.base import plan
    from engine.experiments.registry import EXPERIMENTS, answer, configs_of
    from engine.runs import sweep as sweeps

    if not names:
        print_table(
            [("experiment", "question"), *((n, e.question) for n, e in EXPERIMENTS.items())]
        )
        return 0
    chosen = inputs.named(settings)
    made = plan(form, sweeps.values(seed or ""), **chosen)
    names = list(EXPERIMENTS) if names == ["all"] else names
    configs_by_name = {name: configs_of(name, made, chosen) for name in names}
    status = 0
    for name, configs in configs_by_name.items():
        progress = sweeps.sweep(configs, Path(runs), jobs=jobs, ray=ray)
        status = max(status, _finish(configs, progress))
        if status == INTERRUPTED:
            return status
        findings = answer(name, made, configs, Path(runs), Path(out))
        print(f"{name}: {EXPERIMENTS[name].question}", *findings.answers, sep="\n  ")
    print(f"wrote {out}")
    return status


def bench(
    *,
    images: int | None,
    turns: int,
    reference: int,
    profile: bool,
    out: str | None,
    against: str | None,
    **settings: Any,
) -> int:
    """Measure what an epoch costs, stage by stage, compared with plain cross-entropy."""
    from tqdm import tqdm

    from engine.cli.console import print_table
    from engine.config import configure
    from engine.profiling.stages import compared, measure, rows_of
    from engine.runs.folder import read_json, write_json

    before = None if against is None else read_json(Path(against))
    config = configure(**{"dataset": "shapes:50000"} | inputs.named(settings))
    with tqdm(bar_format="{desc}", file=sys.stderr, disable=None) as bar:
        result = measure(
            config,
            images=images,
            turns=turns,
            reference=reference,
            profile=profile,
            say=bar.set_description_str,
        )
    if out is not None:
        write_json(Path(out), result, indent=1)
    print_table(rows_of(result))
    if before is not None:
        print()
        print_table(compared(result, before))
    return 0


def headline(
    *,
    preset: str,
    noise: str,
    baselines: str,
    ablation: bool,
    seed: str,
    out: str,
    runs: str,
    minutes: float | None,
    **settings: Any,
) -> int:
    """Train on CIFAR-10 with 80 % symmetric noise, the paper's headline, and compare."""
    from engine.cli.console import print_table
    from engine.experiments import cifar10 as headlines
    from engine.runs import sweep as sweeps
    from engine.runs.folder import write_json

    presets, noises, methods, seeds = map(sweeps.values, (preset, noise, baselines, seed))
    rows = headlines.rows(
        presets, noises, baselines=methods, ablation=ablation, seeds=seeds, **inputs.named(settings)
    )
    presets = list(dict.fromkeys(row.preset for row in rows))  # by their current names
    data, rows, notes = headlines.load(rows, lenient="all" in noises)
    configs = headlines.configs_of(rows)
    status = _finish(configs, headlines.run_all(configs, Path(runs), data, minutes=minutes))
    results = [headlines.summarize(preset, rows, Path(runs), notes) for preset in presets]
    for one in results:
        path = Path(out) / f"headline-{one['preset']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, one, indent=1)
        print(f"wrote {path}")
    for note in dict.fromkeys(note for one in results for note in one["notes"]):
        print(f"note: {note}")
    print()
    print_table(headlines.table(results))
    return status


def lay_out(*, run: str, dims: list[int]) -> int:
    """Compute the UMAP maps of all epochs ahead, so that nobody waits for them later."""
    from tqdm import tqdm

    from engine.embedding.worker import lay_out_next
    from engine.runs.folder import Run

    epochs = len(Run(run).epochs)
    for d in dims:
        with tqdm(total=epochs, unit="epoch", file=sys.stderr, disable=None) as bar:
            while (epoch := lay_out_next(run, d)) is not None:
                bar.set_description_str(f"{d}-D map of epoch {epoch}")
                bar.update()
        print(f"{run} has all its {d}-D maps: {len(Run(run).epochs)} epochs")
    return 0


def datasets() -> int:
    """List the data sets."""
    from engine.cli.console import print_table
    from engine.data import DATASETS

    rows = [("name", "train", "test", "classes", "shape", "what it is")]
    for entry in DATASETS.values():
        shape = "x".join(map(str, entry.shape)) if entry.shape else "-"
        counts = [f"{n:,}" if n else "-" for n in (entry.n_train, entry.n_test, entry.n_classes)]
        note = " (downloaded on first use)" if entry.needs_download else ""
        rows.append((entry.usage, *counts, shape, entry.description + note))
    print_table(rows)
    return 0


def methods() -> int:
    """List the methods, each a set of settings, and the noise models."""
    from engine.cli.console import print_table
    from engine.config import METHOD_NOTES, METHODS
    from engine.noise.class_dependent import NOISE_NOTES

    rows = [("method", "mixing", "loss", "correction", "what it does")]
    for name, row in METHODS.items():
        made_of = (row["mixing"], row["loss"], row["correction"])
        rows.append((name, *made_of, METHOD_NOTES[name]))
    print_table(rows)
    print()
    print_table([("noise", "what it does"), *NOISE_NOTES.items()])
    return 0


def _finish(configs: "list[RunConfig]", progress: "Iterator[Progress]") -> int:
    """Bring runs to their end and print what failed or is left; returns the exit status."""
    from engine.cli.console import INTERRUPTED, watch_sweep

    for warning in dict.fromkeys(warning for made in configs for warning in made.warnings):
        print(f"note: {warning}", file=sys.stderr)
    try:
        ended = watch_sweep(progress)
    except KeyboardInterrupt:
        print("stopped; run the same command to continue", file=sys.stderr)
        return INTERRUPTED
    for name, why in ended.failed.items():
        times = " twice" if name in ended.retried else ""
        print(f"error: {name} failed{times}: {why}", file=sys.stderr)
    if n_left := ended.n_runs - ended.runs_done - len(ended.failed):
        print(
            f"time limit reached, {n_left} runs left; run the same command to continue",
            file=sys.stderr,
        )
        return INTERRUPTED
    return 1 if ended.failed else 0
