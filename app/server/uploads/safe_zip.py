"""Safe reading of untrusted zip files: bounded sizes, no paths outside, plain files only."""

import contextlib
import io
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.data.parts import is_unprintable, shown, some
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
_CHINESE = "[\u3001-\u3015\u4e00-\u9fff\uff01-\uff5e]"
CODE_PAGES = {  # of file names, the first first where a guess does not decide -> their letters
    "gb18030": _CHINESE,
    "cp932": "[\u3001-\u30ff\u4e00-\u9fff\uff01-\uff5e]",  # without the narrow ones
    "cp949": "[\uac00-\ud7a3]",
    "big5": _CHINESE,
    "cp437": "[\xa1-\xff]",
    "cp1252": "[\xa1-\xff\u0152-\u017e\u2013-\u2022\u20ac]",
    "cp866": "[\u0400-\u04ff]",
    "cp1251": "[\u0400-\u04ff]",
}
EASTERN = ("gb18030", "cp932", "cp949", "big5")  # with letters of two bytes
MOST_GUESSED = 20_000  # bytes of names by which the encoding is guessed


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

    def names(self) -> tuple[list[str], list[str]]:
        """The names of the members, and a note if their encoding was guessed."""
        names = [_unmarked(member) for member in self.members]
        unknown = [name for name in names if isinstance(name, bytes)]
        encoding = _encoding(b"\n".join(unknown))
        texts = [n.decode(encoding, "replace") if isinstance(n, bytes) else n for n in names]
        if encoding == "utf-8":
            return texts, []
        guessed = [shown(text) for text, n in zip(texts, names, strict=True) if text is not n]
        return texts, [
            f"The names of {len(guessed):,} files are not in UTF-8; they were read as {encoding}: "
            f"{some(guessed, 3)}."
        ]

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


def _unmarked(member: zipfile.ZipInfo) -> str | bytes:
    """A member's name; as bytes if its encoding is not known.

    The standard has a mark for UTF-8. macOS stores UTF-8 without it, older programs store the code
    page of their country.
    """
    if member.flag_bits & UTF8_FLAG or member.filename.isascii():
        return member.filename
    try:
        return member.filename.encode("cp437")  # as zipfile has decoded it
    except UnicodeEncodeError:  # the name is from another field
        return member.filename


def _encoding(names: bytes) -> str:
    """UTF-8, or else the most likely one of CODE_PAGES."""
    with contextlib.suppress(UnicodeDecodeError):
        names.decode()
        return "utf-8"
    possible = []
    for page, letters in CODE_PAGES.items():
        with contextlib.suppress(UnicodeDecodeError):
            text = names.decode(page)
            # a letter alone behind ASCII ones is Latin, of which the next one was taken as well
            latin = page in EASTERN and not re.search(f"(?<![A-Za-z]){letters}", text)
            if not latin and re.fullmatch(rf"(?:[\0-\x7f]|{letters})*", text):
                possible.append(page)
    if len(possible) < 2:
        return possible[0] if possible else "cp437"
    if "cp932" in possible and re.search("[\u3040-\u30ff]", names.decode("cp932")):
        return "cp932"  # kana do not come about by chance
    from charset_normalizer import from_bytes  # late: few names need it

    found = list(from_bytes(names[:MOST_GUESSED], cp_isolation=possible))
    best = min((match.chaos for match in found), default=0)
    likely = {match.encoding for match in found if match.chaos == best}
    return next((page for page in possible if page in likely), possible[0])


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
