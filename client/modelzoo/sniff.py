"""Whether bytes are a pickle, whatever the file is called. Nothing is ever unpickled, imported or written here.

Looked into: pickles of every protocol, the files that hold one (torch's zip, tar and bare forms, `.pt2`, joblib, numpy
arrays of objects), and zip, tar, gzip, bzip2, xz and zlib around them, two deep. Keras and HDF5 files stay opaque.
Every look is bounded, so a pickle can be hidden from it. That harms nobody: no worker loads anything but the formats on
its list, however innocent it looks. This is here to tell people early, and must not refuse what is no pickle.
"""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import BinaryIO

from modelzoo.errors import InvalidArgument
from modelzoo.pickle_walk import is_pickle

__all__ = ["find_pickle", "refuse_pickle"]

PREFIX_BYTES = 256 * 1024  # of what lies inside an archive or a compressed file
MEMBERS_MAX = 1024
DEPTH = 2

_PICKLE_MEMBER = re.compile(r"\.(?:pkl|pickle)\Z", re.IGNORECASE)
_PICKLE_NAME_IN_ZIP = re.compile(rb"PK\x03\x04.{26}[^\x00]{0,200}\.pkl", re.DOTALL)
_NUMPY_OBJECTS = re.compile(rb"\x93NUMPY.{1,8}\{[^}]*'descr': (?:'\|O|\[.*'\|O)", re.DOTALL)
# What the libraries of archives raise for broken ones.
_BROKEN = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)
_PT2_MEMBERS = ("archive_format", "serialized_exported_program.json")


def refuse_pickle(path: str, opener: Callable[[], BinaryIO]) -> None:
    """Raise PICKLE_REFUSED, naming the file, if the seekable bytes that `opener` gives are or hold a pickle."""
    with opener() as file:
        found = find_pickle(file)
    if found:
        raise InvalidArgument(
            "PICKLE_REFUSED",
            f"{path!a} is {found}; loading one can run any code. "
            "Leave it out; `zoo import` makes safetensors of pickled weights.",
            metadata={"path": path},
        )


def find_pickle(file: BinaryIO) -> str | None:
    """What kind of pickle the seekable file is, in words, or None."""
    return _look(file, DEPTH, is_whole=True)


def _look(file: BinaryIO, depth: int, *, is_whole: bool) -> str | None:
    file.seek(0)
    head = file.read(512)
    if is_pickle(file):
        return "a pickle"
    if _NUMPY_OBJECTS.match(head):
        return "a numpy array of pickled objects"
    if depth == 0:
        return None
    if not is_whole and _PICKLE_NAME_IN_ZIP.match(_prefix(file)):
        return "an archive with a pickle"
    for name, content in _inside(file, head):
        if _PICKLE_MEMBER.search(name):
            return f"an archive with the pickle {name[:120]!a}"
        if name.rpartition("/")[2] in _PT2_MEMBERS:
            return "a .pt2 archive, which falls back to pickles"
        if found := _look(io.BytesIO(content), depth - 1, is_whole=len(content) < PREFIX_BYTES):
            return f"{found}, inside {ascii(name[:120]) if name else 'a compressed file'}"
    return None


def _inside(file: BinaryIO, head: bytes) -> Iterator[tuple[str, bytes]]:
    """The names and first bytes of what the file contains; nothing if it is no archive, or a broken one."""
    with suppress(*_BROKEN):
        if _is_zip(file, head):
            yield from _zip_members(file)
        elif decompress := _decompressor(head):
            file.seek(0)
            yield "", decompress(file)
        elif _is_tar(head):
            yield from _tar_members(file)


def _is_zip(file: BinaryIO, head: bytes) -> bool:
    # Programs find a zip from its end; only some want it to begin with the file.
    return head.startswith(b"PK") or zipfile.is_zipfile(file)


def _zip_members(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()[:MEMBERS_MAX]
        # Names first: they can be seen even where the members' bytes are damaged or encrypted.
        yield from ((member.filename, b"") for member in members)
        for member in members:
            with suppress(*_BROKEN), archive.open(member) as content:
                yield member.filename, content.read(PREFIX_BYTES)


def _is_tar(head: bytes) -> bool:
    # The oldest tars, such as torch's first format, have no magic, but all have a checksum of their first block.
    if len(head) < 512:
        return False
    digits = head[148:156].strip(b" \x00")
    checksum = sum(head[:148]) + sum(head[156:]) + 8 * ord(" ")
    return digits.isdigit() and all(digit in b"01234567" for digit in digits) and int(digits, 8) == checksum


def _tar_members(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for count, member in enumerate(archive):
            if count == MEMBERS_MAX:
                return
            content = archive.extractfile(member) if member.isfile() else None
            yield member.name, content.read(PREFIX_BYTES) if content else b""


def _decompressor(head: bytes) -> Callable[[BinaryIO], bytes] | None:
    if head.startswith(b"\x1f\x8b"):
        return lambda file: _some(gzip.GzipFile(fileobj=file))
    if head.startswith(b"BZh"):
        return lambda file: _some(bz2.BZ2File(file))
    if head.startswith(b"\xfd7zXZ\x00"):
        return lambda file: _some(lzma.LZMAFile(file))
    if head[:1] == b"\x78" and len(head) > 1 and int.from_bytes(head[:2], "big") % 31 == 0:
        return lambda file: zlib.decompressobj().decompress(file.read(PREFIX_BYTES), PREFIX_BYTES)
    return None


def _some(stream: gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile) -> bytes:
    """The first bytes of a compressed file, as far as it is whole."""
    content = b""
    with suppress(*_BROKEN):
        while len(content) < PREFIX_BYTES and (piece := stream.read(64 * 1024)):
            content += piece
    return content[:PREFIX_BYTES]


def _prefix(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(PREFIX_BYTES)
