"""The command line: python -m engine train | show | resume | fork | export | map | ..."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence

from engine import __version__, commands, config
from engine import headline as headlines
from engine.config import ConfigError, RunConfig, allowed
from engine.data import DataError
from engine.device import DeviceError
from engine.mapper import DIMS
from engine.memory import as_shortage
from engine.noise import NoiseError
from engine.store import StoreError
from engine.terminal import INTERRUPTED


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 well, 1 failed, 2 bad input, 130 stopped.

    141 where nobody reads its output any more, as of a program that such a pipe ends.
    """
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        status = command(**options)
        print(end="", flush=True)  # a pipe that was closed shows here, and not when Python ends
        return status
    except BrokenPipeError:
        _write_nowhere()
        return 128 + signal.SIGPIPE
    except (ConfigError, DeviceError, NoiseError, DataError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except (MemoryError, RuntimeError, ImportError, OSError) as error:
        if (shortage := as_shortage(error)) is None:
            raise
        print(f"error: {shortage}", file=sys.stderr)
        return 1


def _write_nowhere() -> None:
    """Let what Python writes when it ends go to no closed pipe, about which it would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # it is no file
            os.dup2(nowhere, stream.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engine", description="Learning with noisy labels: MixNN and its relatives."
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(function, *, name: str = "", more: str = "", reads_run=False, as_json=False):
        sub = subparsers.add_parser(
            name or function.__name__, help=function.__doc__.replace("%", "%%"),
            description=f"{function.__doc__} {more}".strip(),
        )  # fmt: skip
        sub.set_defaults(command=function)
        if reads_run:
            sub.add_argument("run", metavar="RUN", help="run folder")
        if as_json:
            sub.add_argument(
                "--json", action="store_true", dest="as_json", help="print one JSON object"
            )
        return sub

    sub = add(commands.train, as_json=True)
    sub.add_argument("--out", metavar="RUN", help="run folder (default: a free name under runs/)")
    sub.add_argument(
        "--method", default="mixnn", metavar="NAME",
        help=f"{' | '.join(config.METHODS)} (default: mixnn)",
    )  # fmt: skip
    sub.add_argument(
        "--preset", default="auto", metavar="NAME",
        help="auto: tuned for the data set | reference: as the authors' code | fast, best: for a "
        "GPU | plain: the defaults named here (default: auto)",
    )  # fmt: skip
    _add_knobs(sub, with_defaults=True)

    add(commands.resume, reads_run=True, as_json=True)

    sub = add(
        commands.sweep,
        more="Every knob, and --method and --preset, takes one value, a list (1,2,5) or a range "
        "with both its ends (1:20, 0:0.9:0.1). Runs that are there are skipped, so the same "
        "command goes on after a stop or a crash.",
    )
    sub.add_argument("--out", metavar="FOLDER", required=True, help="folder of the run folders")
    sub.add_argument("--table", metavar="FILE", help=".parquet or .csv (default: in that folder)")
    _add_sweep_options(sub)
    for name in ("method", "preset"):
        sub.add_argument(f"--{name}", metavar="V,V", help="as in `train`")
    _add_knobs(sub, with_defaults=True)

    sub = add(
        commands.experiment,
        more="Without a name it lists them; `all` is all of them. Runs that several of them need "
        "are made once, and the same command goes on after a stop.",
    )
    sub.add_argument("names", metavar="NAME", nargs="*", help="which ones")
    sub.add_argument(
        "--form", default="quick", metavar="FORM",
        help="quick: digits, minutes on two cores | full: CIFAR-10 and a ResNet-18, for a GPU "
        "(default: quick)",
    )  # fmt: skip
    sub.add_argument(
        "--out", metavar="FOLDER", default="runs/experiments/results", help="where answers go"
    )
    sub.add_argument(
        "--runs", metavar="FOLDER", default="runs/experiments/runs", help="where runs go"
    )
    _add_sweep_options(sub)
    _add_knobs(sub, with_defaults=False)

    sub = add(
        commands.bench,
        more="Stages are timed in turns, in one process; medians count. The data are drawn shapes "
        "of CIFAR-10's size, if no others are named.",
    )
    for name, default, words in (
        (
            "images",
            None,
            "of how many the passes over images are made, scaled to all (default: all)",
        ),
        ("turns", 3, "how often each stage is timed (default: 3)"),
        ("reference", 0, "time the reference code's way of working as well, on so many images"),
    ):
        sub.add_argument(f"--{name}", type=int, metavar="N", default=default, help=words)
    sub.add_argument("--profile", action="store_true", help="name the largest costs of training")
    sub.add_argument("--out", metavar="FILE", help="JSON file to write")
    sub.add_argument("--against", metavar="FILE", help="stored result to compare with")
    _add_knobs(sub, with_defaults=True)

    sub = add(
        commands.headline,
        more="Runs go one after the other in this process, on data that is on the device. Those "
        "that are there are not made again; the same command goes on after a stop.",
    )
    for name, metavar, default, words in (
        ("preset", "V,V", "fast", " | ".join(headlines.PRESETS)),
        ("noise", "V,V", "symmetric0.8", f"{' | '.join(headlines.NOISES)}, or all"),
        ("beside", "V,V", "", "methods on the preset's network and epochs, like ce,mixup,elr"),
        ("seed", "V,V", "0", "seeds, as in `sweep`: 0:2 makes three runs a row"),
        ("out", "FOLDER", "runs/headline/results", "where headline-PRESET.json goes"),
        ("runs", "FOLDER", "runs/headline/runs", "where runs go"),
    ):
        words += f" (default: {default or 'none'})"
        sub.add_argument(f"--{name}", metavar=metavar, default=default, help=words)
    sub.add_argument(
        "--ablation", action="store_true", help="a row for the preset without each ingredient"
    )
    sub.add_argument("--minutes", type=float, metavar="M", help="stop cleanly after so many")
    _add_knobs(sub, with_defaults=False, without=headlines.ROW_FIELDS)

    sub = add(commands.fork, reads_run=True, as_json=True)
    sub.add_argument("--epoch", type=int, required=True, help="epoch to start after, from 0")
    sub.add_argument("--out", metavar="RUN2", required=True, help="new run folder")
    sub.add_argument("--method", default=None, metavar="NAME", help=" | ".join(config.METHODS))
    _add_knobs(sub, with_defaults=False)

    add(commands.show, reads_run=True, as_json=True)

    sub = add(commands.export, reads_run=True)
    sub.add_argument("--out", required=True, metavar="FILE", help="CSV file to write")

    sub = add(commands.lay_out, name="map", reads_run=True)
    sub.add_argument(
        "--dims", type=int, nargs="+", choices=DIMS, default=[2], help="2, 3 or both (default: 2)"
    )

    add(commands.datasets)
    add(commands.methods)
    return parser


def _add_sweep_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs at once (default: as many as cores allow)"
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", nargs="?", const="auto",
        help="compute on a Ray cluster (auto, local or host:port) whose machines share the folder",
    )  # fmt: skip


def _add_knobs(
    parser: argparse.ArgumentParser, *, with_defaults: bool, without: Sequence[str] = ()
) -> None:
    """One option per knob of RunConfig. Values are checked there, so that one place says no."""
    group = parser.add_argument_group("knobs" if with_defaults else "knobs that change")
    for name, field in RunConfig.model_fields.items():
        if name in without:
            continue
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


if __name__ == "__main__":
    sys.exit(main())
