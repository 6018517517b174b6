"""What each command does: options in, exit status out. The options stand in __main__.py."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from engine import config, report
from engine import headline as headlines
from engine import sweep as sweeps
from engine.config import ConfigError, RunConfig, configure
from engine.data import DATASETS
from engine.label_issues import label_issues
from engine.mapper import lay_out_next
from engine.noise import NOISE_NOTES
from engine.runner import Runner
from engine.store import Run, free_folder, read_json, write_json
from engine.terminal import INTERRUPTED, follow, print_summary, print_table, watch_sweep


def train(*, out: str | None, as_json: bool, method: str, preset: str, **knobs: Any) -> int:
    """Train one run and print what came of it."""
    settings = configure(method=method, preset=preset, **_named(knobs))
    return follow(Runner.new(settings, out or free_folder(settings, Path("runs"))), as_json)


def resume(*, run: str, as_json: bool) -> int:
    """Go on with a run after its last whole epoch."""
    return follow(Runner.resume(run), as_json, shown=len(Run(run).epochs))


def fork(*, run: str, epoch: int, out: str, as_json: bool, **knobs: Any) -> int:
    """Start a new run from the state of another after an epoch."""
    return follow(Runner.fork(run, epoch, out, **_named(knobs)), as_json)


def show(*, run: str, as_json: bool) -> int:
    """Print a run's settings and results."""
    print_summary(Run(run), as_json)
    return 0


def export(*, run: str, out: str) -> int:
    """Write the given labels of a run, and the changes that are proposed, as CSV."""
    issues = label_issues(Run(run))
    if issues.warning:
        print(f"warning: {issues.warning}", file=sys.stderr, flush=True)
    suspicious = report.export(Run(run), out, issues)
    n_proposed = int((issues.proposed != issues.given).sum())
    print(f"wrote {out}: {suspicious} suspicious labels, {n_proposed} changes proposed")
    return 0


def sweep(
    *, out: str, jobs: int | None, ray: str | None, table: str | None, **axes: str | None
) -> int:
    """Train a run for every combination of the knobs' values, and write one table of them all."""
    root, file = Path(out), Path(table or Path(out) / "table.parquet")
    sweeps.check_table_name(file)
    named = {name: sweeps.values(text) for name, text in axes.items() if text is not None}
    if named.get("noise_matrix", ["none"]) != ["none"]:
        named.setdefault("noise", ["matrix"])
    configs = sweeps.grid({name: _plain(name, values) for name, values in named.items()})
    status = _brought_to_end(configs, sweeps.sweep(configs, root, jobs=jobs, ray=ray))
    folders = [root / sweeps.run_name(config) for config in configs]
    there = [folder for folder in folders if (folder / "config.json").exists()]
    if there:
        sweeps.save_table(sweeps.table(there), file)
        print(f"wrote {file}: {len(there)} of {len(configs)} runs")
    return status


def experiment(
    *, names: list[str], form: str, out: str, runs: str, jobs: int | None, ray: str | None,
    seed: str | None, **knobs: Any,
) -> int:  # fmt: skip
    """Answer questions about the method by many runs: tables, figures and sentences."""
    # late: other commands need no pandas
    from engine.experiments.base import plan
    from engine.experiments.registry import EXPERIMENTS, answer, configs_of

    if not names:
        print_table(
            [("experiment", "question"), *((n, e.question) for n, e in EXPERIMENTS.items())]
        )
        return 0
    chosen = _named(knobs)
    made = plan(form, sweeps.values(seed or ""), **chosen)
    names = list(EXPERIMENTS) if names == ["all"] else names
    asked = {name: configs_of(name, made, chosen) for name in names}
    status = 0
    for name, configs in asked.items():
        progress = sweeps.sweep(configs, Path(runs), jobs=jobs, ray=ray)
        status = max(status, _brought_to_end(configs, progress))
        if status == INTERRUPTED:
            return status
        findings = answer(name, made, configs, Path(runs), Path(out))
        print(f"{name}: {EXPERIMENTS[name].question}", *findings.answers, sep="\n  ")
    print(f"wrote {out}")
    return status


def bench(
    *, images: int | None, turns: int, reference: int, profile: bool, out: str | None,
    against: str | None, **knobs: Any,
) -> int:  # fmt: skip
    """Measure what an epoch costs, stage by stage, beside plain cross-entropy."""
    from engine.bench.stages import compared, measure, rows_of

    before = None if against is None else read_json(Path(against))
    settings = configure(**{"dataset": "shapes:50000"} | _named(knobs))
    with tqdm(bar_format="{desc}", file=sys.stderr, disable=None) as bar:
        result = measure(
            settings, images=images, turns=turns, reference=reference, profile=profile,
            say=bar.set_description_str,
        )  # fmt: skip
    if out is not None:
        write_json(Path(out), result, indent=1)
    print_table(rows_of(result))
    if before is not None:
        print()
        print_table(compared(result, before))
    return 0


def headline(
    *, preset: str, noise: str, beside: str, ablation: bool, seed: str, out: str, runs: str,
    minutes: float | None, **knobs: Any,
) -> int:  # fmt: skip
    """Train on CIFAR-10 with 80 % symmetric noise, the paper's headline, and compare."""
    presets, noises, methods, seeds = map(sweeps.values, (preset, noise, beside, seed))
    rows = headlines.rows(
        presets, noises, baselines=methods, ablation=ablation, seeds=seeds, **_named(knobs)
    )
    data, rows, notes = headlines.load(rows, lenient="all" in noises)
    configs = headlines.configs_of(rows)
    status = _brought_to_end(configs, headlines.run_all(configs, Path(runs), data, minutes=minutes))
    told = [headlines.summarize(preset, rows, Path(runs), notes) for preset in presets]
    for one in told:
        path = Path(out) / f"headline-{one['preset']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, one, indent=1)
        print(f"wrote {path}")
    for note in dict.fromkeys(note for one in told for note in one["notes"]):
        print(f"note: {note}")
    print()
    print_table(headlines.table(told))
    return status


def lay_out(*, run: str, dims: list[int]) -> int:
    """Lay out the UMAP maps of all epochs ahead, so that nobody waits for them later."""
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
    rows = [("name", "train", "test", "classes", "shape", "what it is")]
    for entry in DATASETS.values():
        shape = "x".join(map(str, entry.shape)) if entry.shape else "-"
        counts = [f"{n:,}" if n else "-" for n in (entry.n_train, entry.n_test, entry.n_classes)]
        note = " (downloaded on first use)" if entry.needs_download else ""
        rows.append((entry.usage, *counts, shape, entry.description + note))
    print_table(rows)
    return 0


def methods() -> int:
    """List the methods, each a set of knobs, and the noise models."""
    rows = [("method", "mixing", "loss", "correction", "what it does")]
    for name, row in config.METHODS.items():
        made_of = (row["mixing"], row["loss"], row["correction"])
        rows.append((name, *made_of, config.METHOD_NOTES[name]))
    print_table(rows)
    print()
    print_table([("noise", "what it does"), *NOISE_NOTES.items()])
    return 0


def _brought_to_end(configs: list[RunConfig], progress: Iterator[sweeps.Progress]) -> int:
    """Bring runs to their end and say what failed or is left; returns the exit status."""
    for doubt in dict.fromkeys(doubt for made in configs for doubt in made.doubts):
        print(f"note: {doubt}", file=sys.stderr)
    try:
        ended = watch_sweep(progress)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    for name, why in ended.failed.items():
        times = " twice" if name in ended.retried else ""
        print(f"error: {name} failed{times}: {why}", file=sys.stderr)
    if n_left := ended.n_runs - ended.runs_done - len(ended.failed):
        print(f"time is up with {n_left} runs to go; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    return 1 if ended.failed else 0


def _named(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given; "none" stands for no value, a matrix is read from its file."""
    knobs = {name: value for name, value in options.items() if value is not None}
    for name, value in knobs.items():
        optional = name in RunConfig.model_fields and RunConfig.model_fields[name].default is None
        if optional and value == "none":
            knobs[name] = None
    if knobs.get("noise_matrix"):
        knobs["noise_matrix"] = _read_matrix(Path(str(knobs["noise_matrix"])))
        knobs.setdefault("noise", "matrix")
    return knobs


def _plain(name: str, values: list[Any]) -> list[Any]:
    """Values of one axis as `configure` takes them."""
    return [_named({name: value})[name] for value in values]


def _read_matrix(path: Path) -> list[list[float]]:
    """Rows of numbers from a text file, separated by commas or white space."""
    try:
        lines = [line.replace(",", " ").split() for line in path.read_text().splitlines()]
        return [[float(word) for word in line] for line in lines if line]
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"noise_matrix = {str(path)!r}: allowed is a text file with a row of numbers a line "
            f"({error})"
        ) from None
