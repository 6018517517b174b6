"""Runs with the same settings: found again instead of trained again, and repeated with more seeds.

Forks and runs that were changed while they trained are never the same as another run.
"""

from collections.abc import Sequence

from app.components import run_names
from app.server.run_info import LIVE_STATES
from app.server.visible_runs import runs
from app.server.visitors import visitor
from engine.analysis.run_table import Row, setup_of
from engine.config import RunConfig

SEEDS = range(5)
REPEAT = f"Repeat with {len(SEEDS)} seeds"
REPEAT_HELP = (
    f"Trains seeds 0 to {SEEDS[-1]} of these settings: one request in the queue. Compare shows "
    "their mean with a band. Seeds that exist are not trained again."
)
MIXED_HELP = (
    "A fork, or a run that was changed while it trained, cannot be repeated from its settings "
    "alone."
)


def existing(config: RunConfig, rows: Sequence[Row]) -> str | None:
    """The run of these settings and this seed, finished or in the queue; None if there is none."""
    return found([config], rows)[0]


def found(configs: Sequence[RunConfig], rows: Sequence[Row]) -> list[str | None]:
    """The run of each of the settings, see `existing`."""
    known: dict[tuple[str, int | None], str] = {}
    for row in sorted(rows, key=lambda row: row["state"] != "done"):  # finished ones, then newest
        if family := _family_of(row):
            known.setdefault((family, _seed_of(row, family)), row["name"])
    return [known.get((setup_of(config, {"seed"}), config.seed)) for config in configs]


def family(name: str, rows: Sequence[Row]) -> dict[int, str]:
    """Seed -> run, of the runs that differ from this one in the seed alone, in order of the seed.

    A seed counts once: a finished run of it first, then the newest. {} for a fork or a run that was
    changed while it trained.
    """
    wanted = next((_family_of(row) for row in rows if row["name"] == name), "")
    if not wanted:
        return {}
    members: dict[int, str] = {}
    for row in sorted(rows, key=lambda row: (row["name"] != name, row["state"] != "done")):
        seed = _seed_of(row, wanted)
        if seed is not None:
            members.setdefault(seed, row["name"])
    return dict(sorted(members.items()))


def repeat(configs: Sequence[RunConfig]) -> list[str]:
    """Queue the SEEDS of each of these settings that do not exist, as one request.

    Returns a run for each of the settings, one that existed where there is one. Raises RunsError.
    """
    rows = run_names.rows()
    wanted = [[with_seed(config, seed) for seed in SEEDS] for config in configs]
    known = [found(seeds, rows) for seeds in wanted]
    missing = [
        one
        for seeds, names in zip(wanted, known, strict=True)
        for one, name in zip(seeds, names, strict=True)
        if name is None
    ]
    new = iter(runs().submit_together(missing, visitor=visitor()) if missing else [])
    return [[name or next(new) for name in names][0] for names in known]


def with_seed(config: RunConfig, seed: int) -> RunConfig:
    """The settings with another seed; the noise follows it unless it has a seed of its own."""
    follows = config.noise_seed in (None, config.seed)
    return config.changed(seed=seed, noise_seed=None if follows else config.noise_seed)


def _family_of(row: Row) -> str:
    """`Row.family` of a pure run; of one in the queue, that of its settings; else ""."""
    if row["config"] is not None:
        return row["family"] if row["pure"] else ""
    config = runs().config(row["name"]) if row["state"] in LIVE_STATES else None
    return setup_of(config, {"seed"}) if config is not None else ""


def _seed_of(row: Row, wanted: str) -> int | None:
    """The seed of a run of this family that is finished or will be; else None."""
    if row["state"] not in ("done", *LIVE_STATES) or _family_of(row) != wanted:
        return None
    config = row["config"] or runs().config(row["name"])
    return config.seed if config is not None else None
