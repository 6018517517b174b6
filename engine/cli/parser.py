"""The command line: python -m engine train | show | resume | fork | export | map | publish | ...

Only the named command gets its options, and each command imports what it needs, so that help and
listings are fast.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from engine import __version__
from engine.cli import commands, data_commands, options, sweep_commands

FAILED, BAD_INPUT = 1, 2
# name -> its function, and the function that adds its options
COMMANDS: dict[str, tuple[Callable[..., int], Callable[[argparse.ArgumentParser], None]]] = {
    "train": (commands.train, options.train),
    "resume": (commands.resume, options.resume),
    "sweep": (sweep_commands.sweep, options.sweep),
    "experiment": (sweep_commands.experiment, options.experiment),
    "bench": (commands.bench, options.bench),
    "headline": (sweep_commands.headline, options.headline),
    "fork": (commands.fork, options.fork),
    "show": (commands.show, options.run_and_json),
    "check": (data_commands.check, options.check),
    "export": (commands.export, options.export),
    "issues": (commands.issues, options.issues),
    "features": (commands.features, options.features),
    "map": (commands.embed, options.map),
    "publish": (commands.publish, options.publish),
    "classkit": (commands.classkit, options.classkit),
    "datasets": (commands.datasets, options.nothing),
    "methods": (commands.methods, options.nothing),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 bad input, 130 stopped.

    141 where the pipe of its output is closed, as of a program that SIGPIPE ends.
    """
    try:
        chosen = vars(_parse(sys.argv[1:] if arguments is None else arguments))
        status = _run(chosen.pop("command"), chosen)
        print(end="", flush=True)  # a closed pipe fails here, not when Python ends
        return status
    except BrokenPipeError:
        _write_nowhere()
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run(command: Callable[..., int], chosen: dict[str, Any]) -> int:
    """Run a command; an expected failure becomes a line and an exit status."""
    from engine.errors import EngineError, MemoryShortage, TrainingError, as_shortage

    try:
        for file in chosen.pop("plugin", []):
            from engine.config.registry import load_plugin

            load_plugin(file)
        return command(**chosen)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED if isinstance(error, MemoryShortage | TrainingError) else BAD_INPUT
    except (MemoryError, RuntimeError, ImportError, OSError) as error:
        if (shortage := as_shortage(error)) is None:
            raise
        print(f"error: {shortage}", file=sys.stderr)
        return FAILED


def _write_nowhere() -> None:
    """Redirect what Python writes when it ends: it would report the closed pipe."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no file
            os.dup2(null, stream.fileno())


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command and its options. Exits after --help and for unknown words."""
    parser, by_name = _parsers(arguments)
    first = arguments[0] if arguments else ""
    if first and not first.startswith("-") and first not in by_name:
        from engine.config import did_you_mean

        parser.error(f"unknown command {first!r}{did_you_mean(first, by_name)}")
    chosen, rest = parser.parse_known_args(arguments)
    if rest:
        from engine.config import did_you_mean

        sub = by_name.get(first, parser)
        flags = [flag for action in sub._actions for flag in action.option_strings]
        word = rest[0].partition("=")[0]
        sub.error(f"unknown option {word!r}{did_you_mean(word, flags)}")
    return chosen


def _parsers(
    arguments: Sequence[str],
) -> tuple["_Parser", dict[str, "_Parser"]]:
    """The parser of all commands, and each command's own; only the named one has its options."""
    parser = _Parser(
        prog="python -m engine", description="Learning with noisy labels: MixNN and its relatives."
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    by_name = {}
    for name, (command, add_options) in COMMANDS.items():
        summary = command.__doc__ or ""
        sub = subparsers.add_parser(name, help=summary.replace("%", "%%"), description=summary)
        sub.set_defaults(command=command)
        if name in arguments[:1]:
            add_options(sub)
        by_name[name] = sub
    return parser, by_name


class _Parser(argparse.ArgumentParser):
    """A parser whose help raises BrokenPipeError, which argparse ignores and `main` handles."""

    def print_help(self, file: Any = None) -> None:
        """Print the help of all options to file, or to standard output."""
        print(self.format_help(), end="", file=file, flush=True)
