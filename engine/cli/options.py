"""The options of each command. Values of settings are checked by RunConfig."""

import argparse
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from engine.cli.inputs import BENCH_DATASET

SHORT = {"backbone_weights": ("--weights",)}  # further names of options


def train(parser: argparse.ArgumentParser) -> None:
    """Options of `train`."""
    _add_json(parser)
    parser.add_argument(
        "--out", metavar="RUN", help="run folder (default: a free name under runs/)"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would run, and about how much time, memory and disk it would take",
    )
    _add_method_and_preset(parser)
    _add_config(parser)
    _add_plugin(parser)
    _add_settings(parser)


def sweep(parser: argparse.ArgumentParser) -> None:
    """Options of `sweep`."""
    _describe(
        parser,
        "Every setting, and --method and --preset, takes one value, a list (1,2,5) or a range that "
        "includes both ends (1:20, 0:0.9:0.1). Finished runs are skipped, so run the same command "
        "to continue after a stop or a crash.",
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder of the run folders")
    parser.add_argument(
        "--table", metavar="FILE", help=".parquet or .csv (default: in that folder)"
    )
    _add_jobs(parser)
    for name in ("method", "preset"):
        parser.add_argument(f"--{name}", metavar="V,V", help="as in `train`")
    _add_config(parser)
    _add_plugin(parser)
    _add_settings(parser, required="--out FOLDER ")


def experiment(parser: argparse.ArgumentParser) -> None:
    """Options of `experiment`."""
    _describe(
        parser,
        "Without a name it lists the experiments; `all` runs them all but cifar10, which is "
        "measured in this process within --seconds. Runs that several of them need are trained "
        "once; run the same command to continue after a stop.",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="experiments")
    parser.add_argument(
        "--form",
        default="quick",
        metavar="FORM",
        help="quick: digits, minutes on two cores | full: CIFAR-10 and a ResNet-18, on a GPU "
        "(default: quick)",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        default="runs/experiments/results",
        help="folder of the answers (default: runs/experiments/results)",
    )
    parser.add_argument(
        "--runs",
        metavar="FOLDER",
        default="runs/experiments/runs",
        help="folder of the runs (default: runs/experiments/runs)",
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="cifar10: time that it may take (default: 500)"
    )
    _add_jobs(parser)
    _add_settings(parser, required="[NAME ...] ", with_defaults=False)


def bench(parser: argparse.ArgumentParser) -> None:
    """Options of `bench`."""
    _describe(
        parser,
        "Stages are timed in turns, in one process; medians are reported. The default data are "
        "synthetic shapes of CIFAR-10's size.",
    )
    images = "images per pass, scaled to all (default: all)"
    for name, default, words in (
        ("images", None, images),
        ("turns", 3, "repetitions of each stage (default: 3)"),
        ("reference", 0, "also time the reference implementation, on so many images"),
    ):
        parser.add_argument(f"--{name}", type=int, metavar="N", default=default, help=words)
    parser.add_argument("--profile", action="store_true", help="list the largest costs of training")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    parser.add_argument("--against", metavar="FILE", help="stored result to compare with")
    _add_settings(parser, defaults={"dataset": BENCH_DATASET})


def headline(parser: argparse.ArgumentParser) -> None:
    """Options of `headline`."""
    from engine.experiments.cifar10.configs import NOISES, PRESETS, ROW_FIELDS

    _describe(
        parser,
        "Runs are trained one after the other in this process, with the data on the device. "
        "Finished runs are skipped; run the same command to continue after a stop.",
    )
    for name, metavar, default, words in (
        ("preset", "V,V", "cifar10-fast", " | ".join(PRESETS)),
        ("noise", "V,V", "symmetric0.8", f"{' | '.join(NOISES)}, or all"),
        ("baselines", "V,V", "", "methods with the preset's network and epochs, like ce,mixup,elr"),
        ("seed", "V,V", "0", "seeds, as in `sweep`: 0:2 is three runs per row"),
        ("out", "FOLDER", "runs/headline/results", "folder of headline-PRESET.json"),
        ("runs", "FOLDER", "runs/headline/runs", "folder of the runs"),
    ):
        words += f" (default: {default or 'none'})"
        names = [f"--{name}"] + ["--beside"] * (name == "baselines")  # its earlier name
        parser.add_argument(*names, dest=name, metavar=metavar, default=default, help=words)
    parser.add_argument(
        "--ablation", action="store_true", help="add a row without each ingredient of the preset"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="stop cleanly after this time")
    _add_settings(parser, with_defaults=False, without=ROW_FIELDS)


def fork(parser: argparse.ArgumentParser) -> None:
    """Options of `fork`."""
    from engine.config import METHODS

    run_and_json(parser)
    _add_plugin(parser)
    parser.add_argument("--epoch", type=int, required=True, help="epoch to start after, from 0")
    parser.add_argument("--out", metavar="RUN2", required=True, help="new run folder")
    parser.add_argument("--method", default=None, metavar="NAME", help=" | ".join(METHODS))
    _add_settings(parser, required="RUN --epoch E --out RUN2 ", with_defaults=False)


def export(parser: argparse.ArgumentParser) -> None:
    """Options of `export`."""
    _describe(
        parser,
        "Labels are those of the decisions; labels without a decision get the proposed change, if "
        "there is one. Files that do not change are copied byte for byte. The last four forms have "
        "the epochs instead of the labels: metrics, histograms, mixed images, features.",
    )
    _add_run(parser)
    forms = (
        "csv npz folders zip manifest cleanlab labelstudio fiftyone huggingface croissant "
        "metrics tensorboard mlflow wandb-offline"
    )
    parser.add_argument(
        "--as",
        dest="form",
        metavar="FORM",
        default="csv",
        help=f"{' | '.join(forms.split())} (default: csv)",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="PATH",
        help="file; of folders, fiftyone, huggingface and croissant a new folder or a .zip; of "
        "tensorboard, mlflow and wandb-offline a new folder",
    )
    parser.add_argument(
        "--decisions",
        metavar="FILE",
        help="CSV with the columns sample (or id), decision (keep | change | remove | skip) and "
        "label; or none (default: those made in the app, review.json of the run)",
    )
    parser.add_argument(
        "--accept",
        metavar="P",
        default="0.6",
        help="least probability of a proposed change that nobody has decided on, 0.6 to 1; or none "
        "(default: 0.6)",
    )


def check(parser: argparse.ArgumentParser) -> None:
    """Options of `check`."""
    _describe(
        parser,
        "Label issues, duplicates, leakage, outliers, poor images, class sizes and annotators. "
        "Without a run, labels are judged by logistic regression and neighbors on simple features.",
    )
    parser.add_argument(
        "data", metavar="DATA", nargs="?", help="data set, as for train (default: that of the run)"
    )
    parser.add_argument("--run", metavar="RUN", help="run folder whose network judges the labels")
    parser.add_argument("--out", metavar="FILE", help="report to write, .html or .json")
    for name in ("limit", "image-size"):
        parser.add_argument(f"--{name}", type=int, metavar="N", help="as for train")
    parser.add_argument("--image-fit", metavar="FIT", default="pad", help="as for train")
    _add_json(parser)
    _add_plugin(parser)


def issues(parser: argparse.ArgumentParser) -> None:
    """Options of `issues`."""
    _describe(
        parser,
        "With a run, its network and neighbors count as much as the probabilities. Without one, "
        "--dataset or --labels has the labels. Probabilities should be out-of-sample, such as "
        "those of scikit-learn's cross_val_predict.",
    )
    parser.add_argument("run", metavar="RUN", nargs="?", help="run folder")
    parser.add_argument(
        "--probabilities",
        metavar="FILE",
        help="(N, C) probabilities in an .npy or .npz file, or a table with a column per class",
    )
    parser.add_argument("--dataset", metavar="DATA", help="data set whose training labels they are")
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="labels in the order of the probabilities: an .npy file of numbers from 0, or a table",
    )
    parser.add_argument("--out", metavar="FILE", help="CSV file to write, one row per label")
    parser.add_argument(
        "--top", type=int, metavar="N", default=10, help="issues to print (default: 10)"
    )


def features(parser: argparse.ArgumentParser) -> None:
    """Options of `features`."""
    parser.add_argument("dataset", metavar="DATA", help="data set of images, see `datasets`")
    parser.add_argument(
        "--backbone", metavar="timm:NAME", required=True, help="network of the library timm"
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="its weights, .pth or .safetensors; or the word pretrained, which lets timm download "
        "its own (nothing is downloaded otherwise)",
    )
    parser.add_argument("--out", metavar="FILE", required=True, help=".npy file to write")
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="V",
        help="side in pixels to which image files are reduced first (default: the network's)",
    )
    parser.add_argument("--image-fit", metavar="V", default="pad", help="pad | crop | stretch")
    parser.add_argument("--device", metavar="V", default="auto", help="auto | cpu | cuda")


def publish(parser: argparse.ArgumentParser) -> None:
    """Options of `publish`."""
    _describe(
        parser,
        "All runs have to be on the same data set. Two are compared; of three or more, those that "
        "differ in the seed alone are seeds of one: the curves show their mean and its 95 % "
        "interval, all else the first one. The map is UMAP's where `map` has computed it "
        "for all epochs of a run, otherwise PCA.",
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", help="run folder: one, two, or more seeds of them"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="file or folder to write")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--folder",
        action="store_true",
        help="write a folder: index.html, the recording and the labels beside it",
    )
    kind.add_argument("--recording", action="store_true", help="write the recording alone")


def classkit(parser: argparse.ArgumentParser) -> None:
    """Options of `classkit`."""
    parser.add_argument("dest", metavar="DEST", help="new folder to write")
    parser.add_argument(
        "notebooks", metavar="NOTEBOOK", nargs="*", help="such as 01_noise; by default all"
    )


def map(parser: argparse.ArgumentParser) -> None:
    """Options of `map`."""
    from engine.embedding.maps import DIMS

    _add_run(parser)
    parser.add_argument(
        "--dims", type=int, nargs="+", choices=DIMS, default=[2], help="2, 3 or both (default: 2)"
    )


def resume(parser: argparse.ArgumentParser) -> None:
    """Options of `resume`."""
    run_and_json(parser)
    _add_plugin(parser)


def run_and_json(parser: argparse.ArgumentParser) -> None:
    """Options of `show`."""
    _add_run(parser)
    _add_json(parser)


def nothing(parser: argparse.ArgumentParser) -> None:
    """A command without options."""


# --- options of several commands


def _describe(parser: argparse.ArgumentParser, text: str) -> None:
    parser.description = f"{parser.description} {text}"


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="read the settings from this file, such as the config.json of any run; other options "
        "override it",
    )


def _add_plugin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin",
        metavar="FILE.py",
        action="append",
        default=[],
        help="import this file first: its losses, networks and other parts are then known by name "
        "(engine.register); may be given several times",
    )


def _add_method_and_preset(parser: argparse.ArgumentParser) -> None:
    from engine.config import METHODS

    parser.add_argument("--method", metavar="NAME", help=f"{' | '.join(METHODS)} (default: mixnn)")
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="auto: tuned for the data set | reference: as in the authors' code | cifar10-fast, "
        "cifar10-best: for a GPU | plain: the defaults below (default: auto)",
    )


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="simultaneous runs (default: as many as cores allow)"
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        nargs="?",
        const="auto",
        help="run on a Ray cluster (auto, local or host:port) whose machines share the folder",
    )


def _add_settings(
    parser: argparse.ArgumentParser,
    *,
    required: str = "",
    with_defaults: bool = True,
    without: Sequence[str] = (),
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """One option per setting, in groups. Values are checked by RunConfig alone.

    required: required arguments in the usage line. without: settings that get no option. defaults:
    those of this command that differ from the settings' own.
    """
    from engine.config import GROUPS, PRESETS, RunConfig, allowed, group_of

    parser.usage = f"%(prog)s {required}[OPTIONS]"
    titles = {
        name: title if with_defaults else f"{title}: changes" for name, title in GROUPS.items()
    }
    groups = {name: parser.add_argument_group(title) for name, title in titles.items()}
    for name, field in RunConfig.model_fields.items():
        if name in without:
            continue
        words = allowed(name)
        default = defaults.get(name, "none" if field.default is None else str(field.default))
        if isinstance(field.default, bool):
            default = default.lower()
        tuned = sorted({str(preset[name]) for preset in PRESETS.values() if name in preset})
        if with_defaults:
            words += f"; default: {default}"
            words += f", tuned: {' or '.join(tuned)}" if tuned else ""
        groups[group_of(name)].add_argument(
            f"--{name.replace('_', '-')}",
            *SHORT.get(name, ()),
            dest=name,
            metavar="V",
            help=f"{field.description} ({words})".replace("%", "%%"),
        )
