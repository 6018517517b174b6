"""The command line: python -m engine train | show | resume | fork | export | map | ...

Options are added for the one command that was named, and what a command computes with is imported
by that command, so that help and listings come at once.
"""

import argparse
import contextlib
import difflib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from engine import __version__, commands

FAILED, BAD_INPUT = 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 bad input, 130 stopped.

    141 where nobody reads its output any more, as of a program that such a pipe ends.
    """
    try:
        options = vars(_parse(sys.argv[1:] if arguments is None else arguments))
        status = _run(options.pop("command"), options)
        print(end="", flush=True)  # a closed pipe shows here, not when Python ends
        return status
    except BrokenPipeError:
        _write_nowhere()
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run(command: Callable[..., int], options: dict[str, Any]) -> int:
    """One command with its options; a foreseen failure becomes a line and an exit status."""
    from engine.errors import EngineError, MemoryShortage, TrainingError
    from engine.memory import as_shortage

    try:
        return command(**options)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED if isinstance(error, MemoryShortage | TrainingError) else BAD_INPUT
    except (MemoryError, RuntimeError, ImportError, OSError) as error:
        if (shortage := as_shortage(error)) is None:
            raise
        print(f"error: {shortage}", file=sys.stderr)
        return FAILED


def _write_nowhere() -> None:
    """Send what Python writes when it ends to no closed pipe, which it would report."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # it is no file
            os.dup2(nowhere, stream.fileno())


# --- from words to options


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command and its options. Ends the program after --help, and at words that are unknown."""
    parser, by_name = _parsers(arguments)
    first = arguments[0] if arguments else ""
    if first and not first.startswith("-") and first not in by_name:
        parser.error(f"unknown command {first!r}{_nearest(first, by_name)}")
    options, rest = parser.parse_known_args(arguments)
    if rest:
        sub = by_name[first]
        flags = [flag for action in sub._actions for flag in action.option_strings]
        word = rest[0].partition("=")[0]
        sub.error(f"unknown option {word!r}{_nearest(word, flags)}")
    return options


def _parsers(
    arguments: Sequence[str],
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of all commands, and each command's own; only the named one has its options."""
    parser = _Parser(
        prog="python -m engine", description="Learning with noisy labels: MixNN and its relatives."
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    by_name = {}
    for name, (command, add_options) in COMMANDS.items():
        summary = command.__doc__.replace("%", "%%")
        sub = subparsers.add_parser(name, help=summary, description=summary)
        sub.set_defaults(command=command)
        if name in arguments[:1]:
            add_options(sub)
        by_name[name] = sub
    return parser, by_name


class _Parser(argparse.ArgumentParser):
    """argparse takes no notice of a closed pipe while it prints help; `main` does."""

    def print_help(self, file: TextIO | None = None) -> None:
        print(self.format_help(), end="", file=file, flush=True)


def _nearest(word: str, known: Sequence[str] | dict[str, Any]) -> str:
    """ "; did you mean '--seed'?" where a known word is near this one."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


# --- the options of each command


def _train(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    parser.add_argument(
        "--out", metavar="RUN", help="run folder (default: a free name under runs/)"
    )
    _add_method_and_preset(parser)
    _add_config(parser)
    _add_settings(parser)


def _sweep(parser: argparse.ArgumentParser) -> None:
    parser.description += (
        " Every setting, and --method and --preset, takes one value, a list (1,2,5) or a range "
        "with both its ends (1:20, 0:0.9:0.1). Runs that are there are skipped, so the same "
        "command goes on after a stop or a crash."
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder of the run folders")
    parser.add_argument(
        "--table", metavar="FILE", help=".parquet or .csv (default: in that folder)"
    )
    _add_jobs(parser)
    for name in ("method", "preset"):
        parser.add_argument(f"--{name}", metavar="V,V", help="as in `train`")
    _add_config(parser)
    _add_settings(parser, required="--out FOLDER ")


def _experiment(parser: argparse.ArgumentParser) -> None:
    parser.description += (
        " Without a name it lists them; `all` is all of them. Runs that several of them need are "
        "made once, and the same command goes on after a stop."
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="which ones")
    parser.add_argument(
        "--form", default="quick", metavar="FORM",
        help="quick: digits, minutes on two cores | full: CIFAR-10 and a ResNet-18, for a GPU "
        "(default: quick)",
    )  # fmt: skip
    parser.add_argument(
        "--out", metavar="FOLDER", default="runs/experiments/results",
        help="where answers go (default: runs/experiments/results)",
    )  # fmt: skip
    parser.add_argument(
        "--runs", metavar="FOLDER", default="runs/experiments/runs",
        help="where runs go (default: runs/experiments/runs)",
    )  # fmt: skip
    _add_jobs(parser)
    _add_settings(parser, required="[NAME ...] ", with_defaults=False)


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.description += (
        " Stages are timed in turns, in one process; medians count. The data are drawn shapes of "
        "CIFAR-10's size, if no others are named."
    )
    images = "of how many the passes over images are made, scaled to all (default: all)"
    for name, default, words in (
        ("images", None, images),
        ("turns", 3, "how often each stage is timed (default: 3)"),
        ("reference", 0, "time the reference code's way of working as well, on so many images"),
    ):
        parser.add_argument(f"--{name}", type=int, metavar="N", default=default, help=words)
    parser.add_argument("--profile", action="store_true", help="name the largest costs of training")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    parser.add_argument("--against", metavar="FILE", help="stored result to compare with")
    _add_settings(parser)


def _headline(parser: argparse.ArgumentParser) -> None:
    from engine import headline

    parser.description += (
        " Runs go one after the other in this process, on data that is on the device. Those that "
        "are there are not made again; the same command goes on after a stop."
    )
    for name, metavar, default, words in (
        ("preset", "V,V", "cifar10-fast", " | ".join(headline.PRESETS)),
        ("noise", "V,V", "symmetric0.8", f"{' | '.join(headline.NOISES)}, or all"),
        ("beside", "V,V", "", "methods on the preset's network and epochs, like ce,mixup,elr"),
        ("seed", "V,V", "0", "seeds, as in `sweep`: 0:2 makes three runs a row"),
        ("out", "FOLDER", "runs/headline/results", "where headline-PRESET.json goes"),
        ("runs", "FOLDER", "runs/headline/runs", "where runs go"),
    ):
        words += f" (default: {default or 'none'})"
        parser.add_argument(f"--{name}", metavar=metavar, default=default, help=words)
    parser.add_argument(
        "--ablation", action="store_true", help="a row for the preset without each ingredient"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="stop cleanly after so many")
    _add_settings(parser, with_defaults=False, without=headline.OWN)


def _fork(parser: argparse.ArgumentParser) -> None:
    from engine.config import METHODS

    _run_and_json(parser)
    parser.add_argument("--epoch", type=int, required=True, help="epoch to start after, from 0")
    parser.add_argument("--out", metavar="RUN2", required=True, help="new run folder")
    parser.add_argument("--method", default=None, metavar="NAME", help=" | ".join(METHODS))
    _add_settings(parser, required="RUN --epoch E --out RUN2 ", with_defaults=False)


def _export(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="CSV file to write")


def _map(parser: argparse.ArgumentParser) -> None:
    from engine.mapper import DIMS

    _add_run(parser)
    parser.add_argument(
        "--dims", type=int, nargs="+", choices=DIMS, default=[2], help="2, 3 or both (default: 2)"
    )


def _run_and_json(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    _add_json(parser)


def _nothing(parser: argparse.ArgumentParser) -> None:
    """A command without options."""


# name -> what it does, and what adds its options
COMMANDS: dict[str, tuple[Callable[..., int], Callable[[argparse.ArgumentParser], None]]] = {
    "train": (commands.train, _train),
    "resume": (commands.resume, _run_and_json),
    "sweep": (commands.sweep, _sweep),
    "experiment": (commands.experiment, _experiment),
    "bench": (commands.bench, _bench),
    "headline": (commands.headline, _headline),
    "fork": (commands.fork, _fork),
    "show": (commands.show, _run_and_json),
    "export": (commands.export, _export),
    "map": (commands.lay_out, _map),
    "datasets": (commands.datasets, _nothing),
    "methods": (commands.methods, _nothing),
}


# --- options that several commands have


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE",
        help="take the settings of this file, such as the config.json of any run; other options "
        "override it",
    )  # fmt: skip


def _add_method_and_preset(parser: argparse.ArgumentParser) -> None:
    from engine.config import METHODS

    parser.add_argument("--method", metavar="NAME", help=f"{' | '.join(METHODS)} (default: mixnn)")
    parser.add_argument(
        "--preset", metavar="NAME",
        help="auto: tuned for the data set | reference: as the authors' code | cifar10-fast, "
        "cifar10-best: for a GPU | plain: the defaults named here (default: auto)",
    )  # fmt: skip


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs at once (default: as many as cores allow)"
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", nargs="?", const="auto",
        help="compute on a Ray cluster (auto, local or host:port) whose machines share the folder",
    )  # fmt: skip


def _add_settings(
    parser: argparse.ArgumentParser, *, required: str = "", with_defaults: bool = True,
    without: Sequence[str] = (),
) -> None:  # fmt: skip
    """One option per setting, in groups. Values are checked by RunConfig alone.

    required: what the usage line names apart from options that may be left out.
    """
    from engine.config import GROUPS, PRESETS, RunConfig, allowed, group_of

    parser.usage = f"%(prog)s {required}[OPTIONS]"
    titles = {name: title if with_defaults else f"{title}: what changes"
              for name, title in GROUPS.items()}  # fmt: skip
    groups = {name: parser.add_argument_group(title) for name, title in titles.items()}
    for name, field in RunConfig.model_fields.items():
        if name in without:
            continue
        words = allowed(name)
        default = "none" if field.default is None else str(field.default).lower()
        tuned = sorted({str(preset[name]) for preset in PRESETS.values() if name in preset})
        if with_defaults:
            words += f"; default: {default}"
            words += f", tuned: {' or '.join(tuned)}" if tuned else ""
        groups[group_of(name)].add_argument(
            f"--{name.replace('_', '-')}", metavar="V",
            help=f"{field.description} ({words})".replace("%", "%%"),
        )  # fmt: skip
