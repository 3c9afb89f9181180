"""Looks into zip, tar, gzip, bzip2, xz, lzma and zlib without unpacking them. Nothing is written, each look is bounded.

Zip members are read by what their own bytes say: a flag, a checksum or a name that contradicts the directory stops
Python's `zipfile`, and not the programs that load such files.
"""

import bz2
import io
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import BinaryIO, Protocol

__all__ = [
    "BROKEN",
    "LOCAL_HEADER",
    "MEMBERS_MAX",
    "PREFIX_BYTES",
    "UNFOLDED_BYTES",
    "Kind",
    "Member",
    "inside",
    "kind_of",
    "unfold",
]

PREFIX_BYTES = 256 * 1024  # of what lies inside an archive
UNFOLDED_BYTES = 8 * 1024 * 1024  # of a compressed file
MEMBERS_MAX = 1024
NAMES_MAX = 100_000
# What decompressing may take; xz with its strongest setting needs 65 MiB.
LZMA_MEMORY_BYTES = 128 * 1024 * 1024
INPUT_BYTES = 16 * 1024
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
NAME_BYTES_MAX = 4096

# What the libraries of archives raise for broken ones.
BROKEN = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError, struct.error, IndexError, KeyError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)
_LOCAL = re.compile(rb"PK\x03\x04")
# With a member, without one, of several parts.
_ZIP_BEGINS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")


class Kind(Enum):
    """What holds others."""

    ZIP = "zip"
    TAR = "tar"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    LZMA = "lzma"
    ZLIB = "zlib"


@dataclass(frozen=True, slots=True)
class Member:
    """`name` is '' for what a compressed file holds; `content` are its first bytes, `is_whole` if they are all."""

    name: str
    content: bytes
    is_whole: bool


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


def kind_of(file: BinaryIO, head: bytes) -> Kind | None:
    """What the seekable file is, of which `head` are the first 512 bytes; None if nothing of these."""
    # Programs find a zip from its end; only some want it to begin with the file.
    if head.startswith(_ZIP_BEGINS) or _ends_as_zip(file):
        return Kind.ZIP
    if head.startswith(b"\x1f\x8b"):
        return Kind.GZIP
    if head.startswith(b"BZh"):
        return Kind.BZIP2
    if head.startswith(b"\xfd7zXZ\x00"):
        return Kind.XZ
    if _is_lzma(head):
        return Kind.LZMA
    if head[:1] == b"\x78" and len(head) > 1 and int.from_bytes(head[:2], "big") % 31 == 0:
        return Kind.ZLIB
    return Kind.TAR if _is_tar(head) else None


def inside(file: BinaryIO, kind: Kind, limit_bytes: int = UNFOLDED_BYTES) -> Iterator[Member]:
    """What the file contains, as far as it is whole; of a compressed file at most `limit_bytes`."""
    with suppress(*BROKEN):
        if kind is Kind.ZIP:
            yield from _zip_members(file)
        elif kind is Kind.TAR:
            yield from _tar_members(file)
        else:
            content = b"".join(unfold(file, kind, limit_bytes))
            yield Member("", content, len(content) < limit_bytes)


def unfold(file: BinaryIO, kind: Kind, limit_bytes: int) -> Iterator[bytes]:
    """The first `limit_bytes` of a compressed file in pieces; `file.tell()` never runs far ahead of what was used."""
    file.seek(0)
    left, given, is_over = limit_bytes, b"", False
    decompressor = _decompressor(kind)
    with suppress(*BROKEN):
        while left > 0:
            # zlib hands back what it did not use, the others keep it and say so.
            if not given and getattr(decompressor, "needs_input", True):
                given = file.read(INPUT_BYTES)
                is_over = not given
            piece = decompressor.decompress(given, min(left, PREFIX_BYTES))
            given = getattr(decompressor, "unconsumed_tail", b"")
            if piece:
                left -= len(piece)
                yield piece
            if decompressor.eof:
                # One after the other, they are one file.
                given = decompressor.unused_data or file.read(INPUT_BYTES)
                if not given.strip(b"\x00"):
                    return
                decompressor = _decompressor(kind)
            elif is_over and not piece:
                return


def _decompressor(kind: Kind) -> _Decompressor:
    if kind is Kind.BZIP2:
        return bz2.BZ2Decompressor()
    if kind in (Kind.XZ, Kind.LZMA):
        form = lzma.FORMAT_XZ if kind is Kind.XZ else lzma.FORMAT_ALONE
        return lzma.LZMADecompressor(form, memlimit=LZMA_MEMORY_BYTES)
    return zlib.decompressobj(31 if kind is Kind.GZIP else 15)


def _ends_as_zip(file: BinaryIO) -> bool:
    with suppress(*BROKEN):
        return zipfile.is_zipfile(file)
    return False


def _zip_members(file: BinaryIO) -> Iterator[Member]:
    size = file.seek(0, io.SEEK_END)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except BROKEN:
        # Without a directory: what its headers say from the beginning on.
        yield from _headed_members(file, size)
        return
    # Names first: they can be seen even where the members' bytes are damaged or encrypted.
    yield from (Member(member.filename, b"", False) for member in members[:NAMES_MAX])
    for member in members[:MEMBERS_MAX]:
        with suppress(*BROKEN):
            yield _raw_member(file, member.header_offset, max(member.file_size, member.compress_size))
    # And those that the directory hides from us, not from who reads headers only.
    yield from _headed_members(file, size, sorted((member.header_offset, _end(member)) for member in members))


def _end(member: zipfile.ZipInfo) -> int:
    return member.header_offset + LOCAL_HEADER.size + len(member.orig_filename) + member.compress_size


def _headed_members(file: BinaryIO, size: int, listed: Sequence[tuple[int, int]] = ()) -> Iterator[Member]:
    """By the headers alone, those that do not lie in what is listed (begin and end, in order)."""
    file.seek(0)
    begins = [begin for begin, _ in listed]
    found = (match.start() for match in _LOCAL.finditer(file.read(UNFOLDED_BYTES)))
    hidden = (at for at in found if not (number := bisect(begins, at)) or listed[number - 1][1] <= at)
    for at in list(islice(hidden, MEMBERS_MAX)):
        with suppress(*BROKEN):
            yield _raw_member(file, at, size)


def _raw_member(file: BinaryIO, offset: int, size: int) -> Member:
    """The member whose local header is at `offset`, whatever its flags and checksum say."""
    file.seek(offset)
    header = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    method, name_bytes, extra_bytes = header[3], header[9], header[10]
    if header[0] != b"PK\x03\x04" or name_bytes > NAME_BYTES_MAX:
        raise ValueError("no local header")
    name = file.read(name_bytes).decode("utf-8", "replace")
    file.seek(extra_bytes, io.SEEK_CUR)
    data = file.read(min(size, PREFIX_BYTES) if method == zipfile.ZIP_STORED else PREFIX_BYTES)
    if method == zipfile.ZIP_DEFLATED:
        data = _inflated(data)
    elif method == zipfile.ZIP_BZIP2:
        data = bz2.BZ2Decompressor().decompress(data, PREFIX_BYTES)
    elif method == zipfile.ZIP_LZMA:
        data = _without_lzma(data)
    return Member(name, data, len(data) < PREFIX_BYTES)


def _inflated(data: bytes) -> bytes:
    inflater, made = zlib.decompressobj(-15), b""
    with suppress(zlib.error):
        # In pieces: of a stream that breaks off, what came before is wanted.
        for start in range(0, len(data), INPUT_BYTES):
            made += inflater.decompress(data[start : start + INPUT_BYTES], PREFIX_BYTES - len(made) or 1)
            if inflater.eof or len(made) >= PREFIX_BYTES:
                break
    return made[:PREFIX_BYTES]


def _without_lzma(data: bytes) -> bytes:
    """Zip's own form (APPNOTE 5.8.8): a version, the length of the properties, those, and a stream without a header."""
    length = int.from_bytes(data[2:4], "little")
    flags, dictionary = struct.unpack_from("<BI", data, 4)
    # No more is asked for than what the first bytes can refer to.
    settings = {
        "dict_size": min(dictionary, 4 * PREFIX_BYTES),
        "lc": flags % 9,
        "lp": flags // 9 % 5,
        "pb": flags // 45,
    }
    filters: list[dict[str, int]] = [{"id": lzma.FILTER_LZMA1, **settings}]
    stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    return stream.decompress(data[4 + length :], PREFIX_BYTES)


def _is_lzma(head: bytes) -> bool:
    # There is no magic: the usual properties, a dictionary of 2^n or 2^n + 2^(n-1), an open or a sensible size.
    if len(head) < 14 or head[0] != 0x5D:
        return False
    dictionary, unfolded = struct.unpack_from("<IQ", head, 1)
    power = 1 << max(dictionary.bit_length() - 1, 0)
    return dictionary >= 4096 and dictionary in (power, power + power // 2) and not 1 << 40 < unfolded < (1 << 64) - 1


def _is_tar(head: bytes) -> bool:
    # The oldest tars, such as torch's first format, have no magic, but all have a checksum of their first block.
    if len(head) < 512:
        return False
    digits = head[148:156].strip(b" \x00")
    checksum = sum(head[:148]) + sum(head[156:]) + 8 * ord(" ")
    return digits.isdigit() and all(digit in b"01234567" for digit in digits) and int(digits, 8) == checksum


def _tar_members(file: BinaryIO) -> Iterator[Member]:
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for count, member in enumerate(archive):
            if count == MEMBERS_MAX:
                return
            content = archive.extractfile(member) if member.isfile() else None
            data = content.read(PREFIX_BYTES) if content else b""
            yield Member(member.name, data, member.size <= len(data))
