"""What makes an archive unsafe to unpack: members outside their directory, links out of it, and bombs.

Nobody here unpacks one. Whoever pulls it may, with a program that trusts it.
"""

import io
import posixpath
import re
import stat
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from modelzoo.archives import BROKEN, LOCAL_HEADER, MEMBERS_MAX, Kind, unfold

__all__ = ["closed_archive", "hazard_in"]

# Weights and texts shrink to a third; what shrinks to less than this is made to fill a disk.
RATIO_MAX = 500
BOMB_BYTES = 256 * 1024 * 1024
TRIED_BYTES = 32 * 1024 * 1024
LINK_BYTES_MAX = 4096
ENTRIES_MAX = 100_000
UNICODE_NAME, UNICODE_NAME_AT = 0x7075, 5
OPENED_MAX = 256  # each is a read somewhere else in the file

_CLOSED = {b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!\x1a\x07": "a rar archive", b"\x04\x22\x4d\x18": "LZ4"}
_DRIVE = re.compile(r"[A-Za-z]:")


def closed_archive(head: bytes) -> str | None:
    """What kind of archive begins so whose content cannot be looked into; None if it is none."""
    return next((what for magic, what in _CLOSED.items() if head.startswith(magic)), None)


def hazard_in(file: BinaryIO, kind: Kind) -> str | None:
    """The first thing about the archive that makes unpacking it unsafe, in words; None if nothing was found."""
    with suppress(*BROKEN):
        if kind is Kind.ZIP:
            return next(_of_zip(file), None)
        if kind is Kind.TAR:
            return next(_of_tar(file), None)
        return _of_compressed(file, kind)
    return None


def _of_zip(file: BinaryIO) -> Iterator[str]:
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    if len(members) > ENTRIES_MAX:
        yield f"a zip of {len(members)} members"
    unfolded = sum(member.file_size for member in members)
    if unfolded > BOMB_BYTES and unfolded > RATIO_MAX * size:
        yield f"a zip bomb: {size} bytes that unfold to {unfolded}"
    names: set[str] = set()
    for member in members[:ENTRIES_MAX]:
        if "\x00" in member.orig_filename or leaves(member.filename):
            yield f"a zip whose member {_shown(member.orig_filename)} leaves its directory"
        if leaves(_unicode_name(member.extra)):
            yield f"a zip whose member {_shown(member.filename)} has another name, which leaves its directory"
        if member.filename in names:
            yield f"a zip with two members {_shown(member.filename)}"
        names.add(member.filename)
    at = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < at:
            yield f"a zip whose member {_shown(member.filename)} lies inside another one"
        at = member.header_offset + LOCAL_HEADER.size + member.compress_size
    with zipfile.ZipFile(file) as archive:
        for member in members[:OPENED_MAX]:
            yield from _of_member(archive, member)


def _unicode_name(extra: bytes) -> str:
    """The name in Info-ZIP's field for names in Unicode, which some programs prefer; '' if there is none."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == UNICODE_NAME:
            return extra[4 + UNICODE_NAME_AT : 4 + length].decode("utf-8", "replace")
        extra = extra[4 + length :]
    return ""


def _of_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[str]:
    name = _shown(member.filename)
    if member.flag_bits & 1:
        yield f"a zip whose member {name} is encrypted, so that it cannot be looked into"
        return
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    try:
        with archive.open(member) as content:
            target = content.read(LINK_BYTES_MAX) if is_link else b""
    except BROKEN:
        yield f"a zip whose member {name} contradicts its directory"
        return
    if is_link and leaves(target.decode("utf-8", "replace"), member.filename):
        yield f"a zip whose member {name} is a link out of its directory"


def _of_tar(file: BinaryIO) -> Iterator[str]:
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for count, member in enumerate(archive):
            if count == MEMBERS_MAX:
                return
            name = _shown(member.name)
            if leaves(member.name):
                yield f"a tar whose member {name} leaves its directory"
            # A hard link names its target from the archive's root, a symbolic one from where it lies.
            if (member.issym() and leaves(member.linkname, member.name)) or (
                member.islnk() and leaves(member.linkname)
            ):
                yield f"a tar whose member {name} is a link out of its directory"
            if member.isdev():
                yield f"a tar whose member {name} is a device"


def _of_compressed(file: BinaryIO, kind: Kind) -> str | None:
    unfolded = 0
    for piece in unfold(file, kind, TRIED_BYTES):
        unfolded += len(piece)
    used = file.tell()
    if not unfolded and kind in (Kind.XZ, Kind.LZMA):
        return f"{kind.value} that is broken or wants too much memory, so that it cannot be looked into"
    if unfolded >= TRIED_BYTES and unfolded > RATIO_MAX * used:
        return f"a bomb: its first {used} bytes unfold to {unfolded}"
    return None


def leaves(target: str, link: str = "") -> bool:
    """Whether a path, of what lies at `link` if that is given, leads out of the directory that all of it lies in."""
    target = target.replace("\\", "/")
    if target.startswith("/") or _DRIVE.match(target):
        return True
    reached = posixpath.normpath(f"{posixpath.dirname(link)}/{target}" if posixpath.dirname(link) else target)
    if not link and ".." in target.split("/"):
        return True  # not even by way of what it comes back to
    return reached == ".." or reached.startswith("../")


def _shown(name: str) -> str:
    return ascii(name[:120])
