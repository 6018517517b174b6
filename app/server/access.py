"""Who may see, steer and use which runs and uploads; and the runs as one visitor may see them.

A run on one's own data, or on a server with MIXNN_PRIVATE=1 any but a lesson's, is seen by its
owner, the teacher, and whoever has the key of its share link. For all others it is not there.
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
from engine.errors import StoreError
from engine.files import read_json

OWN = ("npz", "folder")  # families of data sets that somebody brought
KEY_BYTES = 16  # of a share link


class Access:
    """The rules. known: name of a run -> its data set where a registry knows it, else None."""

    def __init__(self, root: Path, storage: Storage, known: Callable[[str], str | None]):
        self.root, self._storage, self._known = root, storage, known

    def owner(self, name: str) -> str:
        """Whom a run belongs to; "" where it was made on the command line."""
        return str(self._storage.table("owners").get(name, ""))

    def private(self, name: str) -> bool:
        """Whether only some may see a run."""
        dataset = self._known(name) or dataset_of(self.root / name)
        if dataset is None or is_own(dataset):
            return True
        return os.environ.get("MIXNN_PRIVATE") == "1" and self.owner(name) != EVERYONE.id

    def sees(self, name: str, who: Visitor) -> bool:
        """Whether a visitor may see a run."""
        return self.may_control(name, who) or not self.private(name) or self._has_key(name, who)

    def sees_folder(self, folder: Path, who: Visitor) -> bool:
        """Whether a visitor may see the run in a folder below the root, such as one of a sweep."""
        if folder.parent == self.root:
            return self.sees(folder.name, who)
        dataset = dataset_of(folder)
        hidden = dataset is None or is_own(dataset) or os.environ.get("MIXNN_PRIVATE") == "1"
        return not hidden or who.teacher or not has_teacher()

    def may_control(self, name: str, who: Visitor) -> bool:
        """Whether a visitor may control a run and decide on its labels: its owner and the teacher.

        A run without an owner: anyone, where the server knows no teacher.
        """
        owner = self.owner(name)
        return who.teacher or (owner == who.id if owner else not has_teacher())

    def may_use(self, dataset: str, who: Visitor) -> bool:
        """Whether a visitor may train on a data set: a built-in one, or one's own.

        An own one is what the visitor brought, or has a run on already.
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
        return any((self._known(n) or dataset_of(self.root / n)) == dataset for n in mine)

    def may_open(self, upload: str, who: Visitor) -> bool:
        """Whether a visitor may open an upload: who brought it, and the teacher.

        One that was brought before owners were kept: anyone, where the server knows no teacher.
        """
        owners = self._storage.table("uploads").get(upload, [])
        return who.teacher or who.id in owners or (not owners and not has_teacher())

    def link_key(self, name: str) -> str:
        """The key of a run's share link; "" where there is none."""
        return str(self._storage.table("links").get(name, ""))

    def share_link(self, name: str) -> str:
        """Make a share link of a run, or find it; returns its key."""
        key = self.link_key(name) or secrets.token_urlsafe(KEY_BYTES)
        self._storage.put("links", name, key)
        return key

    def _has_key(self, name: str, who: Visitor) -> bool:
        key = self.link_key(name)
        return bool(key) and hmac.compare_digest(key.encode(), who.key.encode())


def is_own(dataset: str) -> bool:
    """Whether a data set is one that somebody brought."""
    return dataset.partition(":")[0] in OWN


def dataset_of(folder: Path) -> str | None:
    """The data set of a run folder; None where its settings cannot be read."""
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
