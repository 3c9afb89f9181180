"""Files that would do harm where somebody loads or unpacks them: one for each known way around a scanner.

Made by code, so that none lies in the repository. What they would do is only to write a file, `MARK`.
"""

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from support.weights import weights

__all__ = ["CORPUS", "MARK", "Malicious"]

MARK = Path("/tmp/must-not-exist-after-the-tests")
PICKLE, ARCHIVE, CODE, GGUF = "PICKLE_REFUSED", "ARCHIVE_UNSAFE", "CODE_REFUSED", "GGUF_INVALID"


@dataclass(frozen=True, slots=True)
class Malicious:
    """`path` is what it calls itself; `reason` is what it is refused for."""

    path: str
    content: bytes
    reason: str = PICKLE


class Attack:
    def __reduce__(self):
        return open, (str(MARK), "w")


class Nested:
    """Unpickles another pickle, so that its own opcodes name nothing but `pickle.loads`."""

    def __reduce__(self):
        return pickle.loads, (pickle.dumps(Attack(), 4),)


class Unlisted:
    """Calls what lists of dangerous functions forgot (CVE-2025-1716)."""

    def __reduce__(self):
        import ensurepip

        return ensurepip._run_pip, (["--version"],)


ATTACK = pickle.dumps(Attack(), 4)
# The names of the function are put together on the stack, and read back from the memo.
STACK_GLOBAL = b"\x80\x04\x8c\x02io\x94\x8c\x04open\x940h\x00h\x01\x93\x8c\x05/tmp/\x85R."


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def tar_of(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return file.getvalue()


def tar_link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name: str, target: str) -> bytes:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return zip_of((info, target.encode()))


def patched(archive: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """The zip with other bytes at `offset` of the first header that begins with `signature`."""
    changed = bytearray(archive)
    at = archive.index(signature) + offset
    changed[at : at + len(value)] = value
    return bytes(changed)


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
ZIP = zip_of(("archive/weights", ATTACK))


def overlapping() -> bytes:
    """Two members of which the second begins inside the first: a bomb's way to unfold the same bytes many times."""
    archive = bytearray(zip_of(("a", b"x" * 200), ("b", b"y")))
    second = archive.index(CENTRAL, archive.index(CENTRAL) + 4)
    archive[second + 42 : second + 46] = struct.pack("<I", 40)
    return bytes(archive)


def nested(depth: int) -> bytes:
    content = b"harmless"
    for _ in range(depth):
        content = zip_of(("inner.zip", content))
    return content


def gguf(tail: bytes = b"", size: int = 4) -> bytes:
    """One float tensor of `size` elements with the data of one of 4, then `tail`."""
    name = b"w"
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0)
    head += struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, size, 0, 0)
    return head.ljust(-(-len(head) // 32) * 32, b"\0") + bytes(16) + bytes(16) + tail


def keras(layer: str) -> bytes:
    config = {"class_name": "Functional", "config": {"layers": [{"class_name": layer, "config": {"function": "4wEA"}}]}}
    return json.dumps(config).encode()


def npy_of_objects() -> bytes:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + ATTACK


CORPUS = {
    **{f"protocol {n}": Malicious("model.safetensors", pickle.dumps(Attack(), n)) for n in range(6)},
    "a protocol 0 pickle with text behind it": Malicious("notes.txt", pickle.dumps(Attack(), 0) + b"\nSee above.\n"),
    "a protocol 0 pickle broken behind its call": Malicious("vocab.txt", pickle.dumps(Attack(), 0)[:-1] + b"\xff"),
    "a pickle broken behind its call": Malicious("model.bin", ATTACK[:-1] + b"\xff\xff"),
    "names put together on the stack": Malicious("config.json", STACK_GLOBAL),
    "a pickle in a pickle": Malicious("weights.dat", pickle.dumps(Nested(), 4)),
    "a function that no list names": Malicious("weights.pt", pickle.dumps(Unlisted(), 2)),
    "a pickle behind empty bytes": Malicious("weights.dat", bytes(64) + ATTACK),
    "an object array of numpy": Malicious("vectors.npy", npy_of_objects()),
    "an object array in an npz": Malicious("vectors.npz", zip_of(("a.npy", npy_of_objects()))),
    "joblib, compressed": Malicious("model.joblib", zlib.compress(ATTACK)),
    "torch's zip under another name": Malicious("tokenizer.model", zip_of(("archive/data.pkl", ATTACK))),
    "a second pickle beside data.pkl": Malicious("model.bin", zip_of(("archive/extra", ATTACK), ("archive/x", b"1"))),
    ".pt2": Malicious("model.pt2", zip_of(("archive_format", b"pt2"), ("data/weights/w0", b"1"))),
    "a zip whose flag says encrypted": Malicious(
        "model.bin", patched(patched(ZIP, CENTRAL, 8, b"\x01\x00"), LOCAL, 6, b"\x01\x00")
    ),
    "a zip whose checksum is wrong": Malicious("model.bin", patched(ZIP, CENTRAL, 16, bytes(4))),
    "a zip whose headers name another file": Malicious("model.bin", patched(ZIP, LOCAL, 30, b"archive/weightz")),
    "a zip without a directory": Malicious("model.bin", ZIP[: ZIP.index(CENTRAL)]),
    "a zip behind a picture": Malicious("photo.png", b"\x89PNG\r\n\x1a\n" + bytes(100) + ZIP),
    "a zip behind safetensors": Malicious("model.safetensors", weights(64) + ZIP),
    "a zip behind GGUF": Malicious("model.gguf", gguf() + ZIP),
    "a .bin that is a tar": Malicious("pytorch_model.bin", tar_of(("weights", ATTACK))),
    "a tar.gz": Malicious("weights.tar.gz", gzip.compress(tar_of(("a.txt", b"x" * 300_000), ("weights", ATTACK)))),
    "bzip2": Malicious("weights.txt", bz2.compress(ATTACK)),
    "xz": Malicious("weights.txt", lzma.compress(ATTACK)),
    "gzip in two members": Malicious("weights.gz", gzip.compress(ATTACK[:9]) + gzip.compress(ATTACK[9:])),
    "zip in gzip in tar": Malicious("data.tar", tar_of(("inner.gz", gzip.compress(ZIP)))),
    "a Keras archive with a Lambda layer": Malicious(
        "model.keras", zip_of(("config.json", keras("Lambda")), ("model.weights.h5", b"\x89HDF\r\n\x1a\n")), CODE
    ),
    "an HDF5 file with a Lambda layer": Malicious(
        "model.h5", b"\x89HDF\r\n\x1a\n" + bytes(500) + keras("Lambda"), CODE
    ),
    "a 7z archive": Malicious("model.pt", b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(100), ARCHIVE),
    "a zip that leaves its directory": Malicious("data.zip", zip_of(("../../x", b"1")), ARCHIVE),
    "a zip with backslashes": Malicious("data.zip", zip_of(("..\\..\\x", b"1")), ARCHIVE),
    "a zip with an absolute path": Malicious("data.zip", zip_of(("/etc/x", b"1")), ARCHIVE),
    "a zip with a drive": Malicious("data.zip", zip_of(("C:/x", b"1")), ARCHIVE),
    "a zip with a link out": Malicious("data.zip", zip_link("a/link", "../../x"), ARCHIVE),
    "a zip with encrypted members": Malicious(
        "data.zip", patched(zip_of(("a", b"\x17" * 40)), CENTRAL, 8, b"\x01\x00"), ARCHIVE
    ),
    "a zip with members in each other": Malicious("data.zip", overlapping(), ARCHIVE),
    "a zip bomb": Malicious(
        "data.zip", patched(zip_of(("a", bytes(1000)), method=zipfile.ZIP_DEFLATED), CENTRAL, 24, b"\xff\xff\xff\x7f"),
        ARCHIVE,
    ),
    "a gzip bomb": Malicious("data.gz", gzip.compress(bytes(40 << 20)), ARCHIVE),
    "an xz bomb": Malicious("data.xz", lzma.compress(bytes(40 << 20), preset=0), ARCHIVE),
    "archives in archives": Malicious("data.zip", nested(6), ARCHIVE),
    "a tar that leaves its directory": Malicious("data.tar", tar_of(("../x", b"1")), ARCHIVE),
    "a tar with a link out": Malicious("data.tar", tar_of(tar_link("a/b", "../../x")), ARCHIVE),
    "a tar with a hard link out": Malicious("data.tar", tar_of(tar_link("b", "/etc/passwd", tarfile.LNKTYPE)), ARCHIVE),
    "a tar with a device": Malicious("data.tar", tar_of(tar_link("null", "", tarfile.CHRTYPE)), ARCHIVE),
    "GGUF with bytes behind it": Malicious("model.gguf", gguf(b"#!/bin/sh\n" * 20), GGUF),
    "GGUF that is larger than its file": Malicious("model.gguf", gguf(size=1 << 40), GGUF),
}  # fmt: skip
