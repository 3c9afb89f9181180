import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelzoo.errors import InvalidArgument
from modelzoo.safetensors_header import DTYPE_BITS, HEADER_BYTES_MAX, Header, parse_header, read_header


def pack(header: str | bytes, data_size: int = 0) -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(text)) + text + bytes(data_size)


def parse(file: bytes) -> Header:
    return parse_header(file, len(file))


def package_accepts(file: bytes) -> bool:
    try:
        safetensors.deserialize(file)
    except safetensors.SafetensorError:
        return False
    return True


def info(dtype: str = "F32", shape: object = (1,), begin: object = 0, end: object = 4) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


A = json.dumps(info())


def test_a_file_of_the_package_is_read_with_every_place_and_the_metadata(tmp_path: Path):
    tensors = {"b": torch.arange(6, dtype=torch.int64).reshape(2, 3), "a": torch.zeros(3, dtype=torch.bfloat16)}
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors", {"format": "pt", "é": "\n\u2028"})
    file = (tmp_path / "x.safetensors").read_bytes()
    header = parse(file)
    assert header.metadata == {"format": "pt", "é": "\n\u2028"}
    assert header.size + header.data_size == len(file)
    by_name = {tensor.name: tensor for tensor in header.tensors}
    assert (by_name["b"].dtype, by_name["b"].shape) == ("I64", (2, 3))
    data = file[header.size + by_name["b"].begin : header.size + by_name["b"].end]
    assert np.array_equal(np.frombuffer(data, np.int64).reshape(2, 3), tensors["b"].numpy())


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_every_dtype_has_the_size_that_the_package_gives_it(dtype: str):
    file = pack(json.dumps({"t": info(dtype, [3, 8], 0, 3 * DTYPE_BITS[dtype])}), 3 * DTYPE_BITS[dtype])
    assert package_accepts(file)
    assert parse(file).tensors[0].size_bytes == 3 * DTYPE_BITS[dtype]


ACCEPTED = {
    "no tensors": pack("{}"),
    "padding by spaces": pack("{}      "),
    "spaces between tokens": pack(' { "a" : {"shape":[ 1 ,1],\n"dtype":"F32", "data_offsets":[0,4]} }'[1:], 4),
    "a scalar": pack(json.dumps({"a": info(shape=[])}), 4),
    "tensors without bytes": pack(json.dumps({"z": info(shape=[0, 7], begin=4), "a": info()}), 4),
    "names of any text": pack(json.dumps({"": info("U8", [1], 0, 1), "\0\n\U0001f600": info("U8", [1], 1, 2)}), 2),
    "zero before huge": pack(json.dumps({"a": info("F32", [0, 2**63, 2**63], 0, 0)})),
    "header order other than data order": pack(json.dumps({"a": info("U8", [1], 1, 2), "b": info("U8", [1], 0, 1)}), 2),
    "empty metadata": pack('{"__metadata__":{}}'),
    "64 dimensions": pack(json.dumps({"a": info(shape=[1] * 64)}), 4),
}  # fmt: skip


@pytest.mark.parametrize("file", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_an_unusual_but_valid_file_is_accepted_as_by_the_package(file: bytes):
    assert package_accepts(file)
    parse(file)


LIES = {
    "empty file": b"",
    "7 bytes": b"\x02\0\0\0\0\0\0",
    "header of no bytes": pack(""),
    "header past the end": struct.pack("<Q", 3) + b"{}",
    "header of 2**64-1 bytes": struct.pack("<Q", 2**64 - 1) + b"{}",
    "header over 100 MB": struct.pack("<Q", HEADER_BYTES_MAX + 1) + b"{}",
    "not JSON": pack("garbage"),
    "JSON cut short": pack('{"a":{"dtype"'),
    "array": pack("[]"),
    "nested": pack("[" * 100_000),
    "nested in a shape": pack('{"a":{"dtype":"F32","shape":' + "[" * 100_000, 4),
    "more after the object": pack("{}{}"),
    "comma at the end": pack('{"a":' + A + ",}", 4),
    "not UTF-8": pack(b'{"\xff":' + A.encode() + b"}", 4),
    "byte order mark": pack(b"\xef\xbb\xbf{}"),
    "UTF-16": pack("{}".encode("utf-16-le")),
    "raw control character": pack('{"\x01":' + A + "}", 4),
    "lone surrogate": pack('{"\\ud800":' + A + "}", 4),
    "unknown escape": pack('{"\\x41":' + A + "}", 4),
    "hole before the first": pack(json.dumps({"a": info("U8", [1], 1, 2)}), 2),
    "hole between": pack(json.dumps({"a": info("U8", [1], 0, 1), "b": info("U8", [1], 2, 3)}), 3),
    "overlap": pack(json.dumps({"a": info(), "b": info(begin=2, end=6)}), 6),
    "two tensors on the same bytes": pack(json.dumps({"a": info(), "b": info()}), 4),
    "past the end": pack(json.dumps({"a": info()}), 3),
    "data that no tensor covers": pack(json.dumps({"a": info()}), 5),
    "data without tensors": pack("{}", 1),
    "end before begin": pack(json.dumps({"a": info("U8", [0], 4, 0)}), 4),
    "empty tensor inside another": pack(json.dumps({"a": info(), "b": info("U8", [0], 2, 2)}), 4),
    "dtype unknown": pack(json.dumps({"a": info("F33")}), 4),
    "dtype in lower case": pack(json.dumps({"a": info("f32")}), 4),
    "dtype no string": pack('{"a":{"dtype":32,"shape":[1],"data_offsets":[0,4]}}', 4),
    "dtype of another size": pack(json.dumps({"a": info("F64")}), 4),
    "shape of another size": pack(json.dumps({"a": info(shape=[2])}), 4),
    "bits that end inside a byte": pack(json.dumps({"a": info("F4", [3], 0, 1)}), 1),
    "negative dimension": pack(json.dumps({"a": info(shape=[-1])}), 4),
    "two negative dimensions": pack(json.dumps({"a": info(shape=[-1, -1])}), 4),
    "minus zero": pack('{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}'),
    "fractional dimension": pack(json.dumps({"a": info(shape=[1.0])}), 4),
    "exponent": pack('{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}', 4),
    "true as a dimension": pack(json.dumps({"a": info(shape=[True])}), 4),
    "null as a dimension": pack(json.dumps({"a": info(shape=[None])}), 4),
    "NaN": pack('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', 4),
    "leading zero": pack('{"a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}}', 4),
    "dimension of 2**64": pack(json.dumps({"a": info(shape=[2**64])}), 4),
    "a million digits": pack('{"a":{"dtype":"F32","shape":[' + "9" * 1_000_000 + '],"data_offsets":[0,4]}}', 4),
    "product over 64 bits": pack(json.dumps({"a": info(shape=[2**33, 2**33])}), 4),
    "product that wraps to the right size": pack(json.dumps({"a": info("U8", [2**32 + 1, 2**32 - 1, 2**63], 0, 0)})),
    "overflow before a zero": pack(json.dumps({"a": info(shape=[2**63, 2**63, 0], end=0)})),
    "one offset": pack('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}}', 4),
    "three offsets": pack('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}', 4),
    "negative offset": pack(json.dumps({"a": info(begin=-4, end=0)}), 4),
    "offset as text": pack(json.dumps({"a": info(begin="0")}), 4),
    "no dtype": pack('{"a":{"shape":[1],"data_offsets":[0,4]}}', 4),
    "no shape": pack('{"a":{"dtype":"F32","data_offsets":[0,4]}}', 4),
    "no offsets": pack('{"a":{"dtype":"F32","shape":[1]}}', 4),
    "tensor is null": pack('{"a":null}'),
    "tensor is a number": pack('{"a":4}', 4),
    "metadata of numbers": pack('{"__metadata__":{"a":1}}'),
    "metadata nested": pack('{"__metadata__":{"a":{"b":"c"}}}'),
    "metadata is a list": pack('{"__metadata__":["a"]}'),
}


@pytest.mark.parametrize("file", LIES.values(), ids=LIES.keys())
def test_a_header_that_lies_is_refused_as_by_the_package(file: bytes):
    with pytest.raises(InvalidArgument) as caught:
        parse(file)
    assert caught.value.reason == "SAFETENSORS_INVALID"
    assert caught.value.message.isascii()
    assert len(caught.value.message) < 600


def test_the_package_refuses_what_is_listed_as_a_lie():
    assert [name for name, file in LIES.items() if package_accepts(file)] == []


STRICTER = {
    "a name twice": pack('{"a":' + A + ',"a":' + A + "}", 4),
    "a name twice, once escaped": pack('{"a":' + A + ',"\\u0061":' + A + "}", 4),
    "metadata twice": pack('{"__metadata__":{},"__metadata__":{}}'),
    "a metadata name twice": pack('{"__metadata__":{"a":"b","a":"c"}}'),
    "a member twice": pack('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
    "an unknown member": pack('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}}', 4),
    "a space before the object": pack(" {}"),
    "a line end after it": pack("{}\n"),
    "metadata null": pack('{"__metadata__":null}'),
    "a tensor as a list": pack('{"a":["F32",[1],[0,4]]}', 4),
    "a million dimensions": pack(json.dumps({"a": info(shape=[1] * 1_000_000)}), 4),
    "65 dimensions": pack(json.dumps({"a": info(shape=[1] * 65)}), 4),
}


@pytest.mark.parametrize("file", STRICTER.values(), ids=STRICTER.keys())
def test_what_the_format_forbids_is_refused_even_where_the_package_lets_it_pass(file: bytes):
    with pytest.raises(InvalidArgument):
        parse(file)


def test_the_message_names_the_tensor_and_the_place():
    with pytest.raises(InvalidArgument, match=r"'h\.0\.attn' leaves a hole before it: it begins at 8, not 4"):
        parse(pack(json.dumps({"wte": info(), "h.0.attn": info(begin=8, end=12)}), 12))


def test_only_the_header_is_read_from_a_file():
    file = io.BytesIO(pack(json.dumps({"a": info("U8", [10], 0, 10)}), 10))
    header = read_header(file, len(file.getvalue()))
    assert file.tell() == header.size


def test_a_header_of_a_ten_thousand_tensors_is_read():
    tensors = {f"t{i}": info("U8", [1], i, i + 1) for i in range(10_000)}
    assert len(parse(pack(json.dumps(tensors), 10_000)).tensors) == 10_000


PIECES = [
    *['"a"', '"dtype"', '"shape"', '"data_offsets"', '"F32"', '"U8"', '"F4"', '"__metadata__"', '"\\ud800"'],
    *['"\\u0061"', "[0 4]", "[0,]", "[,1]", "[ 1 ]"],
    *["{", "}", "[", "]", ":", ",", " ", "\n", "0", "1", "4", "-1", "-0", "1.0", "1e1", "01", "true", "null", "NaN"],
    *[str(2**64 - 1), str(2**64), str(2**63), A, "[0,4]", "[4,8]", "[1]", "[]"],
]  # fmt: skip
VALID = json.dumps(
    {"__metadata__": {"k": "v"}, "a": info(), "b": info("U8", [2, 2], 4, 8), "c": info("F16", [0], 4, 4)}
)


@given(st.data())
def test_nothing_is_accepted_that_the_package_refuses(data: st.DataObject):
    text = VALID
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.sampled_from(["", *PIECES])) + text[at + data.draw(st.integers(0, 6)) :]
    file = pack(text, data.draw(st.sampled_from([8, 8, 8, 4, 9])))
    try:
        parse(file)
    except InvalidArgument:
        return
    assert package_accepts(file)


shapes = st.lists(st.integers(0, 3), max_size=4)


@given(st.lists(st.tuples(st.text(max_size=6), st.sampled_from(sorted(DTYPE_BITS)), shapes), max_size=6), st.randoms())
def test_every_valid_file_is_accepted(described: list[tuple[str, str, list[int]]], random):
    tensors: dict[str, object] = {}
    at = 0
    for name, dtype, shape in described:
        bits = int(np.prod(shape)) * DTYPE_BITS[dtype]
        if bits % 8 or name == "__metadata__":
            continue
        if name not in tensors:
            tensors[name] = info(dtype, shape, at, at + bits // 8)
            at += bits // 8
    items = list(tensors.items())
    random.shuffle(items)
    file = pack(json.dumps(dict(items), ensure_ascii=random.random() < 0.5) + " " * random.randrange(9), at)
    assert package_accepts(file)
    assert len(parse(file).tensors) == len(items)
