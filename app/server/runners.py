"""The runner of a queued request: of a new run, a fork, or a run to resume."""

from pathlib import Path
from typing import Any

from app.server.run_folders import folder_of
from engine.config import RunConfig
from engine.runs.folder import RunFolder
from engine.runs.forks import fork_config
from engine.runs.naming import free_folder
from engine.runs.runner import Runner


def make_runner(root: Path, request: dict[str, Any]) -> Runner:
    """The runner of a request; reserves the folder of a new run or fork, and sets request["name"].

    Raises RunsError, ConfigError or StoreError.
    """
    if request["kind"] == "resume":
        return Runner.resume(folder_of(root, request["name"]))
    if request["kind"] == "fork":
        parent = folder_of(root, request["parent"])
        config = fork_config(RunFolder(parent), request["epoch"], **request["knobs"])
    else:
        config = RunConfig(**request["config"])
    if "name" not in request:
        folder = free_folder(config, root)
        folder.mkdir()
        request["name"] = folder.name
    folder = folder_of(root, request["name"])
    if request["kind"] == "fork":
        return Runner.fork(parent, request["epoch"], folder, **request["knobs"])
    return Runner.new(config, folder)
