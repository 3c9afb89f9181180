"""Arrays of a CTranslate2 file, and how those of a Whisper become transformers'."""

import struct
from pathlib import Path

import numpy as np
import pytest

from modelzoo.errors import FailedPrecondition
from zoo_starters.ctranslate2 import Array, Ctranslate2Model, read_model
from zoo_starters.whisper_weights import to_state_dict

TYPES = {"float32": 0, "int8": 1, "float16": 4}


def string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def written(arrays: dict[str, Array], aliases: dict[str, str], version: int = 6) -> bytes:
    parts = [struct.pack("<I", version), string("WhisperSpec"), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        parts += [string(name), shape, struct.pack("<BI", TYPES[array.dtype.name], array.nbytes), array.tobytes()]
    parts += [struct.pack("<I", len(aliases)), *(string(alias) + string(name) for alias, name in aliases.items())]
    return b"".join(parts)


ARRAYS: dict[str, Array] = {"a/weight": np.arange(6, dtype=np.float16).reshape(2, 3), "heads": np.array(4, np.int8)}


def test_arrays_come_back_with_their_shapes_and_types_and_under_their_aliases(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(written(ARRAYS, {"b/weight": "a/weight"}))
    model = read_model(tmp_path / "model.bin")
    assert model.kind == "WhisperSpec"
    assert {name: (array.shape, array.dtype.name) for name, array in model.variables.items()} == {
        "a/weight": ((2, 3), "float16"),
        "heads": ((), "int8"),
        "b/weight": ((2, 3), "float16"),
    }
    assert model.variables["b/weight"] is model.variables["a/weight"]
    np.testing.assert_array_equal(model.variables["a/weight"], ARRAYS["a/weight"])


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = written(ARRAYS, {"b/weight": "a/weight"})
    for length in range(len(whole)):
        (tmp_path / "model.bin").write_bytes(whole[:length])
        with pytest.raises(FailedPrecondition, match="in the middle of a value"):
            read_model(tmp_path / "model.bin")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (written(ARRAYS, {}, version=5), "layout 5"),
        (written(ARRAYS, {"b": "missing"}), "another name of 'missing'"),
        (written(ARRAYS, {}) + b"more", "goes on for 4 bytes"),
        (written(ARRAYS, {}).replace(struct.pack("<B2I", 2, 2, 3), struct.pack("<B2I", 2, 2, 4)), "12 bytes where"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(FailedPrecondition, match=complaint):
        read_model(tmp_path / "model.bin")


def test_stacked_projections_are_cut_apart_and_the_keys_lose_their_bias() -> None:
    weight, bias = np.arange(12, dtype=np.float16).reshape(6, 2), np.arange(6, dtype=np.float16)
    prefix = "encoder/layer_3/self_attention/linear_0"
    tensors = to_state_dict(Ctranslate2Model("WhisperSpec", {f"{prefix}/weight": weight, f"{prefix}/bias": bias}))
    attention = "model.encoder.layers.3.self_attn"
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        f"{attention}.q_proj.weight": [[0, 1], [2, 3]],
        f"{attention}.k_proj.weight": [[4, 5], [6, 7]],
        f"{attention}.v_proj.weight": [[8, 9], [10, 11]],
        f"{attention}.q_proj.bias": [0, 1],
        f"{attention}.v_proj.bias": [4, 5],
    }
    assert {tensor.dtype.name for tensor in tensors.values()} == {"float32"}


@pytest.mark.parametrize(
    ("kind", "name", "complaint"),
    [
        ("TransformerSpec", "encoder/conv1/weight", "not a Whisper"),
        ("WhisperSpec", "encoder/layer_0/ffn/linear_0/weight_scale", "quantised"),
        ("WhisperSpec", "encoder/layer_0/ffn/linear_9/weight", "no part of a Whisper"),
    ],
)
def test_what_is_no_plain_whisper_is_refused(kind: str, name: str, complaint: str) -> None:
    with pytest.raises(FailedPrecondition, match=complaint):
        to_state_dict(Ctranslate2Model(kind, {name: np.zeros(2, np.float32)}))
