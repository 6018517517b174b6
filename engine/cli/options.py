"""The options of each command, added to its parser; values of settings are checked by RunConfig."""

import argparse
from collections.abc import Sequence


def train(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    parser.add_argument(
        "--out", metavar="RUN", help="run folder (default: a free name under runs/)"
    )
    _add_method_and_preset(parser)
    _add_config(parser)
    _add_settings(parser)


def sweep(parser: argparse.ArgumentParser) -> None:
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


def experiment(parser: argparse.ArgumentParser) -> None:
    parser.description += (
        " Without a name it lists them; `all` is all of them. Runs that several of them need are "
        "made once, and the same command goes on after a stop."
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="which ones")
    parser.add_argument(
        "--form",
        default="quick",
        metavar="FORM",
        help="quick: digits, minutes on two cores | full: CIFAR-10 and a ResNet-18, for a GPU "
        "(default: quick)",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        default="runs/experiments/results",
        help="where answers go (default: runs/experiments/results)",
    )
    parser.add_argument(
        "--runs",
        metavar="FOLDER",
        default="runs/experiments/runs",
        help="where runs go (default: runs/experiments/runs)",
    )
    _add_jobs(parser)
    _add_settings(parser, required="[NAME ...] ", with_defaults=False)


def bench(parser: argparse.ArgumentParser) -> None:
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


def headline(parser: argparse.ArgumentParser) -> None:
    from engine.experiments import cifar10

    parser.description += (
        " Runs go one after the other in this process, on data that is on the device. Those that "
        "are there are not made again; the same command goes on after a stop."
    )
    for name, metavar, default, words in (
        ("preset", "V,V", "cifar10-fast", " | ".join(cifar10.PRESETS)),
        ("noise", "V,V", "symmetric0.8", f"{' | '.join(cifar10.NOISES)}, or all"),
        ("baselines", "V,V", "", "methods on the preset's network and epochs, like ce,mixup,elr"),
        ("seed", "V,V", "0", "seeds, as in `sweep`: 0:2 makes three runs a row"),
        ("out", "FOLDER", "runs/headline/results", "where headline-PRESET.json goes"),
        ("runs", "FOLDER", "runs/headline/runs", "where runs go"),
    ):
        words += f" (default: {default or 'none'})"
        names = [f"--{name}"] + ["--beside"] * (name == "baselines")  # its earlier name
        parser.add_argument(*names, dest=name, metavar=metavar, default=default, help=words)
    parser.add_argument(
        "--ablation", action="store_true", help="a row for the preset without each ingredient"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="stop cleanly after so many")
    _add_settings(parser, with_defaults=False, without=cifar10.ROW_FIELDS)


def fork(parser: argparse.ArgumentParser) -> None:
    from engine.config import METHODS

    run_and_json(parser)
    parser.add_argument("--epoch", type=int, required=True, help="epoch to start after, from 0")
    parser.add_argument("--out", metavar="RUN2", required=True, help="new run folder")
    parser.add_argument("--method", default=None, metavar="NAME", help=" | ".join(METHODS))
    _add_settings(parser, required="RUN --epoch E --out RUN2 ", with_defaults=False)


def export(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="CSV file to write")


def map(parser: argparse.ArgumentParser) -> None:
    from engine.embedding.maps import DIMS

    _add_run(parser)
    parser.add_argument(
        "--dims", type=int, nargs="+", choices=DIMS, default=[2], help="2, 3 or both (default: 2)"
    )


def run_and_json(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    _add_json(parser)


def nothing(parser: argparse.ArgumentParser) -> None:
    """A command without options."""


# --- options that several commands have


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="take the settings of this file, such as the config.json of any run; other options "
        "override it",
    )


def _add_method_and_preset(parser: argparse.ArgumentParser) -> None:
    from engine.config import METHODS

    parser.add_argument("--method", metavar="NAME", help=f"{' | '.join(METHODS)} (default: mixnn)")
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="auto: tuned for the data set | reference: as the authors' code | cifar10-fast, "
        "cifar10-best: for a GPU | plain: the defaults named here (default: auto)",
    )


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs at once (default: as many as cores allow)"
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        nargs="?",
        const="auto",
        help="compute on a Ray cluster (auto, local or host:port) whose machines share the folder",
    )


def _add_settings(
    parser: argparse.ArgumentParser,
    *,
    required: str = "",
    with_defaults: bool = True,
    without: Sequence[str] = (),
) -> None:
    """One option per setting, in groups. Values are checked by RunConfig alone.

    required: what the usage line names apart from options that may be left out.
    """
    from engine.config import GROUPS, PRESETS, RunConfig, allowed, group_of

    parser.usage = f"%(prog)s {required}[OPTIONS]"
    titles = {
        name: title if with_defaults else f"{title}: what changes" for name, title in GROUPS.items()
    }
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
            f"--{name.replace('_', '-')}",
            metavar="V",
            help=f"{field.description} ({words})".replace("%", "%%"),
        )
