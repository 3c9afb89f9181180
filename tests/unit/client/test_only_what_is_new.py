"""A copy of a version that was moved about sends only what is new in it, as far as the cut goes.

Sizes: of a tensor of 1 MiB and more nothing is sent again wherever it goes; smaller ones run together with their
neighbours, and are sent again with those when the run changes.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from modelzoo.client import Client
from modelzoo.cut import TENSOR_BYTES_MIN, scan_file
from modelzoo.manifest import Manifest

Tree = Callable[..., Path]
Tensors = dict[str, numpy.ndarray]
MIB = 1024 * 1024
HEADERS = 8192  # what the headers of a few shards take

LARGE = {f"layer.{n}": numpy.random.default_rng(n).integers(0, 255, 2 * MIB, "u1") for n in range(4)}
SMALL = {f"norm.{n}": numpy.random.default_rng(n).integers(0, 255, 1000, "u1") for n in range(4)}
BASE = {**LARGE, **SMALL}
RUN = 4 * 1000


@pytest.fixture
def sends(standing: Client, tree: Tree, request: pytest.FixtureRequest) -> Callable[[dict[str, bytes]], int]:
    """Publishes BASE, then those files, in a namespace of the test's own, and gives the bytes that the latter sent."""
    namespace = request.node.name[:90].replace("_", "-")
    standing.create_namespace(namespace)
    standing.push(tree({"model.safetensors": save(BASE)}, "base"), f"{namespace}/base")

    def push(files: dict[str, bytes]) -> int:
        return standing.push(tree(files, "copy"), f"{namespace}/copy", bases=[f"{namespace}/base"]).bytes_sent

    return push


def test_a_renamed_file_sends_nothing(sends):
    assert sends({"weights/other-name.safetensors": save(BASE)}) == 0


def test_a_resharded_copy_sends_headers_and_the_runs_that_were_divided(sends):
    shards = [dict(list(BASE.items())[at : at + 3]) for at in range(0, len(BASE), 3)]
    files = {f"model-{n}.safetensors": save(shard) for n, shard in enumerate(shards)}
    assert sends({**files, "model.safetensors.index.json": b"{}"}) <= HEADERS + RUN


def test_a_fine_tuned_copy_sends_the_tensor_that_changed(sends):
    tuned = {**BASE, "layer.2": LARGE["layer.2"] ^ 1}
    assert 2 * MIB <= sends({"model.safetensors": save(tuned)}) <= 2 * MIB + HEADERS


def test_a_changed_small_tensor_sends_its_run(sends):
    tuned = {**BASE, "norm.2": SMALL["norm.2"] ^ 1}
    assert sends({"model.safetensors": save(tuned)}) == RUN


def test_a_merged_adapter_sends_what_it_was_merged_into(sends):
    merged = {**BASE, "layer.0": LARGE["layer.0"] ^ 1, "layer.3": LARGE["layer.3"] ^ 1}
    assert sends({"model.safetensors": save(merged), "config.json": b"{}"}) <= 4 * MIB + HEADERS


def test_renamed_tensors_send_the_header_alone_where_their_order_stays(sends):
    renamed = {f"model.{name}": tensor for name, tensor in BASE.items()}
    assert sends({"model.safetensors": save(renamed)}) <= HEADERS


def test_a_large_tensor_that_gets_another_name_and_place_is_not_sent(sends):
    moved = {**BASE, "zz": LARGE["layer.0"]}
    del moved["layer.0"]
    assert sends({"model.safetensors": save(moved)}) <= HEADERS


def test_a_quantised_copy_shares_nothing_and_says_so(sends):
    quantised = {name: tensor.astype("f2") for name, tensor in BASE.items()}
    assert sends({"model.safetensors": save(quantised)}) > 2 * sum(tensor.nbytes for tensor in BASE.values())


SIZES = st.lists(st.sampled_from([0, 1, 700, 40_000, MIB - 1, MIB, MIB + 1, 2 * MIB]), min_size=1, max_size=10)


@settings(max_examples=25, deadline=None)
@given(SIZES, st.data())
def test_however_tensors_are_dealt_to_shards_no_large_one_is_new(sizes: list[int], data: st.DataObject):
    tensors = {f"t{n}": numpy.random.default_rng(n).integers(0, 255, size, "u1") for n, size in enumerate(sizes)}
    dealt: dict[int, Tensors] = {}
    for name in data.draw(st.permutations(sorted(tensors))):
        dealt.setdefault(data.draw(st.integers(0, 3)), {})[name] = tensors[name]
    with tempfile.TemporaryDirectory() as folder:
        before = blobs_of(Path(folder), [tensors])
        after = blobs_of(Path(folder), dealt.values())
    new = sum(size for digest, size in after.items() if digest not in before)
    small = sum(tensor.nbytes for tensor in tensors.values() if tensor.nbytes < TENSOR_BYTES_MIN)
    assert new <= small + HEADERS


def blobs_of(folder: Path, shards: Iterator[Tensors] | list[Tensors]) -> dict[str, int]:
    files = []
    for number, shard in enumerate(shards):
        (folder / "shard").write_bytes(save(shard))
        files.append(scan_file(folder / "shard", f"{number}.safetensors"))
    return Manifest.of("opaque", files).unique_blobs()
