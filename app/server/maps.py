"""UMAP of the features of runs in a process of its own: for Map, and for players of ended runs.

A player begins with PCA, which is there at once. UMAP shows the classes apart from each other.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.server.shutdown import at_shutdown
from app.server.visible_runs import runs
from engine.embedding.worker import EmbeddingWorker

if TYPE_CHECKING:
    from engine.runs.folder import RunFolder


@functools.cache
def mapper() -> EmbeddingWorker:
    """The UMAP process of this server."""
    process = EmbeddingWorker()
    at_shutdown(process.close)
    return process


def complete(folders: "Sequence[RunFolder]") -> bool:
    """Whether all runs have ended and have a map of each epoch."""
    from engine.reports.recording import has_maps  # late: the first page needs none of it

    return all(has_maps(folder) for folder in folders)


def will_come(folders: "Sequence[RunFolder]") -> bool:
    """Whether these ended runs will get their missing maps; requests them while no run trains."""
    if complete(folders):
        return False
    paths = [folder.folder for folder in folders]
    if not any(runs().n_active()):
        for path in paths:
            mapper().request(path)
    return all(mapper().state(path)[0] != "failed" for path in paths)
