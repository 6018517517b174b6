"""Permissions: who may see, control and use which runs and uploads.

A run on a visitor's own data is private: only its owner, the teacher, and whoever has the key of
its share link see it; for all others it does not exist. With MIXNN_PRIVATE=1 this holds for every
run that is not a lesson's.
"""

import functools
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from app.server.storage import Storage
from app.server.uploads.paths import is_outside, may_read, upload_key
from app.server.visitors import EVERYONE, Visitor, has_teacher
from engine.data.registry import OWN
from engine.errors import StoreError
from engine.files import read_json

KEY_BYTES = 16  # of a share link


class Access:
    """The rules for one runs root.

    queued: name of a run -> its data set if it is a run of this process, else None.
    """

    def __init__(self, root: Path, storage: Storage, queued: Callable[[str], str | None]):
        self.root, self._storage, self._queued = root, storage, queued

    def owner(self, name: str) -> str:
        """Id of the visitor who owns a run; "" for a run of the command line."""
        return str(self._storage.table("owners").get(name, ""))

    def private(self, name: str) -> bool:
        """Whether only some visitors may see a run; also if its data set is unknown."""
        dataset = self._queued(name) or dataset_of(self.root / name)
        if dataset is None or is_own(dataset):
            return True
        return os.environ.get("MIXNN_PRIVATE") == "1" and self.owner(name) != EVERYONE.id

    def sees(self, name: str, who: Visitor) -> bool:
        """Whether a visitor may see a run."""
        return self.may_control(name, who) or not self.private(name) or self._has_key(name, who)

    def sees_folder(self, folder: Path, who: Visitor) -> bool:
        """Whether a visitor may see the run in a folder below the root, for example of a sweep."""
        if folder.parent == self.root:
            return self.sees(folder.name, who)
        return self.sees_results(dataset_of(folder), who)

    def sees_results(self, dataset: str | None, who: Visitor) -> bool:
        """Whether a visitor may see what has no owner and was measured on a data set."""
        hidden = dataset is None or is_own(dataset) or os.environ.get("MIXNN_PRIVATE") == "1"
        return not hidden or who.teacher or not has_teacher()

    def may_control(self, name: str, who: Visitor) -> bool:
        """Whether a visitor may control a run and decide on its labels: its owner and the teacher.

        A run without an owner may be controlled by anyone if the server has no teacher.
        """
        owner = self.owner(name)
        return who.teacher or (owner == who.id if owner else not has_teacher())

    def may_use(self, dataset: str, who: Visitor) -> bool:
        """Whether a visitor may train on a data set: a built-in one, or one's own.

        One's own is what the visitor uploaded, or already has a run on.
        """
        if who.teacher or not is_own(dataset):
            return True
        key = upload_key(dataset, self.root)
        if key is not None:
            allowed = self.may_open(key, who)
        elif has_teacher():
            allowed = may_read(dataset, self.root)
        else:
            allowed = is_outside(dataset, self.root)
        if allowed:
            return True
        owners = self._storage.table("owners")
        mine = (name for name, owner in owners.items() if owner == who.id)
        return any((self._queued(n) or dataset_of(self.root / n)) == dataset for n in mine)

    def may_open(self, upload: str, who: Visitor) -> bool:
        """Whether a visitor may open an upload: who uploaded it, and the teacher.

        An upload without an owner may be opened by anyone if the server has no teacher.
        """
        owners = self._storage.table("uploads").get(upload, [])
        return who.teacher or who.id in owners or (not owners and not has_teacher())

    def link_key(self, name: str) -> str:
        """The key of a run's share link; "" if it has none."""
        return str(self._storage.table("links").get(name, ""))

    def share_link(self, name: str) -> str:
        """The key of a run's share link, created if it has none. Raises StorageError."""
        key = self.link_key(name) or secrets.token_urlsafe(KEY_BYTES)
        self._storage.put("links", name, key)
        return key

    def _has_key(self, name: str, who: Visitor) -> bool:
        key = self.link_key(name)
        return bool(key) and hmac.compare_digest(key.encode(), who.key.encode())


def is_own(dataset: str) -> bool:
    """Whether a data set was supplied by a visitor, not built in."""
    return dataset.partition(":")[0] in OWN


def dataset_of(folder: Path) -> str | None:
    """The data set of the run in a folder; None if its settings cannot be read."""
    path = folder / "config.json"
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return None
    return _dataset(str(path), stat.st_mtime_ns, stat.st_ino)


@functools.lru_cache(maxsize=16384)
def _dataset(path: str, changed: int, inode: int) -> str | None:
    try:
        dataset = read_json(Path(path))["config"]["dataset"]
    except (StoreError, KeyError, TypeError, RecursionError):
        return None
    return dataset if isinstance(dataset, str) else None
