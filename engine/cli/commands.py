"""Commands of a single run, of the lists and of the benchmark: options in, exit status out.

The options are in cli/options.py, commands of many runs in cli/sweep_commands.py. Each command
imports what it needs, so that one that only reads starts without PyTorch.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import inputs
from engine.errors import StoreError

if TYPE_CHECKING:
    import numpy as np

    from engine.config import RunConfig
    from engine.runs.runner import Runner


def train(
    *,
    out: str | None,
    as_json: bool,
    config: str | None,
    method: str | None,
    preset: str | None,
    dry_run: bool,
    **settings: Any,
) -> int:
    """Train one run and print its results."""
    from engine.config import configure
    from engine.runs.naming import free_folder
    from engine.runs.runner import Runner

    changes = inputs.named(settings)
    if config is None:
        made = configure(method=method or "mixnn", preset=preset or "auto", **changes)
    else:
        made = inputs.from_file(config, preset).varied(method=method, **changes)
    if dry_run:
        return _forecast(made, as_json)
    return _run(Runner.new(made, out or free_folder(made, Path("runs"))), as_json)


def resume(*, run: str, as_json: bool) -> int:
    """Continue a run after its last complete epoch."""
    from engine.runs.folder import RunFolder
    from engine.runs.runner import Runner

    return _run(Runner.resume(run), as_json, shown=len(RunFolder(run).epochs))


def fork(*, run: str, epoch: int, out: str, as_json: bool, **settings: Any) -> int:
    """Start a new run from the state of another after an epoch."""
    from engine.runs.runner import Runner

    return _run(Runner.fork(run, epoch, out, **inputs.named(settings)), as_json)


def show(*, run: str, as_json: bool) -> int:
    """Print a run's settings and results."""
    _print_summary(run, as_json, with_notes=True)
    return 0


def export(*, run: str, out: str, form: str, decisions: str | None, accept: str) -> int:
    """Write the labels of a run, or its curves for an experiment tracker, in one of many forms."""
    from engine.analysis import review
    from engine.analysis.exports import forms, trackers
    from engine.analysis.exports.bundle import Bundle
    from engine.analysis.label_issues import label_issues
    from engine.runs.folder import RunFolder

    opened, least = RunFolder(run), inputs.probability("accept", accept)
    if form in trackers.TRACKERS:
        trackers.write(opened, form, Path(out))
        print(f"wrote {out}: {trackers.TRACKERS[form].description}, {len(opened.epochs)} epochs")
        return 0
    forms.check_suffix(form, Path(out))
    if decisions is None:
        decided = review.stored_decisions(opened)
    else:
        decided = {} if decisions == "none" else review.read_decisions(Path(decisions), opened)
    issues = label_issues(opened)
    if issues.warning:
        print(f"warning: {issues.warning}", file=sys.stderr, flush=True)
    final = review.final_labels(issues, decided, least)
    forms.write(Bundle(opened, issues, final), form, Path(out))
    by_decision, unseen, removed = final.counts(issues.given)
    n_proposed = int((issues.proposed != issues.given).sum())
    print(
        f"{issues.estimate()}\nwrote {out}: {len(issues.flagged)} label issues, {n_proposed} "
        f"changes proposed; labels changed: {unseen} as proposed, {by_decision} by {len(decided)} "
        f"decisions; {removed} images removed"
    )
    return 0


def issues(
    *,
    run: str | None,
    probabilities: str | None,
    dataset: str | None,
    labels: str | None,
    out: str | None,
    top: int,
) -> int:
    """Rank the label issues of a run, of predicted probabilities of your own, or of both."""
    from engine.analysis import own_probabilities as own
    from engine.analysis.label_issues import label_issues, probability_issues
    from engine.cli.console import print_table
    from engine.runs.folder import RunFolder

    names: Sequence[str] | np.ndarray | None
    if run is not None:
        opened = RunFolder(run)
        given, classes = opened.labels["given"], opened.info["data"]["classes"]
        names = opened.labels.get("ids")
    else:
        given, classes, names = inputs.labels(dataset, labels, probabilities)
    ids = [str(i) for i in range(len(given))] if names is None else [str(name) for name in names]
    found = None
    if probabilities is not None:
        found = own.read_probabilities(probabilities, classes, len(given))
    if run is not None:
        result = label_issues(opened, probabilities=found)
    else:
        assert found is not None, "inputs.labels has seen to it"
        result = probability_issues(given, found)
    if result.warning:
        print(f"warning: {result.warning}", file=sys.stderr, flush=True)
    print(result.estimate())
    rows = [("sample", "given", "suggested", "quality", "decision")]
    decisions = result.decisions()
    for i in result.flagged[:top].tolist():
        kinds = classes[result.given[i]], classes[result.suggested[i]]
        rows.append((ids[i], *kinds, f"{result.quality[i]:.3f}", decisions[i]))
    print_table(rows)
    if out is not None:
        own.write_issues(result, classes, ids, out)
        n_proposed = int((result.proposed != result.given).sum())
        print(f"wrote {out}: {len(result.flagged)} label issues, {n_proposed} changes proposed")
    return 0


def features(
    *,
    dataset: str,
    backbone: str,
    weights: str | None,
    out: str,
    image_size: int | None,
    image_fit: str,
    device: str,
) -> int:
    """Write the features of images by a pretrained network, and their labels beside them."""
    from engine.data import backbone as networks
    from engine.data import load
    from engine.data.registry import IMAGE_FILES, data_folder

    if image_size is None and dataset.partition(":")[0] in IMAGE_FILES:
        image_size = networks.image_size(backbone)
    data = load(dataset, image_size=image_size, image_fit=image_fit)
    n, d = networks.write_features(data, backbone, weights, Path(out), data_folder(), device)
    print(f"wrote {out}: {n:,} rows of {d} features; train --dataset features:{out} takes it")
    return 0


def publish(*, runs: list[str], out: str, folder: bool, recording: bool) -> int:
    """Write runs as a page that opens without a server."""
    from engine.reports import publish as pages
    from engine.runs.folder import RunFolder
    from engine.runs.forks import data_of

    opened = [RunFolder(run) for run in runs]
    try:
        data = data_of(opened[0])
    except StoreError as error:
        print(f"warning: no images: {error}", file=sys.stderr, flush=True)
        data = None
    if recording:
        write = pages.publish_recording
    else:
        write = pages.publish_folder if folder else pages.publish
    size = write(opened, Path(out), data)
    print(f"wrote {out}: {size / 1e6:.1f} MB")
    return 0


def classkit(*, dest: str, notebooks: list[str]) -> int:
    """Write a class kit: student notebooks, solutions, autograder, slides and a handout."""
    from engine.files import written_whole
    from engine.reports.classkit import build

    with written_whole(Path(dest)) as folder:
        n = build(folder, notebooks, lambda name: print(name, file=sys.stderr, flush=True))
    print(f"wrote {dest}: {n} notebook{'s' * (n != 1)}; start with {Path(dest) / 'README.md'}")
    return 0


def bench(
    *,
    images: int | None,
    turns: int,
    reference: int,
    profile: bool,
    out: str | None,
    against: str | None,
    **settings: Any,
) -> int:
    """Measure the cost of an epoch, stage by stage, compared with plain cross-entropy."""
    from tqdm import tqdm

    from engine.cli.console import print_table
    from engine.config import configure
    from engine.files import read_json, write_json
    from engine.profiling.stages import comparison, measure, rows_of

    before = None if against is None else read_json(Path(against))
    config = configure(**{"dataset": inputs.BENCH_DATASET} | inputs.named(settings))
    with tqdm(bar_format="{desc}", file=sys.stderr, disable=None) as bar:
        result = measure(
            config,
            images=images,
            turns=turns,
            reference=reference,
            profile=profile,
            say=bar.set_description_str,
        )
    if out is not None:
        write_json(Path(out), result, indent=1)
    print_table(rows_of(result))
    if before is not None:
        print()
        print_table(comparison(result, before))
    return 0


def embed(*, run: str, dims: list[int]) -> int:
    """Compute the UMAP maps of all epochs in advance."""
    from tqdm import tqdm

    from engine.embedding.maps import embed_next_epoch
    from engine.runs.folder import RunFolder

    epochs = len(RunFolder(run).epochs)
    for d in dims:
        with tqdm(total=epochs, unit="epoch", file=sys.stderr, disable=None) as bar:
            while (epoch := embed_next_epoch(run, d)) is not None:
                bar.set_description_str(f"{d}-D map of epoch {epoch}")
                bar.update()
        print(f"{run} has all its {d}-D maps: {len(RunFolder(run).epochs)} epochs")
    return 0


def datasets() -> int:
    """List the data sets."""
    from engine.cli.console import print_table
    from engine.data import DATASETS

    rows: list[tuple[str, ...]] = [("name", "train", "test", "classes", "shape", "description")]
    for entry in DATASETS.values():
        shape = "x".join(map(str, entry.shape)) if entry.shape else "-"
        counts = [f"{n:,}" if n else "-" for n in (entry.n_train, entry.n_test, entry.n_classes)]
        note = " (downloaded on first use)" if entry.needs_download else ""
        rows.append((entry.usage, *counts, shape, entry.description + note))
    print_table(rows)
    return 0


def methods() -> int:
    """List the methods, each a set of settings, and the noise models."""
    from engine.cli.console import print_table
    from engine.config import METHOD_NOTES, METHODS
    from engine.noise.class_dependent import NOISE_NOTES

    rows = [("method", "mixing", "loss", "correction", "description")]
    for name, row in METHODS.items():
        parts = (row["mixing"], row["loss"], row["correction"])
        rows.append((name, *parts, METHOD_NOTES[name]))
    print_table(rows)
    print()
    print_table([("noise", "description"), *NOISE_NOTES.items()])
    return 0


def _run(runner: "Runner", as_json: bool, shown: int = 0) -> int:
    """Train to the end and print the results; shown: epochs that exist already."""
    from engine.cli.console import INTERRUPTED, follow

    status = follow(runner, shown)
    if status in (0, INTERRUPTED) and runner.ready:
        _print_summary(runner.folder, as_json)  # the notes stand at the beginning
    return status


def _forecast(config: "RunConfig", as_json: bool) -> int:
    """Print what a run would take."""
    from dataclasses import asdict

    from engine.cli.console import print_table
    from engine.data import load_data
    from engine.profiling.forecast import forecast

    found = forecast(config, load_data(config))
    if as_json:
        print(json.dumps(asdict(found)))
        return 0
    print_table(found.rows(config))
    if found.n_tried < found.n:
        print(f"\nextrapolated from {found.n_tried:,} samples; nothing was kept")
    return 0


def _print_summary(run: Path | str, as_json: bool, with_notes: bool = False) -> None:
    """Print a run's settings and results as a table or as one JSON object."""
    from engine.analysis.summary import summary
    from engine.cli.console import print_notes, print_table
    from engine.runs.folder import RunFolder

    numbers = summary(RunFolder(run))
    if as_json:
        print(json.dumps(numbers))
        return
    notes = numbers.pop("notes")
    if with_notes:
        print_notes(notes)
    rows = [
        (name, "-" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v))
        for name, v in numbers.items()
    ]
    print_table([("run", str(run)), *rows])
