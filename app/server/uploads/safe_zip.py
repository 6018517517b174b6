"""Zip files of strangers, read so that none of them can hurt: bounded, inside, plain files only."""

import io
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.data.parts import is_unprintable, shown
from engine.errors import DataError

MB = 1 << 20
MOST_UPLOADED = 200 * MB
MOST_UNPACKED = 1024 * MB
MOST_FILES = 65_000
MOST_RATIO = 100  # unpacked to packed size; images and arrays stay below 20
RATIO_COUNTS_FROM = 64 * MB  # unpacked; a tiny file may shrink as much as it likes
MOST_AT_ONCE = 24 * MB  # read by zipfile in one go: the list of members, 9 MB for 65,000 files
LONGEST_NAME = 200  # bytes of one part of a path; file systems end at 255
CHUNK = MB
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others can ask for gigabytes of memory
UTF8_FLAG = 0x800  # of a member whose name is UTF-8


class UploadError(DataError):
    """A file that is not taken; the message names what is wrong and what is allowed."""


class Archive:
    """A zip file under watch. Sizes are counted while bytes come out, not believed."""

    def __init__(self, file: zipfile.ZipFile, packed: int):
        self._file, self._packed, self._unpacked = file, packed, 0
        members = file.infolist()
        if len(members) > MOST_FILES:
            raise UploadError(f"it holds {len(members):,} files; allowed are {MOST_FILES:,}")
        if not all(member.filename for member in members):
            raise UploadError("it holds a file without a name; pack it again")
        self.members = [member for member in members if not member.is_dir()]
        for member in self.members:
            _check_kind(member)
        if (n_bytes := sum(member.file_size for member in self.members)) > MOST_UNPACKED:
            raise UploadError(f"it unpacks to {n_bytes // MB:,} MB, {_most()}")

    def chunks(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """What a member holds, piece by piece. Raises UploadError at a limit or damage."""
        try:
            with self._file.open(member) as source:
                while chunk := source.read(CHUNK):
                    self._count(len(chunk))
                    yield chunk
        except (UploadError, MemoryError):
            raise
        except Exception as error:  # zipfile and zlib fail in many ways on a stranger's bytes
            raise UploadError(f"{shown(member.filename)} in it is damaged: {_why(error)}") from None

    def _count(self, n: int) -> None:
        self._unpacked += n
        if self._unpacked > MOST_UNPACKED:
            raise UploadError(f"it unpacks to {_most()}")
        if self._unpacked > max(RATIO_COUNTS_FROM, MOST_RATIO * self._packed):
            raise UploadError(
                f"it unpacks to more than {MOST_RATIO} times its size, as a zip bomb does; "
                "images and arrays stay far below"
            )


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The zip file at path. Raises UploadError where it is none, or one that is not allowed."""
    with _Bounded(io.FileIO(path)) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (UploadError, MemoryError):
            raise
        except Exception as error:  # as above
            raise UploadError(f"it is no zip file that can be read: {_why(error)}") from None
        with archive:
            yield Archive(archive, path.stat().st_size)


def parts(name: str) -> tuple[str, ...]:
    """A member's path as folder and file names. Raises UploadError where it leads outside.

    >>> parts("pets/./cat/1.png")
    ('pets', 'cat', '1.png')
    """
    path = name.replace("\\", "/")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        raise UploadError(f"{shown(name)} in it is an absolute path; allowed are relative ones")
    found = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in found:
        raise UploadError(f"{shown(name)} in it leads out of its folder ('..')")
    for part in found:
        if (n_bytes := len(part.encode(errors="replace"))) > LONGEST_NAME:
            raise UploadError(
                f"{shown(part)} in it is a name of {n_bytes} bytes; allowed are {LONGEST_NAME}"
            )
        if any(map(is_unprintable, part)):
            raise UploadError(
                f"{shown(name)} in it has a control character in its name; rename that file"
            )
    return found


def name_of(member: zipfile.ZipInfo) -> str:
    """A member's name. A Mac stores UTF-8 and does not say so: the standard's cp437 is garble."""
    if not member.flag_bits & UTF8_FLAG:
        try:
            return member.filename.encode("cp437").decode()
        except ValueError:  # so it was cp437, or some other code
            pass
    return member.filename


class _Bounded(io.BufferedReader):
    """A file that hands out no more than MOST_AT_ONCE: zipfile reads its list of members whole."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MOST_AT_ONCE:
            raise UploadError(f"its list of files is too long; allowed are {MOST_FILES:,} files")
        return super().read(size)


def _check_kind(member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        what = "a link" if kind == stat.S_IFLNK else "no plain file"
        raise UploadError(f"{shown(member.filename)} in it is {what}; allowed are plain files")
    if member.flag_bits & 1:
        raise UploadError(f"{shown(member.filename)} in it is encrypted; zip it without a password")
    if member.compress_type not in METHODS:
        raise UploadError(
            f"{shown(member.filename)} in it is compressed by method {member.compress_type}; "
            "allowed are stored (0) and deflated (8)"
        )


def _most() -> str:
    return f"more than {MOST_UNPACKED // MB:,} MB, which is the most allowed"


def _why(error: Exception) -> str:
    if isinstance(error, OSError):  # a place outside the file
        return "its list of files does not fit what it holds"
    return shown(str(error)) or "it ends too early"
