"""What commands print: a run or a sweep that is under way, a run in numbers, tables."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from engine.analysis import summary
from engine.runs.folder import Run
from engine.runs.opened import open_run

if TYPE_CHECKING:
    from engine.runs.runner import Runner
    from engine.runs.sweep import Progress

INTERRUPTED = 130  # what shells say after Ctrl-C


def follow(runner: "Runner", as_json: bool, shown: int = 0) -> int:
    """Run to the end and tell how it went; Ctrl-C stops the run cleanly.

    shown: epochs that are there already.
    """

    def stop(*_: Any) -> None:
        runner.stop()
        for number in before:  # a second one does not wait for the batch
            signal.signal(number, lambda *_: sys.exit(INTERRUPTED))

    for warning in runner.config.warnings:
        print(f"note: {warning}", file=sys.stderr)
    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        runner.start()
        _watch(runner, shown)
    except BrokenPipeError:  # `| head` has seen enough
        runner.stop()
        runner.join()
        raise
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
    print_summary(Run(runner.folder), as_json)
    return INTERRUPTED if status.state == "stopped" else 0


def _watch(runner: "Runner", shown: int) -> None:
    """A progress bar where a person looks, and a line per epoch, until the run ends."""
    with tqdm(
        total=runner.config.epochs, unit="epoch", leave=False, file=sys.stderr, disable=None
    ) as bar:
        ended = False
        while not ended:
            ended = runner.join(0.1)
            records = open_run(runner.folder).epochs if runner.ready else []
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
        ("test", "test_accuracy"),
        ("fit clean", "fit_clean"),
        ("memorized", "memorized"),
        ("labels right", "label_accuracy"),
        ("changed", "changed_labels"),
    ):
        if measured.get(name) is not None:
            words.append(f"{label} {measured[name]:.3f}")
    return "  ".join([*words, f"{sum(record['seconds'].values()):.1f} s"])


def print_summary(run: Run, as_json: bool) -> None:
    numbers = summary.summary(run)
    if as_json:
        print(json.dumps(numbers))
        return
    for note in numbers.pop("notes"):
        print(f"note: {note}", file=sys.stderr)
    rows = [
        (name, "-" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v))
        for name, v in numbers.items()
    ]
    print_table([("run", str(run.folder)), *rows])


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as their longest cell; the first row is the head."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    rows = [rows[0], tuple("-" * width for width in widths), *rows[1:]]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def watch_sweep(progress: "Iterator[Progress]") -> "Progress":
    """A progress bar over all epochs, or a line per finished run where nobody looks at a terminal,
    and a line per run that died; returns the last progress.

    SIGTERM ends it like Ctrl-C, which is heard in the background too, where shells have it ignored:
    what is under way is stopped and can go on later.
    """

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = {n: signal.signal(n, interrupt) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        first = last = now = next(progress)
        begun = time.monotonic()
        with tqdm(  # what was there before says nothing of the time left
            total=now.n_epochs, initial=now.epochs_done, unit="epoch", file=sys.stderr, disable=None
        ) as bar:
            for now in chain([first], progress):
                bar.n = now.epochs_done
                bar.set_description_str(f"{now.runs_done}/{now.n_runs} runs")
                if bar.disable and now.runs_done > last.runs_done:
                    each = (time.monotonic() - begun) / max(1, now.epochs_done - first.epochs_done)
                    left = tqdm.format_mean((now.n_epochs - now.epochs_done) * each)
                    print(f"{now.runs_done}/{now.n_runs} runs, {left} left", file=sys.stderr)
                for name in now.retried:
                    if name not in last.retried:
                        tqdm.write(f"{name} died and was started again", file=sys.stderr)
                last = now
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        progress.close()
    return now
