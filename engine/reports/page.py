"""The page of one run or of two: what was learned, in words, images and tables, as HTML.

Names of classes, samples and runs are untrusted; every text passes `h`.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.analysis.label_issues import LabelIssues, label_issues
from engine.analysis.label_outcomes import LabelOutcome, outcome_counts, outcomes
from engine.analysis.run_changes import differing_settings, settings_of
from engine.analysis.statistics import interval
from engine.analysis.summary import summary
from engine.charts import escaping
from engine.reports.images import image_urls
from engine.reports.names import public_name, titles
from engine.runs.folder import RunFolder

if TYPE_CHECKING:
    from engine.data import Data

MOST_IMAGES = 48  # of one gallery
MOST_PAIRS = 12  # most frequent changes from one class to another
GALLERIES = {
    LabelOutcome.CORRECTED: "Corrected labels: wrong as given, right now",
    LabelOutcome.HARMED: "Harmed labels: right as given, wrong now",
    LabelOutcome.CHANGED: "Changed labels: another one now, not a right one",
}
RESULTS = {  # of engine.analysis.summary, as shares
    "test_accuracy_last": "test images right, last epoch",
    "test_accuracy_best": "test images right, best epoch",
    "memorized": "wrong given labels that the network predicts",
    "fit_clean": "right given labels that the network predicts",
    "label_accuracy_given": "training labels right as given",
    "label_accuracy_corrected": "training labels right after correction",
    "changed_labels": "training labels changed",
    "test_calibration_error": "calibration error on the test images",
}
PROVENANCE = {
    "state": "state",
    "epochs": "epochs",
    "network": "network",
    "device": "device",
    "precision": "number format",
    "seconds": "seconds of training",
}


def h(value: object) -> str:
    """A text as HTML: one line, shown literally."""
    return html.escape(escaping.text(value))


@dataclass
class Result:
    """The labels of a run after its last epoch, and its numbers."""

    number: int  # 1 or 2
    run: RunFolder
    title: str
    seeds: Sequence[RunFolder] = ()  # the same with other seeds

    @cached_property
    def numbers(self) -> dict[str, Any]:
        return summary(self.run)

    @cached_property
    def of_all_seeds(self) -> list[dict[str, Any]]:
        """The numbers of this run and of the other seeds."""
        return [self.numbers, *map(summary, self.seeds)]

    @cached_property
    def classes(self) -> list[str]:
        classes: list[str] = self.run.info["data"]["classes"]
        return classes

    @cached_property
    def soft(self) -> np.ndarray:
        """(N, C) soft labels."""
        return self.run.row("soft", len(self.run.epochs) - 1)

    @cached_property
    def current(self) -> np.ndarray:
        """(N,) labels after correction."""
        return self.soft.argmax(1)

    @cached_property
    def codes(self) -> np.ndarray:
        """(N,) values of LabelOutcome."""
        labels = self.run.labels
        return outcomes(labels["given"], labels.get("true"), self.current)

    @cached_property
    def issues(self) -> LabelIssues:
        return label_issues(self.run)

    def chosen(self, outcome: LabelOutcome) -> np.ndarray:
        """The samples of an outcome, the surest soft labels first."""
        samples = np.flatnonzero(self.codes == outcome)
        weights = self.soft[samples, self.current[samples]]
        return samples[np.argsort(-weights, kind="stable")]

    def sample_name(self, sample: int) -> str:
        ids = self.run.labels.get("ids")
        return f"sample {sample}" if ids is None else str(ids[sample])


def results(*groups: Sequence[RunFolder]) -> list[Result]:
    """What the page says about each run. groups: a run, and after it the other seeds of it."""
    named = zip(groups, titles(*(group[0] for group in groups)), strict=True)
    return [Result(i, run, title, others) for i, ((run, *others), title) in enumerate(named, 1)]


def heading(shown: Sequence[Result]) -> str:
    """The page's title, as text."""
    names = " against ".join(result.title for result in shown)
    title = escaping.text(f"{names} on {public_name(shown[0].run.config.dataset)}")
    return title[0].upper() + title[1:]


def lead(shown: Sequence[Result]) -> str:
    """What the labels were and how each run ended, a few sentences of HTML."""
    run, n = shown[0].run, shown[0].run.info["data"]["n"]
    rates = {result.run.info["rate_actual"] for result in shown}
    sentences = [f"{n:,} training images"]
    if len(rates) == 1 and None not in rates:
        kind = run.config.noise
        noise = "" if kind == "none" else f" ({h(kind)} noise)"
        sentences[0] += f", {_percent(rates.pop())} of their labels wrong{noise}"
    sentences[0] += "."
    for result in shown:
        numbers, parts = result.numbers, []
        if (accuracy := numbers["test_accuracy_last"]) is not None:
            parts.append(f"classifies {_percent(accuracy)} of the test images right")
        if (memorized := numbers["memorized"]) is not None:
            parts.append(f"predicts {_percent(memorized)} of the wrong labels it was given")
        if numbers["changed_labels"]:
            counts = outcome_counts(result.codes)
            words = [
                f"{counts[outcome]:,} {outcome.word}"
                for outcome in GALLERIES
                if outcome in LabelOutcome.possible("true" in result.run.labels)
            ]
            parts.append(f"changed labels: {', '.join(words)}")
        if parts:
            sentences.append(f"<b>{h(result.title)}</b> {'; '.join(parts)}.")
    n_seeds = dict.fromkeys(1 + len(result.seeds) for result in shown)
    if max(n_seeds) > 1:
        firsts = dict.fromkeys(result.run.config.seed for result in shown)
        sentences.append(
            f"Curves and results are of {' and '.join(map(str, n_seeds))} seeds: means with 95 % "
            f"intervals. All else is of seed {' and '.join(map(str, firsts))}."
        )
    return " ".join(sentences)


def judging(shown: Sequence[Result]) -> list[Result]:
    """The runs whose label issues are listed: those that correct labels, if there is one.

    A network that has memorized its labels confirms them.
    """
    return [r for r in shown if r.run.config.correction != "none"] or list(shown)


def sections(shown: Sequence[Result], data: "Data | None", links: Mapping[str, str]) -> str:
    """Galleries, tables and downloads, as HTML.

    data: for the images; None leaves them out. links: the address of each file of labels, by
    `csv_name`, for the runs of `judging`.
    """
    parts = [_result_table(shown)]
    for result in shown:
        parts += _galleries(result, data)
    parts += ["<h2>Which labels look wrong</h2>", *(_issues(r, links) for r in judging(shown))]
    parts.append(_settings(shown))
    return "\n".join(parts)


def csv_name(result: Result) -> str:
    """The name of the file of a run's labels: ASCII letters, digits, "-", "_" and "."."""
    name = re.sub(r"[^\w.-]", "-", result.run.folder.name, flags=re.ASCII)
    return f"labels-{result.number}-{name}.csv"


def _result_table(shown: Sequence[Result]) -> str:
    rows = [
        (words, *(_mean([numbers[name] for numbers in result.of_all_seeds]) for result in shown))
        for name, words in RESULTS.items()
        if any(result.numbers[name] is not None for result in shown)
    ]
    several = any(result.seeds for result in shown)
    for outcome in LabelOutcome:
        if any((result.codes == outcome).any() for result in shown):
            counts = (f"{(result.codes == outcome).sum():,}" for result in shown)
            of = f" (seed {shown[0].run.config.seed})" if several else ""
            rows.append((f"labels {outcome.word}{of}", *counts))
    head = ("after the last epoch", *(result.title for result in shown))
    return "<h2>Results</h2>" + _table(rows, head)


def _galleries(result: Result, data: "Data | None") -> list[str]:
    parts = []
    for outcome, words in GALLERIES.items():
        samples = result.chosen(outcome)
        if not len(samples):
            continue
        title = words
        if outcome is LabelOutcome.CHANGED and "true" not in result.run.labels:
            title = "Changed labels"
        parts.append(f"<h3>{title}</h3>")
        images = samples[:MOST_IMAGES]
        if data is not None:
            parts += [_count(len(images), len(samples)), _gallery(result, outcome, images, data)]
        parts.append(_pairs(result, samples))
    return [f"<h2>{h(result.title)}: what correction did</h2>", *parts] if parts else []


def _count(shown: int, every: int) -> str:
    some = f"All {every:,}" if shown == every else f"{shown} of {every:,}"
    return (
        f'<p class="quiet">{some}, the surest new labels first. Below each image: given and new '
        "label, the weight of the new one in the soft label, the sample.</p>"
    )


def _gallery(result: Result, outcome: LabelOutcome, samples: np.ndarray, data: "Data") -> str:
    items = []
    given = result.run.labels["given"]
    for sample, url in zip(samples.tolist(), image_urls(data, samples), strict=True):
        now = int(result.current[sample])
        change = f"{h(result.classes[given[sample]])} → {h(result.classes[now])}"
        name = h(result.sample_name(sample))
        sure = _percent(float(result.soft[sample, now]))
        words = f"given {h(result.classes[given[sample]])}, now {h(result.classes[now])}"
        items.append(
            f'<li class="{outcome.word}"><img src="{url}" alt="{name}: {words}">'
            f'<b>{change}</b><br>{sure}<br><span class="quiet">{name}</span></li>'
        )
    return f'<ul class="gallery">{"".join(items)}</ul>'


def _pairs(result: Result, samples: np.ndarray) -> str:
    """The most frequent changes among these samples."""
    n_classes = len(result.classes)
    keys = result.run.labels["given"][samples] * n_classes + result.current[samples]
    pairs, counts = np.unique(keys, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:MOST_PAIRS]
    words = [
        f"{h(result.classes[pairs[i] // n_classes])} → {h(result.classes[pairs[i] % n_classes])} "
        f"({counts[i]})"
        for i in most
    ]
    return f"<p>Most frequent: {', '.join(words)}.</p>"


def _issues(result: Result, links: Mapping[str, str]) -> str:
    issues = result.issues
    n_proposed = int((issues.proposed != issues.given).sum())
    text = f"{issues.estimate()} {len(issues.flagged):,} label issues, "
    text += f"{n_proposed:,} changes proposed."
    if issues.warning:
        text += f" {issues.warning}"
    return (
        f"<h3>{h(result.title)}</h3><p>{html.escape(text)} The evidence is from the epochs before "
        f"labels were corrected; true labels are not used.</p>"
        f'<p class="download"><a download="{h(csv_name(result))}" href="{links[csv_name(result)]}">'
        "All labels as CSV</a>: each given label, whether to keep, change or review it, the "
        "corrected label and why.</p>"
    )


def _settings(shown: Sequence[Result]) -> str:
    settings = [settings_of(result.run.config) for result in shown]
    for one in settings:
        one["dataset"] = public_name(one["dataset"])
    head = ("setting", *(result.title for result in shown))
    parts = ["<h2>Settings and provenance</h2>"]
    if len(shown) > 1:
        differing = differing_settings(settings)
        rows = [(name, *map(_value, values)) for name, values in differing.items()]
        parts += ["<h3>Settings that differ</h3>", _table(rows, head)]
    provenance = [
        (words, *(_value(result.numbers[name]) for result in shown))
        for name, words in PROVENANCE.items()
    ]
    infos = [result.run.info for result in shown]
    provenance += [("run", *(result.run.folder.name for result in shown))]
    provenance += [("created", *(info["created"] for info in infos))]
    for key in dict.fromkeys(key for info in infos for key in info["machine"]):
        provenance.append((key, *(_value(info["machine"].get(key)) for info in infos)))
    data = infos[0]["data"]
    provenance.append(("fingerprint of the data", *[data["fingerprint"]] * len(infos)))
    parts += ["<h3>Provenance</h3>", _table(provenance, ("", *head[1:]))]
    every = [(name, *(_value(one[name]) for one in settings)) for name in settings[0]]
    parts.append(f"<details><summary>All settings</summary>{_table(every, head)}</details>")
    notes = [f"<li>{h(note)}</li>" for note in data["notes"]]
    if notes:
        parts += ["<h3>Notes on the data</h3>", f'<ul class="notes">{"".join(notes)}</ul>']
    return "\n".join(parts)


def _table(rows: Iterable[Sequence[object]], head: Sequence[object]) -> str:
    """A table whose first column names the rows."""
    top = "".join(f'<th scope="col">{h(cell)}</th>' if cell else "<td></td>" for cell in head)
    body = "".join(
        f'<tr><th scope="row">{h(row[0])}</th>{"".join(f"<td>{h(c)}</td>" for c in row[1:])}</tr>'
        for row in rows
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _value(value: object) -> object:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else value


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _share(share: float | None) -> str:
    return "-" if share is None else _percent(share)


def _mean(shares: Sequence[float | None]) -> str:
    """A share, or the mean of several with half of its 95 % interval."""
    known = [share for share in shares if share is not None]
    if len(known) < 2:
        return _share(known[0] if known else None)
    found = interval(known)
    half = 100 * (found["high"] - found["mean"])
    return f"{100 * found['mean']:.1f} ± {half:.1f} % (n = {len(known)})"
