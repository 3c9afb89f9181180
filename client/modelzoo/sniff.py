"""Whether bytes could run code where they are loaded, whatever the file is called. Nothing is ever loaded, unpacked,
imported or written here.

Looked into: pickles of every protocol, the files that hold one (torch's zip, tar and bare forms, `.pt2`, joblib, numpy
arrays of objects), code in Keras files, and zip, tar, gzip, bzip2, xz, lzma and zlib around them, DEPTH deep. An
archive that is not safe to unpack is told, too. Keras and HDF5 files without code stay opaque.

Every look is bounded, so a pickle can be hidden from it. That harms nobody: no worker loads anything but the formats on
its list, however innocent it looks. This is here to tell people early, and must not refuse what is harmless.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from modelzoo.archive_hazards import closed_archive, hazard_in
from modelzoo.archives import PREFIX_BYTES, UNFOLDED_BYTES, Kind, inside, kind_of
from modelzoo.errors import InvalidArgument
from modelzoo.pickle_walk import is_pickle

__all__ = ["Danger", "danger_in", "find_dangers", "find_pickle", "refuse_danger"]

DEPTH = 4
# Looked at inside all archives of a file together.
INSIDE_BYTES = 64 * 1024 * 1024
NULS_MAX = 4096

PICKLE, ARCHIVE, CODE = "PICKLE_REFUSED", "ARCHIVE_UNSAFE", "CODE_REFUSED"

_ADVICE = {
    PICKLE: "loading one can run any code. Leave it out; `zoo import` makes safetensors of pickled weights.",
    ARCHIVE: "unpacking it can do harm. Leave it out, or push what is in it.",
    CODE: "loading it runs that code. Leave it out, or save the weights as safetensors.",
}
_PICKLE_MEMBER = re.compile(r"\.(?:pkl|pickle)\Z", re.IGNORECASE)
_PICKLE_NAME_IN_ZIP = re.compile(rb"PK\x03\x04.{26}[^\x00]{0,200}\.pkl", re.DOTALL)
_NUMPY_OBJECTS = re.compile(rb"\x93NUMPY.{1,8}\{[^}]*'descr': (?:'\|O|\[.*'\|O)", re.DOTALL)
_PT2_MEMBERS = ("archive_format", "serialized_exported_program.json")
# Keras keeps a function as marshalled byte code under these names, in the configuration of a model.
_KERAS_CODE = re.compile(rb'"class_name"\s*:\s*"(?:Lambda|__lambda__)"')
# And imports what it is told to, and calls it (CVE-2025-1550).
_KERAS_MODULE = re.compile(rb'"module"\s*:\s*"(?!keras|tf_keras|tensorflow|builtins"|")')
_JSON_ESCAPE = re.compile(rb"\\u00([2-7][0-9A-Fa-f])")
_KERAS_CONFIG = "config.json"
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Danger:
    """What was found, in words that follow "is" or "holds", and the reason under which it is refused."""

    reason: str
    what: str

    def inside(self, name: str) -> "Danger":
        where = ascii(name[:120]) if name else "a compressed file"
        return Danger(self.reason, f"{self.what}, inside {where}")


class _Budget:
    """Bytes that may still be looked at."""

    def __init__(self, left_bytes: int) -> None:
        self.left_bytes = left_bytes


def refuse_danger(path: str, opener: Callable[[], BinaryIO]) -> None:
    """Raise what `danger_in` answers, if it answers anything."""
    if danger := danger_in(path, opener):
        raise danger


def danger_in(path: str, opener: Callable[[], BinaryIO]) -> InvalidArgument | None:
    """The refusal, naming the file, of the seekable bytes that `opener` gives; None where nothing was found.

    PICKLE_REFUSED before ARCHIVE_UNSAFE and CODE_REFUSED.
    """
    first: Danger | None = None
    with opener() as file:
        for danger in find_dangers(file):
            first = danger if first is None or danger.reason == PICKLE else first
            if danger.reason == PICKLE:
                break
    if first is None:
        return None
    return InvalidArgument(first.reason, f"{path!a} is {first.what}; {_ADVICE[first.reason]}", metadata={"path": path})


def find_pickle(file: BinaryIO) -> str | None:
    """What kind of pickle the seekable file is, in words, or None."""
    return next((danger.what for danger in find_dangers(file) if danger.reason == PICKLE), None)


def find_dangers(file: BinaryIO) -> Iterator[Danger]:
    """Everything dangerous that is found in the seekable file."""
    return _look(file, DEPTH, _Budget(INSIDE_BYTES), is_whole=True)


def _look(file: BinaryIO, depth: int, budget: _Budget, *, is_whole: bool) -> Iterator[Danger]:
    file.seek(0)
    head = file.read(512)
    if pickle := _pickle(file, head):
        yield Danger(PICKLE, pickle)
        return
    if head.startswith(_HDF5) and (code := _keras_code(_ends(file, UNFOLDED_BYTES))):
        yield Danger(CODE, f"a Keras file {code}")
    if closed := closed_archive(head):
        yield Danger(ARCHIVE, f"{closed}, which cannot be looked into")
    kind = kind_of(file, head)
    if kind is None:
        return
    if depth == 0:
        if kind is not Kind.ZLIB:  # two bytes begin it, and many a text
            yield Danger(ARCHIVE, f"archives in archives, more than {DEPTH} deep")
        return
    if not is_whole and _PICKLE_NAME_IN_ZIP.match(_prefix(file, PREFIX_BYTES)):
        yield Danger(PICKLE, "an archive with a pickle")
        return
    if hazard := hazard_in(file, kind):
        yield Danger(ARCHIVE, hazard)
    limit_bytes = UNFOLDED_BYTES if depth == DEPTH else PREFIX_BYTES
    for member in inside(file, kind, limit_bytes):
        if _PICKLE_MEMBER.search(member.name):
            yield Danger(PICKLE, f"an archive with the pickle {member.name[:120]!a}")
        if member.name.rpartition("/")[2] in _PT2_MEMBERS:
            yield Danger(PICKLE, "a .pt2 archive, which falls back to pickles")
        if member.name == _KERAS_CONFIG and (code := _keras_code(member.content)):
            yield Danger(CODE, f"a Keras archive {code}")
        budget.left_bytes -= len(member.content)
        if budget.left_bytes < 0:
            return
        for danger in _look(io.BytesIO(member.content), depth - 1, budget, is_whole=member.is_whole):
            yield danger.inside(member.name)


def _pickle(file: BinaryIO, head: bytes) -> str | None:
    if is_pickle(file):
        return "a pickle"
    if _NUMPY_OBJECTS.match(head) or _has_pickled_data(file, head):
        return "a numpy array of pickled objects"
    if head.startswith(b"\x00"):
        # Padding, which those that look for magic bytes trip over and those that know the offset do not.
        rest = _prefix(file, NULS_MAX + PREFIX_BYTES).lstrip(b"\x00")
        if rest.startswith(b"\x80") and is_pickle(io.BytesIO(rest)):
            return "a pickle behind empty bytes"
    return None


def _has_pickled_data(file: BinaryIO, head: bytes) -> bool:
    """Of a numpy array, whose header may be written in many ways: whether a pickle is behind it."""
    if not head.startswith(b"\x93NUMPY"):
        return False
    length_bytes = 2 if head[6:7] == b"\x01" else 4
    at = 8 + length_bytes + int.from_bytes(head[8 : 8 + length_bytes], "little")
    file.seek(at)
    return is_pickle(io.BytesIO(file.read(PREFIX_BYTES)))


def _keras_code(config: bytes) -> str | None:
    """How the configuration of a Keras model makes loading it run code, or None."""
    config = _JSON_ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), config)
    if _KERAS_CODE.search(config):
        return "with a Lambda layer"
    return "that names a module to import" if _KERAS_MODULE.search(config) else None


def _ends(file: BinaryIO, length_bytes: int) -> bytes:
    """The first and the last bytes."""
    size = file.seek(0, io.SEEK_END)
    start = _prefix(file, length_bytes)
    file.seek(max(len(start), size - length_bytes))
    return start + file.read(length_bytes)


def _prefix(file: BinaryIO, length_bytes: int) -> bytes:
    file.seek(0)
    return file.read(length_bytes)
