"""Output of the commands: the progress of a run or a sweep, and tables."""

import signal
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from engine.runs.folder import LEFT_OUT, open_run

if TYPE_CHECKING:
    from engine.runs.progress import Progress
    from engine.runs.runner import Runner

INTERRUPTED = 130  # the shells' exit status after Ctrl-C


def follow(runner: "Runner", shown: int = 0) -> int:
    """Run to the end and print the progress; Ctrl-C stops the run cleanly.

    shown: the number of epochs that exist already. Returns the exit status.
    """

    def stop(*_: Any) -> None:
        runner.stop()
        for number in before:  # a second signal does not wait for the batch
            signal.signal(number, lambda *_: sys.exit(INTERRUPTED))

    for warning in runner.config.warnings:
        print(f"note: {warning}", file=sys.stderr)
    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        runner.start()
        _watch(runner, shown)
    except BrokenPipeError:  # `| head` has ended
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
        if runner.ready:
            print(f"to continue: python -m engine resume {runner.folder}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _watch(runner: "Runner", shown: int) -> None:
    """A progress bar on a terminal, and a line per epoch, until the run ends."""
    with tqdm(
        total=runner.config.epochs, unit="epoch", leave=False, file=sys.stderr, disable=None
    ) as bar:
        ended = noted = False
        while not ended:
            ended = runner.join(0.1)
            records = open_run(runner.folder).epochs if runner.ready else []
            if runner.ready and not noted:
                print_notes(open_run(runner.folder).info["data"]["notes"])
                if (runner.folder / LEFT_OUT).exists():
                    print_notes([f"all files that were left out are in {runner.folder / LEFT_OUT}"])
                noted = True
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


def print_notes(notes: Iterable[str]) -> None:
    """Print what was left out or changed when a data set was read."""
    for note in notes:
        tqdm.write(f"note: {note}", file=sys.stderr)


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print columns as wide as their longest cell; the first row is the header."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    for row in (rows[0], tuple("-" * width for width in widths), *rows[1:]):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def watch_sweep(progress: "Generator[Progress, None, None]") -> "Progress":
    """Print the progress of many runs: a bar over all epochs, or a line per run without a terminal.

    A run that died gets a line, too. Returns the last progress. SIGTERM ends it like Ctrl-C, also
    in the background, where shells ignore Ctrl-C: runs in progress stop and can be continued.
    """

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with closing(progress):
        before = {n: signal.signal(n, interrupt) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            return _print_progress(progress)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _print_progress(progress: "Iterator[Progress]") -> "Progress":
    first = last = now = next(progress)
    start = time.monotonic()
    with tqdm(  # epochs of earlier commands do not count for the time left
        total=now.n_epochs, initial=now.epochs_done, unit="epoch", file=sys.stderr, disable=None
    ) as bar:
        for now in chain([first], progress):
            bar.n = now.epochs_done
            bar.set_description_str(f"{now.runs_done}/{now.n_runs} runs")
            if bar.disable and now.runs_done > last.runs_done:
                each = (time.monotonic() - start) / max(1, now.epochs_done - first.epochs_done)
                left = tqdm.format_interval((now.n_epochs - now.epochs_done) * each)
                print(f"{now.runs_done}/{now.n_runs} runs, {left} left", file=sys.stderr)
            for name in now.retried:
                if name not in last.retried:
                    tqdm.write(f"{name} died and was restarted", file=sys.stderr)
            last = now
    return now
