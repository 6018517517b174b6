"""What a forked or resumed run takes over from the folder it continues: settings, labels, data."""

import contextlib
from typing import TYPE_CHECKING, Any

from engine.config import FIXED_IN_FORK, RunConfig
from engine.errors import ConfigError, DataError, StoreError
from engine.runs.folder import RunFolder, as_ranges

if TYPE_CHECKING:
    from engine.data import Data


def fork_config(run: RunFolder, epoch: int, **changes: Any) -> RunConfig:
    """Settings of a fork: the run's, with the live values of that epoch and then the changes.

    A new seed alone does not change the labels. Raises ConfigError for a change that the network of
    the checkpoint cannot take, StoreError for an epoch that does not exist.
    """
    require_own_loop(run)
    records = {record["epoch"]: record for record in run.epochs}
    if epoch not in records:
        raise StoreError(
            f"epoch = {epoch}: {run.folder} has epochs {as_ranges(sorted(records)) or 'none'}"
        )
    before = run.config.changed(**records[epoch]["settings"])
    if before.noise_seed is None:
        changes.setdefault("noise_seed", before.seed)
    config = before.varied(**changes)
    for name in FIXED_IN_FORK:
        if getattr(config, name) != getattr(before, name):
            raise ConfigError(
                f"{name} = {getattr(config, name)!r}: a fork keeps {getattr(before, name)!r}, "
                "start a new run for another"
            )
    if config.epochs <= epoch + 1:
        raise ConfigError(
            f"epochs = {config.epochs}: a fork from epoch {epoch} needs {epoch + 2} or more"
        )
    return config


def repeats_parent(run: RunFolder, epoch: int, config: RunConfig) -> bool:
    """Whether a fork after an epoch with these settings would only train what its parent did.

    The parent may be changed while it trains: then keeping the settings of the epoch is a change.
    """
    later = [record for record in run.epochs if record["epoch"] > epoch]
    held = [run.config.changed(**record["settings"]) for record in later]
    held = held or [run.config.changed(**run.epochs[-1]["settings"])]
    return all(_with_noise_seed(config) == _with_noise_seed(one) for one in held)


def _with_noise_seed(config: RunConfig) -> RunConfig:
    return config if config.noise_seed is not None else config.changed(noise_seed=config.seed)


def require_own_loop(run: RunFolder) -> None:
    """Raise StoreError for a run that a loop of one's own trained, see `RunFolder.is_recorded`."""
    if run.is_recorded:
        raise StoreError(
            f"{run.folder} was recorded by a training loop of its own ({run.config.method}): only "
            "that can continue it"
        )


def starting_labels(run: RunFolder) -> dict[str, Any]:
    """The noisy labels that a run started with, for the run that continues it. Raises StoreError.

    Keys: config (JSON of the settings), given (N,), matrix (C, C), rate_requested.
    """
    return {
        "config": run.config.model_dump_json(),
        "given": run.labels["given"],
        "matrix": run.labels["matrix"],
        "rate_requested": run.info["rate_requested"],
    }


def require_same_data(run: RunFolder, data: "Data") -> "Data":
    """The data, if the run was trained on it. Raises StoreError where its fingerprint differs."""
    then, now = run.info["data"]["fingerprint"], data.fingerprint()
    if then != now:
        raise StoreError(
            f"{run.config.dataset} has changed since {run.folder} was created "
            f"(fingerprint {then}, now {now}): a run needs the data that it was created with"
        )
    return data


def data_of(run: RunFolder) -> "Data":
    """The data set of a run, not downloaded. Raises StoreError if it is missing or has changed."""
    from engine.data import is_available, load_data  # late: loads torch

    if not is_available(run.config.dataset):
        raise StoreError(f"{run.config.dataset} is not on this machine")
    try:
        return require_same_data(run, load_data(run.config))
    except DataError as error:
        raise StoreError(str(error)) from None


def parent_checkpoint(fork: RunFolder) -> dict[str, Any]:
    """The checkpoint that a fork was made from. Raises StoreError where it is missing."""
    epoch = fork.info["parent"]["epoch"]
    for folder in fork.parent_folders:
        with contextlib.suppress(StoreError):
            return RunFolder(folder).load_checkpoint(epoch)
    raise StoreError(
        f"{fork.folder} has no epoch yet, and the run that it was forked from, "
        f"{fork.info['parent']['run']}, is missing or keeps no network of epoch {epoch}"
    )
