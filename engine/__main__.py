"""The command line: python -m engine train | show | resume | fork | export | map | ..."""

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from engine import __version__, config, report
from engine.config import ConfigError, RunConfig, allowed, configure
from engine.data import DATASETS, DataError
from engine.mapper import DIMS, lay_out_next
from engine.noise import NOISE_NOTES, NoiseError
from engine.runner import Runner
from engine.store import Run, StoreError, free_folder

INTERRUPTED = 130  # what shells say after Ctrl-C


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 well, 1 failed, 2 bad input, 130 stopped."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        return command(**options)
    except (ConfigError, NoiseError, DataError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def train(*, out: str | None, as_json: bool, method: str, preset: str, **knobs: Any) -> int:
    """Train one run and print what came of it."""
    settings = configure(method=method, preset=preset, **_named(knobs))
    return _follow(Runner.new(settings, out or free_folder(settings, Path("runs"))), as_json)


def resume(*, run: str, as_json: bool) -> int:
    """Go on with a run after its last whole epoch."""
    return _follow(Runner.resume(run), as_json, shown=len(Run(run).epochs))


def fork(*, run: str, epoch: int, out: str, as_json: bool, **knobs: Any) -> int:
    """Start a new run from the state of another after an epoch."""
    return _follow(Runner.fork(run, epoch, out, **_named(knobs)), as_json)


def show(*, run: str, as_json: bool) -> int:
    """Print a run's settings and results."""
    _print_summary(Run(run), as_json)
    return 0


def export(*, run: str, out: str) -> int:
    """Write the corrected labels of a run as CSV."""
    suspicious = report.export(Run(run), out)
    print(f"wrote {out}: {suspicious} suspicious labels")
    return 0


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
    _print_table(rows)
    return 0


def methods() -> int:
    """List the methods, each a set of knobs, and the noise models."""
    rows = [("method", "mixing", "loss", "correction", "what it does")]
    for name, row in config.METHODS.items():
        made_of = (row["mixing"], row["loss"], row["correction"])
        rows.append((name, *made_of, config.METHOD_NOTES[name]))
    _print_table(rows)
    print()
    _print_table([("noise", "what it does"), *NOISE_NOTES.items()])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engine", description="Learning with noisy labels: MixNN and its relatives."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(function, *, name: str = "", reads_run: bool = False, as_json: bool = False):
        sub = commands.add_parser(
            name or function.__name__, help=function.__doc__, description=function.__doc__
        )
        sub.set_defaults(command=function)
        if reads_run:
            sub.add_argument("run", metavar="RUN", help="run folder")
        if as_json:
            sub.add_argument(
                "--json", action="store_true", dest="as_json", help="print one JSON object"
            )
        return sub

    sub = add(train, as_json=True)
    sub.add_argument("--out", metavar="RUN", help="run folder (default: a free name under runs/)")
    sub.add_argument(
        "--method", default="mixnn", metavar="NAME",
        help=f"{' | '.join(config.METHODS)} (default: mixnn)",
    )  # fmt: skip
    sub.add_argument(
        "--preset", default="auto", metavar="NAME",
        help="auto: tuned for the data set | reference: as the authors' code | plain: the defaults "
        "named here (default: auto)",
    )  # fmt: skip
    _add_knobs(sub, with_defaults=True)

    add(resume, reads_run=True, as_json=True)

    sub = add(fork, reads_run=True, as_json=True)
    sub.add_argument("--epoch", type=int, required=True, help="epoch to start after, from 0")
    sub.add_argument("--out", metavar="RUN2", required=True, help="new run folder")
    sub.add_argument("--method", default=None, metavar="NAME", help=" | ".join(config.METHODS))
    _add_knobs(sub, with_defaults=False)

    add(show, reads_run=True, as_json=True)

    sub = add(export, reads_run=True)
    sub.add_argument("--out", required=True, metavar="FILE", help="CSV file to write")

    sub = add(lay_out, name="map", reads_run=True)
    sub.add_argument(
        "--dims", type=int, nargs="+", choices=DIMS, default=[2], help="2, 3 or both (default: 2)"
    )

    add(datasets)
    add(methods)
    return parser


def _add_knobs(parser: argparse.ArgumentParser, *, with_defaults: bool) -> None:
    """One option per knob of RunConfig. Values are checked there, so that one place says no."""
    group = parser.add_argument_group("knobs" if with_defaults else "knobs that change")
    for name, field in RunConfig.model_fields.items():
        words = allowed(name)
        default = "none" if field.default is None else str(field.default).lower()
        presets = sorted({str(p[name]) for p in config.PRESETS.values() if name in p})
        if with_defaults:
            words += f"; default: {default}"
            words += f", tuned: {' or '.join(presets)}" if presets else ""
        group.add_argument(
            f"--{name.replace('_', '-')}", metavar="V",
            help=f"{field.description} ({words})".replace("%", "%%"),
        )  # fmt: skip


def _named(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given; "none" stands for no value, a matrix is read from its file."""
    knobs = {name: value for name, value in options.items() if value is not None}
    for name, value in knobs.items():
        optional = name in RunConfig.model_fields and RunConfig.model_fields[name].default is None
        if optional and value == "none":
            knobs[name] = None
    if knobs.get("noise_matrix"):
        knobs["noise_matrix"] = _read_matrix(Path(knobs["noise_matrix"]))
        knobs.setdefault("noise", "matrix")
    return knobs


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


def _follow(runner: Runner, as_json: bool, shown: int = 0) -> int:
    """Run to the end and tell how it went; Ctrl-C stops the run cleanly.

    shown: epochs that are there already.
    """

    def stop(*_: Any) -> None:
        runner.stop()
        for number in before:  # a second one does not wait for the batch
            signal.signal(number, lambda *_: sys.exit(INTERRUPTED))

    for doubt in runner.config.doubts:
        print(f"note: {doubt}", file=sys.stderr)
    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        runner.start()
        _watch(runner, shown)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    status = runner.status
    if status.state == "failed":
        print(f"error: {status.message}", file=sys.stderr)
        if not status.foreseen:
            print(status.error, file=sys.stderr)
        return 1
    if status.state == "stopped":
        print(status.message, file=sys.stderr)
        if not runner.ready:
            return INTERRUPTED
        print(f"to go on: python -m engine resume {runner.folder}", file=sys.stderr)
    _print_summary(Run(runner.folder), as_json)
    return INTERRUPTED if status.state == "stopped" else 0


def _watch(runner: Runner, shown: int) -> None:
    """A progress bar where a person looks, and a line per epoch, until the run ends."""
    with tqdm(
        total=runner.config.epochs, unit="epoch", leave=False, file=sys.stderr, disable=None
    ) as bar:
        ended = False
        while not ended:
            ended = runner.join(0.1)
            records = Run(runner.folder).epochs if runner.ready else []
            for record in records[shown:]:
                tqdm.write(_epoch_line(record), file=sys.stderr)
            shown = max(shown, len(records))
            status = runner.status
            bar.n = records[-1]["epoch"] + 1 if records else 0
            bar.set_description_str(f"{status.stage} {status.batch}/{status.n_batches}")


def _epoch_line(record: dict[str, Any]) -> str:
    measured = record["metrics"]
    words = [f"epoch {record['epoch']:3d} {record['phase']:6s} loss {measured['train_loss']:6.3f}"]
    for label, name in (
        ("test", "test_accuracy"), ("fit clean", "fit_clean"), ("memorized", "memorized"),
        ("labels right", "label_accuracy"), ("changed", "changed_labels"),
    ):  # fmt: skip
        if measured.get(name) is not None:
            words.append(f"{label} {measured[name]:.3f}")
    return "  ".join([*words, f"{sum(record['seconds'].values()):.1f} s"])


def _print_summary(run: Run, as_json: bool) -> None:
    numbers = report.summary(run)
    if as_json:
        print(json.dumps(numbers))
        return
    for note in numbers.pop("notes"):
        print(f"note: {note}", file=sys.stderr)
    rows = [
        (name, "-" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v))
        for name, v in numbers.items()
    ]
    _print_table([("run", str(run.folder)), *rows])


def _print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as their longest cell; the first row is the head."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    rows = [rows[0], tuple("-" * width for width in widths), *rows[1:]]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


if __name__ == "__main__":
    sys.exit(main())
