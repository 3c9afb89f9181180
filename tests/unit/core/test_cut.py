import hashlib
import json
import os
import struct
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from modelzoo.cut import cut_bytes, cut_safetensors, scan_file
from modelzoo.errors import InvalidArgument
from modelzoo.manifest import File
from modelzoo.safetensors_header import Header, Tensor

KIB, MIB = 1024, 1024 * 1024


def header_of(*sizes: int, size: int = 1000) -> Header:
    tensors: list[Tensor] = []
    at = 0
    for index, bytes_ in enumerate(sizes):
        tensors.append(Tensor(f"t{index}", "U8", (bytes_,), at, at + bytes_))
        at += bytes_
    return Header(size, tuple(tensors))


def lengths(header: Header) -> list[int]:
    return [segment.length for segment in cut_safetensors(header)]


def safetensors_file(tensors: dict[str, bytes]) -> bytes:
    header: dict[str, object] = {}
    at = 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


def scan(folder: Path, content: bytes, name: str = "model.safetensors") -> File:
    (folder / "content").write_bytes(content)
    return scan_file(folder / "content", name)


sizes = st.one_of(
    st.integers(0, 100 * KIB), st.integers(MIB - 2, MIB + 2), st.integers(0, 70 * MIB), st.just(32 * MIB), st.just(0)
)


@given(st.lists(sizes, max_size=120), st.integers(8, 100 * MIB))
def test_segments_tile_the_file_and_none_is_empty_or_over_32_mib(tensor_sizes: list[int], header_size: int):
    header = header_of(*tensor_sizes, size=header_size)
    at = 0
    for segment in cut_safetensors(header):
        assert segment.offset == at
        assert 1 <= segment.length <= 32 * MIB
        at = segment.end
    assert at == header.size + header.data_size


@given(st.lists(sizes, max_size=60))
def test_a_large_tensor_begins_and_ends_at_blob_borders(tensor_sizes: list[int]):
    header = header_of(*tensor_sizes)
    segments = list(cut_safetensors(header))
    begins, ends = {s.offset for s in segments}, {s.end for s in segments}
    for tensor in header.tensors:
        if tensor.size_bytes >= MIB:
            assert header.size + tensor.begin in begins
            assert header.size + tensor.end in ends


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (header_of(), [1000]),
        (header_of(5, 6, 7), [1000, 18]),
        (header_of(MIB - 1, MIB, MIB - 1), [1000, MIB - 1, MIB, MIB - 1]),
        (header_of(MIB, MIB), [1000, MIB, MIB]),
        (header_of(0, MIB, 0, 5, 0), [1000, MIB, 5]),
        (header_of(32 * MIB, 32 * MIB + 1), [1000, 32 * MIB, 32 * MIB, 1]),
        (header_of(*[512 * KIB] * 65), [1000, 32 * MIB, 512 * KIB]),
        (header_of(*[MIB - 1] * 33), [1000, 32 * (MIB - 1), MIB - 1]),
        (header_of(3, size=33 * MIB), [32 * MIB, MIB, 3]),
    ],
)
def test_the_cut_of_small_large_and_long_tensors(header: Header, expected: list[int]):
    assert lengths(header) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(0, []), (1, [1]), (32 * MIB, [32 * MIB]), (64 * MIB + 1, [32 * MIB, 32 * MIB, 1])]
)
def test_any_other_file_is_cut_every_32_mib(size: int, expected: list[int]):
    assert [segment.length for segment in cut_bytes(size)] == expected


TENSORS = {"wte": os.urandom(3 * MIB), "bias": b"b" * 100, "norm": b"n" * 100, "head": os.urandom(MIB)}


def digests(file: File) -> list[str]:
    return [blob.digest for blob in file.blobs]


def test_a_changed_tensor_changes_its_own_blob_only(tmp_path: Path):
    before = digests(scan(tmp_path, safetensors_file(TENSORS)))
    after = digests(scan(tmp_path, safetensors_file({**TENSORS, "head": os.urandom(MIB)})))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, True, False]


def test_a_changed_small_tensor_changes_its_run_only(tmp_path: Path):
    before = digests(scan(tmp_path, safetensors_file(TENSORS)))
    after = digests(scan(tmp_path, safetensors_file({**TENSORS, "bias": b"c" * 100})))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, True]


def test_a_renamed_tensor_changes_the_header_blob_only(tmp_path: Path):
    renamed = {f"model.{name}": data for name, data in TENSORS.items()}
    before = digests(scan(tmp_path, safetensors_file(TENSORS)))
    after = digests(scan(tmp_path, safetensors_file(renamed)))
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, True, True]


def test_large_tensors_in_another_order_keep_their_blobs(tmp_path: Path):
    before = scan(tmp_path, safetensors_file(TENSORS))
    after = scan(tmp_path, safetensors_file(dict(sorted(TENSORS.items()))))
    large = {blob.digest for blob in before.blobs if blob.size >= MIB}
    assert len(large) == 2
    assert large <= {blob.digest for blob in after.blobs}


@pytest.mark.parametrize("size", [0, 1, 4 * MIB, 4 * MIB + 1, 70 * MIB + 3])
def test_scanning_gives_the_hashes_of_the_whole_and_of_every_blob(tmp_path: Path, size: int):
    content = (os.urandom(MIB + 7) * (size // MIB + 1))[:size]
    done: list[int] = []
    (tmp_path / "data.bin").write_bytes(content)
    file = scan_file(tmp_path / "data.bin", "data.bin", done.append)
    assert (file.size, file.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert [b.digest for b in file.blobs] == [blake3(content[s.offset : s.end]).hexdigest() for s in cut_bytes(size)]
    assert sum(done) == size


def test_a_placed_blob_is_found_at_its_offset(tmp_path: Path):
    content = safetensors_file(TENSORS)
    for offset, blob in scan(tmp_path, content).placed_blobs():
        assert blake3(content[offset : offset + blob.size]).hexdigest() == blob.digest


def test_a_file_called_safetensors_that_is_none_is_refused_with_its_name(tmp_path: Path):
    for name in ("a/model.safetensors", "a/MODEL.SafeTensors"):
        with pytest.raises(InvalidArgument, match=r"(?i)a/model\.safetensors") as caught:
            scan(tmp_path, b"garbage" * 10, name)
        assert caught.value.reason == "SAFETENSORS_INVALID"


def test_a_fifo_a_directory_and_a_missing_file_are_refused_without_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    for source in (tmp_path / "fifo", tmp_path, tmp_path / "missing"):
        with pytest.raises(InvalidArgument) as caught:
            scan_file(source, "x")
        assert caught.value.reason == "LOCAL_PATH_INVALID"


@pytest.mark.parametrize("new_size", [3 * MIB, 9 * MIB])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, new_size: int):
    source = tmp_path / "growing"
    source.write_bytes(bytes(8 * MIB))
    with pytest.raises(InvalidArgument, match="while it was read"):
        scan_file(source, "x", lambda _: os.truncate(source, new_size))


def test_the_cut_of_a_known_file_never_changes():
    header = header_of(20 * MIB, 40 * MIB, *[600 * KIB] * 100, 10, MIB, 7, size=123_456)
    run = 54 * 600 * KIB
    assert lengths(header) == [123_456, 20 * MIB, 32 * MIB, 8 * MIB, run, 46 * 600 * KIB + 10, MIB, 7]
