"""Safe reading of untrusted zip files: bounded sizes, no paths outside, plain files only."""

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
RATIO_COUNTS_FROM = 64 * MB  # unpacked; smaller files may have any ratio
MOST_AT_ONCE = 24 * MB  # read by zipfile in one call: the list of members, 9 MB for 65,000 files
LONGEST_NAME = 200  # bytes of one part of a path; file systems allow 255
CHUNK = MB
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others can ask for gigabytes of memory
UTF8_FLAG = 0x800  # of a member whose name is UTF-8


class UploadError(DataError):
    """A file that is refused; the message names what is wrong and what is allowed."""


class Archive:
    """A zip file with limits. Sizes are counted while unpacking, never trusted."""

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
        """The content of a member in chunks. Raises UploadError at a limit or if it is damaged."""
        try:
            with self._file.open(member) as source:
                while chunk := source.read(CHUNK):
                    self._count(len(chunk))
                    yield chunk
        except (UploadError, MemoryError):
            raise
        except Exception as error:  # zipfile and zlib fail in many ways on bad data
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
    """The zip file at path. Raises UploadError if it is no zip file or not allowed."""
    with _Bounded(io.FileIO(path)) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (UploadError, MemoryError):
            raise
        except Exception as error:  # as above
            raise UploadError(f"it is not a readable zip file: {_why(error)}") from None
        with archive:
            yield Archive(archive, path.stat().st_size)


def parts(name: str) -> tuple[str, ...]:
    """A member's path as folder and file names. Raises UploadError if it leads outside.

    >>> parts("pets/./cat/1.png")
    ('pets', 'cat', '1.png')
    """
    path = name.replace("\\", "/")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        raise UploadError(f"{shown(name)} in it is an absolute path; allowed are relative ones")
    names = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in names:
        raise UploadError(f"{shown(name)} in it leads out of its folder ('..')")
    for part in names:
        if (n_bytes := len(part.encode(errors="replace"))) > LONGEST_NAME:
            raise UploadError(
                f"{shown(part)} in it is a name of {n_bytes} bytes; allowed are {LONGEST_NAME}"
            )
        if any(map(is_unprintable, part)):
            raise UploadError(
                f"{shown(name)} in it has a control character in its name; rename that file"
            )
    return names


def name_of(member: zipfile.ZipInfo) -> str:
    """A member's name. macOS stores UTF-8 without the flag, which would be read as cp437."""
    if not member.flag_bits & UTF8_FLAG:
        try:
            return member.filename.encode("cp437").decode()
        except ValueError:  # it was cp437, or another encoding
            pass
    return member.filename


class _Bounded(io.BufferedReader):
    """A file that reads at most MOST_AT_ONCE: zipfile reads its list of members in one call."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MOST_AT_ONCE:
            raise UploadError(f"its list of files is too long; allowed are {MOST_FILES:,} files")
        return super().read(size)


def _check_kind(member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        what = "a link" if kind == stat.S_IFLNK else "not a plain file"
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
    if isinstance(error, OSError):  # a position outside the file
        return "its list of files does not match its content"
    return shown(str(error)) or "it ends too early"
