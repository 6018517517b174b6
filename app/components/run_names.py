"""Names of runs that say what differs, for every list of the app.

"MixNN, K 20, forked after epoch 5 · digits, symmetric 0.4, seed 0". The title that its owner gave a
run comes first, then what sets it apart, then what it shares with most others.
"""

import re

from app.components.settings_in_words import noise_in_words
from app.server.visible_runs import runs
from engine.analysis import run_table
from engine.analysis.run_changes import beside_preset, change_in_words, fork_in_words, in_words
from engine.analysis.run_table import Row
from engine.charts.theme import METHODS
from engine.config import RunConfig, registry
from engine.runs.naming import short_name

MOST_SETTINGS = 3  # named beside the preset's


def rows() -> list[Row]:
    """The visible runs as table rows, newest first, see `run_table.rows`; not for downloads."""
    active = {info.name: info.state for info in runs().active()}
    names = set(runs().names())
    return run_table.rows(
        runs().root, active, shown=lambda folder: run_table.name_of(folder) in names
    )


def labels(of: list[Row] | None = None) -> dict[str, str]:
    """Run -> its label; no two are the same. of: rows of all runs, if they are known."""
    found: dict[str, str] = {}
    counts: dict[str, int] = {}
    for row in reversed(rows() if of is None else of):  # oldest first: it keeps its label
        text = label(row)
        counts[text] = counts.get(text, 0) + 1
        found[row["name"]] = text if counts[text] == 1 else f"{text}, no. {counts[text]}"
    return found


def label(row: Row) -> str:
    """The label of a run; texts by others in it are not escaped."""
    name, config = row["name"], row["config"] or _queued(row)
    if config is None:
        return row["title"] or name
    title = row["title"] or ("" if _is_automatic(name, config) else name)
    return f"{title}{': ' if title else ''}{apart(row, config)} · {_shared(config)}"


def apart(row: Row, config: RunConfig) -> str:
    """What sets a run apart: method, settings beside the preset's, its fork, changes."""
    beside, fork = row["beside"] if row["config"] else beside_preset(config), row["fork"]
    words = [in_words(*item) for item in beside.items() if not fork or item[0] not in fork.settings]
    if len(words) > MOST_SETTINGS:
        words[MOST_SETTINGS:] = [f"{len(words) - MOST_SETTINGS} more settings"]
    words += [fork_in_words(fork)] if fork else []
    words += [change_in_words(change) for change in row["changes"][:1]]
    if len(row["changes"]) > 1:
        words.append(f"{len(row['changes']) - 1} more changes")
    return ", ".join([METHODS.get(config.method, config.method), *words])


def _shared(config: RunConfig) -> str:
    dataset = registry.in_words(config.dataset)
    dataset = dataset if len(dataset) < 40 else f"{dataset.partition(':')[0]}: …{dataset[-28:]}"
    words = dataset if config.limit is None else f"{config.limit:,} of {dataset}"
    noise = noise_in_words(config).replace(" noise ", " ")
    return f"{words}, {noise}, seed {config.seed}"


def _queued(row: Row) -> RunConfig | None:
    return runs().config(row["name"]) if row["state"] == "queued" else None


def _is_automatic(name: str, config: RunConfig) -> bool:
    """Whether a folder is named by its settings, and not by a person."""
    return re.fullmatch(re.escape(short_name(config)) + r"(-\d+|-[0-9a-f]{8})?", name) is not None
