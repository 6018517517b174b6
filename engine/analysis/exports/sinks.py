"""Folders and zip files that exports are written into, one file after the other."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.data.layout import is_image
from engine.errors import StoreError
from engine.files import written_whole


class FolderSink:
    """A folder."""

    def __init__(self, root: Path):
        self._root = root
        root.mkdir()

    def add(self, name: str, content: Path | bytes) -> None:
        """Write a file; a copy keeps the time of its last change."""
        path = self._place(name)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copy2(content, path)

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A path to write a large file to."""
        yield self._place(name)

    def _place(self, name: str) -> Path:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class ZipSink:
    """A zip file; images are stored as they are, other files are compressed."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive

    def add(self, name: str, content: Path | bytes) -> None:
        """Write a file."""
        method = zipfile.ZIP_STORED if is_image((name,)) else zipfile.ZIP_DEFLATED
        if isinstance(content, bytes):
            self._archive.writestr(name, content, method)
        else:
            self._archive.write(content, name, method)

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A path to write a large file to, which is added to the zip afterwards."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            yield path
            self._archive.write(path, name, zipfile.ZIP_STORED)


@contextmanager
def opened(path: Path) -> Iterator[FolderSink | ZipSink]:
    """A new folder at path, or a zip file if it ends with .zip; whole or not at all.

    Raises StoreError where it cannot be written, and for a folder with files in it.
    """
    if path.suffix.lower() != ".zip" and path.is_file():
        raise StoreError(f"{path} is a file; name a new folder, or a file that ends with .zip")
    with written_whole(path) as temporary:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(temporary, "w", strict_timestamps=False) as archive:
                yield ZipSink(archive)
        else:
            yield FolderSink(temporary)
