"""Files that would do harm where somebody loads or unpacks them: one for each known way around a scanner.

Made by code, so that none lies in the repository. What they would do is only to write a file, `MARK`.
"""

import bz2
import gzip
import io
import json
import lzma
import marshal
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


# The same without the opcode that names a protocol, which nothing needs; broken where it has been called already.
UNMARKED = STACK_GLOBAL[2:]
# Arguments that were put aside before, and an instance that calls what it is of.
REMEMBERED = b"(V/tmp/\ntp0\n0cio\nopen\ng0\nR\xff"
INSTANCE = b"(V/tmp/\niio\nopen\n\xff"
# A function of byte code, which is then called: what it does is in no name of the pickle.
CODE_OF_NOTHING = marshal.dumps((lambda: None).__code__)
MARSHALLED = (
    b"\x80\x03ctypes\nFunctionType\n(cmarshal\nloads\n(B"
    + struct.pack("<I", len(CODE_OF_NOTHING))
    + CODE_OF_NOTHING
    + b"tR}tR(tR."
)


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
PLAIN_ZIP = zip_of(("a", b"\x17" * 40))


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


def npy_of_objects(header: bytes = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") -> bytes:
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + ATTACK


def hidden() -> bytes:
    """A zip whose directory does not list its first member: some read headers from the start, and find it."""
    shown = zip_of(("a.txt", b"harmless"))
    first = ZIP[: ZIP.index(CENTRAL)]
    directory, end = shown.index(CENTRAL), shown.index(b"PK\x05\x06")
    moved = bytearray(first + shown)
    struct.pack_into("<I", moved, len(first) + directory + 42, len(first))
    struct.pack_into("<I", moved, len(first) + end + 16, len(first) + directory)
    return bytes(moved)


def renamed_by_extra() -> bytes:
    """A zip whose member has another name for those who read Info-ZIP's field of Unicode names."""
    info = zipfile.ZipInfo("a.txt")
    name = b"../../x"
    info.extra = struct.pack("<HHBI", 0x7075, 5 + len(name), 1, zlib.crc32(b"a.txt")) + name
    return zip_of((info, b"1"))


def tar_with_pax_path() -> bytes:
    info = tarfile.TarInfo("a.txt")
    info.pax_headers = {"path": "../../x"}
    return tar_of(info)


CORPUS = {
    **{f"protocol {n}": Malicious("model.safetensors", pickle.dumps(Attack(), n)) for n in range(6)},
    "a protocol 0 pickle with text behind it": Malicious("notes.txt", pickle.dumps(Attack(), 0) + b"\nSee above.\n"),
    "a protocol 0 pickle broken behind its call": Malicious("vocab.txt", pickle.dumps(Attack(), 0)[:-1] + b"\xff"),
    "a pickle broken behind its call": Malicious("model.bin", ATTACK[:-1] + b"\xff\xff"),
    "names put together on the stack": Malicious("config.json", STACK_GLOBAL),
    "a pickle in a pickle": Malicious("weights.dat", pickle.dumps(Nested(), 4)),
    "a function that no list names": Malicious("weights.pt", pickle.dumps(Unlisted(), 2)),
    "byte code in a pickle": Malicious("weights.pkl", MARSHALLED),
    "no mark of a protocol, broken behind its call": Malicious("weights.dat", UNMARKED[:-1] + b"\xff"),
    "arguments put aside, broken behind the call": Malicious("merges.txt", REMEMBERED),
    "an instance, broken behind it": Malicious("merges.txt", INSTANCE),
    "a line longer than a scanner reads": Malicious(
        "vocab.txt", b"V" + b"a" * 200_000 + b"\n0" + pickle.dumps(Attack(), 0)
    ),
    "a harmless pickle before it": Malicious("weights.dat", b"I1\n." + ATTACK),
    "a BUILD behind the call": Malicious("weights.dat", ATTACK[:-1] + b"}b."),
    "an extension code instead of a name": Malicious("weights.dat", b"\x82\x01)R."),
    "a pickle behind empty bytes": Malicious("weights.dat", bytes(64) + ATTACK),
    "an object array of numpy": Malicious("vectors.npy", npy_of_objects()),
    "an object array whose header is written otherwise": Malicious(
        "vectors.npy", npy_of_objects(b'{"fortran_order":False,"shape":(1,),"descr":"O"}')
    ),
    "an object array in an npz": Malicious("vectors.npz", zip_of(("a.npy", npy_of_objects()))),
    "an npz with its arrays in LZMA": Malicious(
        "vectors.npz", zip_of(("a.npy", npy_of_objects()), method=zipfile.ZIP_LZMA)
    ),
    "joblib in LZMA's old form": Malicious("model.joblib", lzma.compress(ATTACK, lzma.FORMAT_ALONE)),
    "joblib in LZ4": Malicious("model.joblib", b"\x04\x22\x4d\x18" + bytes(40), ARCHIVE),
    "joblib, compressed": Malicious("model.joblib", zlib.compress(ATTACK)),
    "torch's zip under another name": Malicious("tokenizer.model", zip_of(("archive/data.pkl", ATTACK))),
    "a second pickle beside data.pkl": Malicious("model.bin", zip_of(("archive/extra", ATTACK), ("archive/x", b"1"))),
    ".pt2": Malicious("model.pt2", zip_of(("archive_format", b"pt2"), ("data/weights/w0", b"1"))),
    "a zip whose flag says encrypted": Malicious(
        "model.bin", patched(patched(ZIP, CENTRAL, 8, b"\x01\x00"), LOCAL, 6, b"\x01\x00")
    ),
    "a zip whose checksum is wrong": Malicious("model.bin", patched(ZIP, CENTRAL, 16, bytes(4))),
    "a zip whose headers name another file": Malicious("model.bin", patched(ZIP, LOCAL, 30, b"archive/weightz")),
    "a zip with a member that its directory hides": Malicious("model.bin", hidden()),
    "a pickle behind a thousand members": Malicious(
        "model.bin", zip_of(*((f"archive/data/{number}", b"1") for number in range(1100)), ("archive/data.pkl", b"x"))
    ),
    "a zip with bytes behind it": Malicious("model.bin", ZIP + bytes(100_000)),
    "a zip with a method that nobody knows": Malicious(
        "data.zip", patched(patched(PLAIN_ZIP, CENTRAL, 10, b"\x61\x00"), LOCAL, 8, b"\x61\x00"), ARCHIVE
    ),
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
    "a Lambda layer spelt in escapes": Malicious(
        "model.keras", zip_of(("config.json", keras("Lambda").replace(b"Lambda", b"L\\u0061mbda"))), CODE
    ),
    "a Keras archive that names a module (CVE-2025-1550)": Malicious(
        "model.keras", zip_of(("config.json", b'{"class_name": "function", "config": "system", "module": "os"}')), CODE
    ),
    "an HDF5 file with its configuration at its end": Malicious(
        "model.h5", b"\x89HDF\r\n\x1a\n" + bytes(9 << 20) + keras("Lambda"), CODE
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
    "an xz that asks for a gigabyte": Malicious(
        "data.xz", lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]), ARCHIVE
    ),
    "an xz bomb": Malicious("data.xz", lzma.compress(bytes(40 << 20), preset=0), ARCHIVE),
    "archives in archives": Malicious("data.zip", nested(6), ARCHIVE),
    "a tar that leaves its directory": Malicious("data.tar", tar_of(("../x", b"1")), ARCHIVE),
    "a zip with another name in its extra field": Malicious("data.zip", renamed_by_extra(), ARCHIVE),
    "a tar with another name in its pax header": Malicious("data.tar", tar_with_pax_path(), ARCHIVE),
    "a tar with a link out": Malicious("data.tar", tar_of(tar_link("a/b", "../../x")), ARCHIVE),
    "a tar with a hard link out": Malicious("data.tar", tar_of(tar_link("b", "/etc/passwd", tarfile.LNKTYPE)), ARCHIVE),
    "a tar with a device": Malicious("data.tar", tar_of(tar_link("null", "", tarfile.CHRTYPE)), ARCHIVE),
    "GGUF with bytes behind it": Malicious("model.gguf", gguf(b"#!/bin/sh\n" * 20), GGUF),
    "GGUF that is larger than its file": Malicious("model.gguf", gguf(size=1 << 40), GGUF),
}  # fmt: skip
