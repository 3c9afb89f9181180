"""Single tensors of published versions: by name, by slice, and for no more bytes than that takes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from safetensors.torch import save as save_torch

import modelzoo
from modelzoo.client import Client
from modelzoo.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from modelzoo.records import TensorInfo
from modelzoo.tensor_slice import part_of
from support.front_door import FrontDoor
from support.zoo_in_process import KEYS

Tree = Callable[..., Path]
MIB = 1024 * 1024
SLACK = 8192  # headers of messages

ROWS = numpy.arange(5 * MIB // 4, dtype="f4").reshape(-1, 1024)  # 5 MiB, a blob of its own
SMALL = {f"norm.{n}": numpy.full((16,), n, "f4") for n in range(4)}


@pytest.fixture
def door(standing_door: FrontDoor) -> FrontDoor:
    return standing_door


@pytest.fixture
def client(standing: Client) -> Client:
    return standing


@pytest.fixture
def model(client: Client, tree: Tree) -> Client:
    """A client of a zoo with `team/m`: a large tensor, and small ones before and behind it."""
    client.push(tree({"model.safetensors": save({"rows": ROWS, **SMALL}), "config.json": b"{}"}), "team/tensors")
    return client


def test_infos_say_where_every_tensor_lies(model: Client):
    infos = {info.name: info for info in model.tensor_infos("team/tensors")}
    assert list(infos) == ["norm.0", "norm.1", "norm.2", "norm.3", "rows"]
    assert (infos["rows"].dtype, infos["rows"].shape, infos["rows"].size_bytes) == ("F32", (1280, 1024), 5 * MIB)
    assert len(infos["rows"].blobs) == 1
    assert infos["norm.0"].blobs == infos["norm.3"].blobs != infos["rows"].blobs


def test_tensors_are_chosen_by_glob_and_nothing_else_is_read(model: Client, door: FrontDoor):
    found = model.tensors("team/tensors", "norm.[12]", into="numpy")
    assert list(found) == ["norm.1", "norm.2"]
    assert (found["norm.2"] == 2).all()
    assert door.bytes_down < SLACK


def test_a_slice_of_rows_costs_those_rows_alone(model: Client, door: FrontDoor):
    found = model.tensors("team/tensors", "rows", slice(100, 110), into="numpy")["rows"]
    assert numpy.array_equal(found, ROWS[100:110])
    assert door.bytes_down < 10 * 4096 + SLACK


def test_the_header_is_asked_for_once(model: Client, door: FrontDoor):
    model.tensor_infos("team/tensors")
    before = door.requests["ReadFile"]
    model.tensor_infos("team/tensors")
    assert door.requests["ReadFile"] == before


def test_what_the_node_cache_holds_is_not_asked_for(model: Client, door: FrontDoor):
    model.pull("team/tensors")
    before = door.requests["ReadFile"]
    assert numpy.array_equal(model.tensors("team/tensors", "rows", into="numpy")["rows"], ROWS)
    assert door.requests["ReadFile"] == before


def test_a_whole_tensor_that_arrives_damaged_is_refused(model: Client, door: FrontDoor):
    model.tensor_infos("team/tensors")
    door.damage = "ReadFile"
    with pytest.raises(DataLoss) as caught:
        model.tensors("team/tensors", "rows", into="numpy")
    assert caught.value.reason == "BLOB_CORRUPT"


def test_a_damaged_header_in_the_cache_is_asked_for_again(model: Client, tmp_path: Path):
    before = model.tensor_infos("team/tensors")
    (kept,) = (tmp_path / "cache" / "headers").iterdir()
    kept.write_bytes(kept.read_bytes().replace(b"1280", b"1281"))
    assert model.tensor_infos("team/tensors") == before


def test_shards_are_one_namespace(client: Client, tree: Tree):
    files = {
        "model-1.safetensors": save({"a": ROWS[:10], "both": ROWS[:1]}),
        "model-2.safetensors": save({"b": ROWS[10:20], "both": ROWS[1:2]}),
        "model.safetensors.index.json": json.dumps({"weight_map": {"both": "model-2.safetensors"}}).encode(),
        "vae/model.safetensors": save({"a": ROWS[:1]}),
    }
    client.push(tree(files), "team/shards")
    found = client.tensors("team/shards", into="numpy")
    assert list(found) == ["a", "b", "both", "model-1.safetensors:both", "vae/a"]
    assert numpy.array_equal(found["both"], ROWS[1:2])


def test_arrays_are_torchs_where_torch_is_and_keep_its_narrow_numbers(client: Client, tree: Tree, monkeypatch):
    given = {
        "brain": torch.arange(6).to(torch.bfloat16).reshape(2, 3),
        "eight": torch.arange(6).to(torch.float8_e4m3fn).reshape(3, 2),
        "none": torch.empty(0, 4),
        "one": torch.tensor(True),
    }
    client.push(tree({"model.safetensors": save_torch(given)}), "team/narrow")
    monkeypatch.setenv("ZOO_URL", client.url)
    monkeypatch.setenv("ZOO_KEY", next(iter(KEYS)))
    found = modelzoo.tensors("team/narrow")
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        name: (array.dtype, array.shape) for name, array in given.items()
    }
    assert torch.equal(found["brain"], given["brain"])
    assert torch.equal(found["eight"].view(torch.uint8), given["eight"].view(torch.uint8))


def test_numpy_is_not_given_numbers_that_it_does_not_have(client: Client, tree: Tree):
    client.push(tree({"model.safetensors": save_torch({"brain": torch.ones(2, dtype=torch.bfloat16)})}), "team/wide")
    with pytest.raises(FailedPrecondition, match="BF16") as caught:
        client.tensors("team/wide", into="numpy")
    assert caught.value.reason == "TENSOR_DTYPE_UNSUPPORTED"


def test_nothing_that_matches_is_said_with_a_name_that_would(model: Client):
    with pytest.raises(NotFound, match=r"it has 5, such as 'norm\.0'") as caught:
        model.tensors("team/tensors", "encoder.*")
    assert caught.value.reason == "TENSOR_NOT_FOUND"


@pytest.mark.parametrize("index", [5, -6, (0, 0, 0, 0), slice(None, None, -1)])
def test_an_index_that_does_not_fit_is_refused(index):
    with pytest.raises(InvalidArgument, match="does not fit") as caught:
        part_of(TensorInfo("x", "F32", (5, 4, 3), 240, "m.safetensors", 8, ("",)), index)
    assert caught.value.reason == "TENSOR_INDEX_INVALID"


def test_elements_that_share_a_byte_are_not_taken_apart():
    with pytest.raises(InvalidArgument, match="do not end at bytes"):
        part_of(TensorInfo("x", "F4", (4, 3), 6, "m.safetensors", 8, ("",)), slice(0, 1))


WHOLE = numpy.arange(6 * 5 * 4, dtype="<i2").reshape(6, 5, 4)
ENTRIES = st.one_of(
    st.integers(-4, 3),
    st.builds(slice, st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9), st.none() | st.integers(1, 3)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(ENTRIES, max_size=3).map(tuple))
def test_any_index_means_what_numpy_means_by_it(index):
    part = part_of(TensorInfo("x", "I16", WHOLE.shape, WHOLE.nbytes, "m.safetensors", 0, ("",)), index)
    data = WHOLE.tobytes()[part.offset : part.offset + part.length]
    found = (
        numpy.frombuffer(data, "<i2").reshape(part.shape)[part.rest]
        if part.rest
        else (numpy.frombuffer(data, "<i2").reshape(part.shape))
    )
    assert numpy.array_equal(found, WHOLE[index])
    assert found.shape == WHOLE[index].shape
