"""Every file of the corpus is refused, for what it is; nothing harmless is."""

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from gguf.constants import GGML_QUANT_SIZES

from modelzoo.archive_hazards import leaves
from modelzoo.archives import Kind, unfold
from modelzoo.errors import InvalidArgument
from modelzoo.gguf_header import BLOCKS, check_gguf
from modelzoo.sniff import danger_in, find_dangers
from support.malicious import CORPUS, MARK, Malicious, gguf, keras, npy_of_objects, tar_link, tar_of, zip_link, zip_of


def refused(path: str, content: bytes) -> str | None:
    if danger := danger_in(path, partial(io.BytesIO, content)):
        return danger.reason
    if path.endswith(".gguf"):
        try:
            check_gguf(path, io.BytesIO(content), len(content))
        except InvalidArgument as error:
            return error.reason
    return None


@pytest.mark.parametrize("sample", CORPUS.values(), ids=CORPUS.keys())
def test_a_malicious_file_is_refused_for_what_it_is(sample: Malicious):
    assert refused(sample.path, sample.content) == sample.reason


def test_nothing_of_the_corpus_was_loaded():
    assert not MARK.exists()


HARMLESS: dict[str, Callable[[], bytes]] = {
    "a.keras": lambda: zip_of(("config.json", keras("Dense")), ("model.weights.h5", b"\x89HDF\r\n\x1a\n")),
    "modules.keras": lambda: zip_of(("config.json", b'{"class_name": "Dense", "module": "keras.layers"}')),
    "a.h5": lambda: b"\x89HDF\r\n\x1a\n" + keras("Dense"),
    "a.zip": lambda: zip_of(("a/b.txt", b"text"), ("a/c.txt", bytes(100_000)), method=zipfile.ZIP_DEFLATED),
    "link.zip": lambda: zip_link("a/link", "../b"),
    "a.tar": lambda: tar_of(("a/b.txt", b"text"), tar_link("a/c", "b.txt"), tar_link("d", "a/b.txt", tarfile.LNKTYPE)),
    "three-deep.zip": lambda: zip_of(("x.zip", zip_of(("y.zip", zip_of(("z.json", json.dumps([1]).encode()))))),),
    "a.gguf": gguf,
    "empty.gguf": lambda: b"GGUF" + bytes([3, 0, 0, 0]) + bytes(16),
    "text-like-zip.txt": lambda: b"PKG is a package. x^2 is a square.",
    "floats.npy": lambda: npy_of_objects(b"{'descr': '<f4', 'shape': (9,)}")[:128] + bytes(36),
    "long-line.txt": lambda: b"V" + b"a" * 200_000 + b"\nand so on",
    "many.zip": lambda: zip_of(*((f"{number}.txt", b"text") for number in range(1100))),
    "rows.jsonl.xz": lambda: lzma.compress(b'{"text": "a"}\n' * 1000),
    "rows.jsonl.lzma": lambda: lzma.compress(b'{"text": "a"}\n' * 1000, lzma.FORMAT_ALONE),
    "scheme.txt": lambda: b"(import\nfoo\nbar)",
    "zeros.bin": lambda: bytes(100_000),
    "zeros-and-more.bin": lambda: bytes(64) + b"\x80\x04 is the euro sign",
}  # fmt: skip


@pytest.mark.parametrize("path", HARMLESS)
def test_what_is_harmless_is_let_in(path: str):
    assert refused(path, HARMLESS[path]()) is None


@pytest.mark.parametrize(
    ("target", "link", "does"),
    [
        ("a/b", "", False),
        ("a/../b", "", True),
        ("../b", "a/link", False),
        ("../../b", "a/link", True),
        ("/b", "a/link", True),
        ("c:\\b", "", True),
        ("..", "", True),
        ("..b", "", False),
    ],
)
def test_a_path_that_leaves_is_told_from_one_that_comes_back(target: str, link: str, does: bool):
    assert leaves(target, link) is does


def test_the_block_sizes_are_those_of_the_gguf_package():
    assert {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()} == BLOCKS


@pytest.mark.parametrize("kind", [Kind.GZIP, Kind.BZIP2, Kind.XZ, Kind.ZLIB])
@pytest.mark.parametrize("content", [b"", b"x" * 3_000_000, random.Random(1).randbytes(300_000)])
def test_what_is_compressed_unfolds_to_what_it_was_and_no_more_is_read_than_that_takes(kind: Kind, content: bytes):
    compress = {Kind.GZIP: gzip.compress, Kind.BZIP2: bz2.compress, Kind.XZ: lzma.compress, Kind.ZLIB: zlib.compress}
    file = io.BytesIO(compress[kind](content) + bytes(1000) * (kind is not Kind.ZLIB))
    assert b"".join(unfold(file, kind, 1 << 30)) == content
    file = io.BytesIO(compress[kind](bytes(len(content) * 4)))
    assert sum(map(len, unfold(file, kind, len(content)))) == len(content)
    assert file.tell() <= 64 * 1024


@pytest.mark.parametrize("cut", range(0, 80, 7))
def test_a_gguf_file_that_breaks_off_is_refused(cut: int):
    content = gguf()[:cut]
    with pytest.raises(InvalidArgument):
        check_gguf("m.gguf", io.BytesIO(content), len(content))


def test_every_prefix_of_the_corpus_is_looked_at_without_an_error(tmp_path: Path):
    for sample in CORPUS.values():
        for size in (1, 30, 100, len(sample.content) // 2):
            list(find_dangers(io.BytesIO(sample.content[:size])))
