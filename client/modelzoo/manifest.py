"""Manifests: what a version consists of, by content alone, so that the same bytes always have the same name.

On disk and on the wire a manifest is this JSON document in the canonical form of RFC 8785 (no spaces, members in
order, UTF-8), and its name is the SHA-256 of those bytes:

    {"cut":"tensor/1",
     "files":[{"blobs":[{"digest":"<BLAKE3-256>","size":<bytes>}, ...],
               "path":"model.safetensors","sha256":"<SHA-256>","size":<bytes>}, ...],
     "format":"transformers",
     "schema":"manifest/1"}

`files` are in the order of their paths' UTF-8 bytes, `blobs` in the order of the file. An empty file has no blobs.

How it grows. There are no other members and no optional ones: a document with an unknown member is refused by readers
and never written, because two ways to write one content would give it two names. Another member means `manifest/2`,
and readers keep reading `manifest/1` for ever. A new `format` or `cut` is only a new word: readers accept words they
do not know (they need neither to read the files; no worker loads a format it does not know), and who accepts a new
manifest refuses them with `check_known`. Words are never given another meaning.
"""

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import rfc8785

from modelzoo.errors import InvalidArgument
from modelzoo.paths import check_paths

__all__ = [
    "BLOB_BYTES_MAX",
    "CUTS",
    "FORMATS",
    "MANIFEST_BYTES_MAX",
    "SCHEMA",
    "TENSOR_CUT",
    "Blob",
    "File",
    "Manifest",
    "check_known",
]

SCHEMA = "manifest/1"
TENSOR_CUT = "tensor/1"
BLOB_BYTES_MAX = 32 * 1024 * 1024
MANIFEST_BYTES_MAX = 64 * 1024 * 1024
SIZE_BYTES_MAX = 2**53 - 1  # what JSON numbers hold exactly

CUTS = frozenset({TENSOR_CUT})
FORMATS = {
    "transformers": "safetensors weights with a transformers config.json, tokenizer or processor beside them",
    "onnx": "an ONNX graph, its external data inside the directory",
    "gguf": "one or more GGUF files",
    "adapter": "a PEFT adapter: safetensors weights and adapter_config.json; its base is another version",
    "checkpoint": "the state of a training job: safetensors and JSON",
    "dataset": "examples",
    "opaque": "anything else; stored and given back, loaded by no worker",
}

_WORD = re.compile(r"[a-z][a-z0-9-]{0,31}")
_CUT = re.compile(r"[a-z][a-z0-9-]{0,31}/[1-9][0-9]{0,3}")
_HEX64 = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Blob:
    """1 byte to 32 MiB of a file; `digest` is its BLAKE3-256 in lower-case hexadecimal digits."""

    digest: str
    size: int

    def __post_init__(self) -> None:
        if not _HEX64.fullmatch(self.digest):
            raise _invalid(f"a blob's digest is 64 lower-case hexadecimal digits, not {self.digest[:80]!a}")
        if not 1 <= self.size <= BLOB_BYTES_MAX:
            raise _invalid(f"blob {self.digest} has {self.size} bytes; allowed are 1 to {BLOB_BYTES_MAX}")


@dataclass(frozen=True, slots=True)
class File:
    """A file as its blobs in order; their sizes add up to `size`. `sha256` is a claim about the whole."""

    path: str
    size: int
    sha256: str
    blobs: tuple[Blob, ...]

    def __post_init__(self) -> None:
        shown = ascii(self.path[:120])
        if not _HEX64.fullmatch(self.sha256):
            raise _invalid(f"the sha256 of file {shown} is not 64 lower-case hexadecimal digits")
        if not 0 <= self.size <= SIZE_BYTES_MAX:
            raise _invalid(f"the size of file {shown} is not between 0 and {SIZE_BYTES_MAX}")
        total = sum(blob.size for blob in self.blobs)
        if total != self.size:
            raise _invalid(f"file {shown} has {self.size} bytes but its blobs add up to {total}")

    def placed_blobs(self) -> Iterator[tuple[int, Blob]]:
        """Every blob with its offset in the file, in order."""
        offset = 0
        for blob in self.blobs:
            yield offset, blob
            offset += blob.size


@dataclass(frozen=True, slots=True)
class Manifest:
    """Files that belong together. Every instance is valid.

    The constructor raises MANIFEST_INVALID, PATH_INVALID or PATH_DUPLICATE otherwise; `of` sorts the files first.
    """

    format: str
    cut: str
    files: tuple[File, ...]

    def __post_init__(self) -> None:
        if not _WORD.fullmatch(self.format):
            raise _invalid(f"format {self.format[:80]!a} is not a lower-case word")
        if not _CUT.fullmatch(self.cut):
            raise _invalid(f"cut {self.cut[:80]!a} is not of the form {TENSOR_CUT!r}")
        if not self.files:
            raise _invalid("there are no files")
        paths = [file.path for file in self.files]
        check_paths(paths)
        # Once they are known to be Unicode: the order of UTF-8 bytes is the order of code points.
        if any(before >= after for before, after in itertools.pairwise(paths)):
            raise _invalid("the files are not in the order of their paths")
        sizes: dict[str, int] = {}
        for blob in self._all_blobs():
            if sizes.setdefault(blob.digest, blob.size) != blob.size:
                raise _invalid(f"blob {blob.digest} is listed with two sizes")

    @classmethod
    def of(cls, format: str, files: Iterable[File]) -> "Manifest":
        """The manifest of these files in the current cut, whatever order they come in."""
        return cls(format, TENSOR_CUT, tuple(sorted(files, key=lambda file: file.path)))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """The manifest whose canonical form is exactly `data`; MANIFEST_INVALID, saying at which byte, if none."""
        if len(data) > MANIFEST_BYTES_MAX:
            raise _invalid(f"it has {len(data)} bytes, over {MANIFEST_BYTES_MAX}")
        return _Scanner(data).manifest()

    def to_bytes(self) -> bytes:
        """The canonical form: `from_bytes(m.to_bytes()) == m`, and equal manifests give equal bytes."""
        files = [
            {
                "path": file.path,
                "size": file.size,
                "sha256": file.sha256,
                "blobs": [{"digest": blob.digest, "size": blob.size} for blob in file.blobs],
            }
            for file in self.files
        ]
        data = rfc8785.dumps({"schema": SCHEMA, "format": self.format, "cut": self.cut, "files": files})
        if len(data) > MANIFEST_BYTES_MAX:
            raise _invalid(f"it has {len(data)} bytes, over {MANIFEST_BYTES_MAX}; split the content into versions")
        return data

    def digest(self) -> str:
        """The manifest's name: the SHA-256 of `to_bytes()`, 64 lower-case hexadecimal digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """The sum of the files' sizes."""
        return sum(file.size for file in self.files)

    def unique_blobs(self) -> dict[str, int]:
        """Size by digest of every different blob: what storing or sending this content takes, each blob once."""
        return {blob.digest: blob.size for blob in self._all_blobs()}

    def file(self, path: str) -> File | None:
        """The file of that path, or None."""
        return next((file for file in self.files if file.path == path), None)

    def _all_blobs(self) -> Iterable[Blob]:
        return (blob for file in self.files for blob in file.blobs)


def check_known(manifest: Manifest) -> None:
    """Raise MANIFEST_INVALID unless this release knows the manifest's format and cut; for who accepts a new one."""
    if manifest.format not in FORMATS:
        raise _invalid(f"format {manifest.format!r} is not one of {', '.join(FORMATS)}")
    if manifest.cut not in CUTS:
        raise _invalid(f"cut {manifest.cut!r} is not one of {', '.join(sorted(CUTS))}")


class _Scanner:
    """Reads the canonical bytes as the one thing they may be.

    A general JSON parser would build a tree of whatever 64 MiB of `[],[],` say before anything could be refused, and
    the result would have to be written again to see whether it was canonical. Safe paths need no escapes.
    """

    _SIZE = re.compile(rb"0|[1-9][0-9]{0,15}")
    _TEXT = re.compile(rb'[^"\\\x00-\x1f]*+')
    _HEX = re.compile(rb"[0-9a-f]{64}")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def manifest(self) -> Manifest:
        self._literal(b'{"cut":"')
        cut = self._text()
        self._literal(b'","files":[')
        files = self._items(self._file)
        self._literal(b'],"format":"')
        format = self._text()
        self._literal(b'","schema":"')
        schema = self._text()
        self._literal(b'"}')
        if self._at != len(self._data):
            self._refuse("the end")
        if schema != SCHEMA:
            raise _invalid(f"its schema is {schema[:80]!a}; this release reads {SCHEMA!r}: update it")
        return Manifest(format, cut, files)

    def _file(self) -> File:
        self._literal(b'{"blobs":[')
        blobs = self._items(self._blob)
        self._literal(b'],"path":"')
        path = self._text()
        self._literal(b'","sha256":"')
        sha256 = self._match(self._HEX, "64 lower-case hexadecimal digits").decode()
        self._literal(b'","size":')
        size = int(self._match(self._SIZE, "a size"))
        self._literal(b"}")
        return File(path, size, sha256, blobs)

    def _blob(self) -> Blob:
        self._literal(b'{"digest":"')
        digest = self._match(self._HEX, "64 lower-case hexadecimal digits").decode()
        self._literal(b'","size":')
        size = int(self._match(self._SIZE, "a size"))
        self._literal(b"}")
        return Blob(digest, size)

    def _items(self, item: Callable[[], T]) -> tuple[T, ...]:
        if self._data.startswith(b"]", self._at):
            return ()
        items = [item()]
        while self._data.startswith(b",", self._at):
            self._at += 1
            items.append(item())
        return tuple(items)

    def _literal(self, expected: bytes) -> None:
        if not self._data.startswith(expected, self._at):
            self._refuse(expected.decode())
        self._at += len(expected)

    def _text(self) -> str:
        start = self._at
        try:
            return self._match(self._TEXT, "text").decode()
        except UnicodeDecodeError as error:
            raise _invalid(f"the text at byte {start} is not UTF-8") from error

    def _match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        found = pattern.match(self._data, self._at)
        if found is None:
            self._refuse(what)
        self._at = found.end()
        return found.group()

    def _refuse(self, expected: str) -> NoReturn:
        raise _invalid(f"it is not in canonical form (RFC 8785): at byte {self._at} {expected} was expected")


def _invalid(fault: str) -> InvalidArgument:
    return InvalidArgument("MANIFEST_INVALID", f"Not a valid manifest: {fault}.")
