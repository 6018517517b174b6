"""Commands of many runs: options in, exit status out. The options are in cli/options.py."""

import sys
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import inputs

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.runs.progress import Progress


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
    from engine.runs import table as tables
    from engine.runs.grid import grid, values
    from engine.runs.naming import run_name

    root, file = Path(out), Path(table or Path(out) / "table.parquet")
    tables.check_table_name(file)
    named = {name: values(text) for name, text in axes.items() if text is not None}
    if named.get("noise_matrix", ["none"]) != ["none"]:
        named.setdefault("noise", ["matrix"])
    varied = {name: inputs.plain(name, listed) for name, listed in named.items()}
    configs = grid(inputs.axes_from_file(config, varied) | varied)
    status = _finish(configs, sweeps.sweep(configs, root, jobs=jobs, ray=ray))
    folders = [root / run_name(config) for config in configs]
    existing = [folder for folder in folders if (folder / "config.json").exists()]
    if existing:
        tables.save_table(tables.table(existing), file)
        print(f"wrote {file}: {len(existing)} of {len(configs)} runs")
    return status


def experiment(
    *,
    names: list[str],
    form: str,
    out: str,
    runs: str,
    seconds: float | None,
    jobs: int | None,
    ray: str | None,
    seed: str | None,
    **settings: Any,
) -> int:
    """Answer questions about the method by many runs: tables, figures and conclusions."""
    from engine.cli.console import INTERRUPTED, print_table
    from engine.experiments.registry import EXPERIMENTS, TIMED, answer, configs_of

    if not names:
        every = EXPERIMENTS | TIMED
        print_table([("experiment", "question"), *((n, every[n].question) for n in every)])
        return 0
    changes = inputs.named(settings)
    if set(names) & set(TIMED):
        given = dict(jobs=jobs, ray=ray, form=None if form == "quick" else form)
        return _timed(names, Path(out), seconds, changes | inputs.named({"seed": seed}), given)
    from engine.experiments.base import plan
    from engine.runs.grid import values
    from engine.runs.sweep import sweep

    if seconds is not None:
        raise inputs.refused("seconds", seconds, f"with {', '.join(TIMED)} alone")
    made = plan(form, values(seed or ""), **changes)
    names = list(EXPERIMENTS) if names == ["all"] else names
    configs_by_name = {name: configs_of(name, made, changes) for name in names}
    status = 0
    for name, configs in configs_by_name.items():
        status = max(status, _finish(configs, sweep(configs, Path(runs), jobs=jobs, ray=ray)))
        if status == INTERRUPTED:
            return status
        findings = answer(name, made, configs, Path(runs), Path(out))
        print(f"{name}: {EXPERIMENTS[name].question}", *findings.answers, sep="\n  ")
    print(f"wrote {out}")
    return status


def _timed(
    names: list[str],
    out: Path,
    seconds: float | None,
    settings: dict[str, Any],
    given: dict[str, Any],
) -> int:
    """An experiment that is measured in this process within a number of seconds.

    given: options that it does not have. Raises ConfigError for those that are not None.
    """
    from engine.cli.console import INTERRUPTED
    from engine.experiments.registry import TIMED

    if len(names) > 1:
        raise inputs.refused("names", " ".join(names), f"{' or '.join(TIMED)} alone")
    for option, value in given.items():
        if value is not None:
            raise inputs.refused(option, value, f"without {names[0]}")
    entry = TIMED[names[0]]
    items: Any = import_module(f"engine.experiments.{entry.module}")
    ended = items.measure(500.0 if seconds is None else seconds, out, settings, entry.question)
    print(f"wrote {out}")
    return 0 if ended else INTERRUPTED


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
    from engine.files import write_json
    from engine.runs.grid import values

    cifar10: Any = import_module("engine.experiments.cifar10")
    presets, noises, methods, seeds = map(values, (preset, noise, baselines, seed))
    changes = inputs.named(settings)
    rows = cifar10.rows(
        presets, noises, baselines=methods, ablation=ablation, seeds=seeds, **changes
    )
    data, rows, notes = cifar10.load(rows, lenient="all" in noises)
    configs = cifar10.configs_of(rows)
    status = _finish(configs, cifar10.run_all(configs, Path(runs), data, minutes=minutes))
    names = dict.fromkeys(row.preset for row in rows)  # the presets' current names
    results = [cifar10.summarize(name, rows, Path(runs), notes) for name in names]
    for result in results:
        path = Path(out) / f"headline-{result['preset']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, result, indent=1)
        print(f"wrote {path}")
    for note in dict.fromkeys(note for result in results for note in result["notes"]):
        print(f"note: {note}")
    print()
    print_table(cifar10.table(results))
    return status


def _finish(configs: "list[RunConfig]", progress: "Generator[Progress, None, None]") -> int:
    """Train runs to their end and print what failed or is left; returns the exit status."""
    from engine.cli.console import INTERRUPTED, watch_sweep

    for warning in dict.fromkeys(warning for config in configs for warning in config.warnings):
        print(f"note: {warning}", file=sys.stderr)
    try:
        last = watch_sweep(progress)
    except KeyboardInterrupt:
        print("stopped; run the same command to continue", file=sys.stderr)
        return INTERRUPTED
    for name, reason in last.failed.items():
        times = " twice" if name in last.retried else ""
        print(f"error: {name} failed{times}: {reason}", file=sys.stderr)
    if n_left := last.n_runs - last.runs_done - len(last.failed):
        runs = f"time limit reached, {n_left} runs left"
        print(f"{runs}; run the same command to continue", file=sys.stderr)
        return INTERRUPTED
    return 1 if last.failed else 0
