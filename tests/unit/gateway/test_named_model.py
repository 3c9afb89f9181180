import gzip

import pytest
from google.api import annotations_pb2
from hypothesis import given
from hypothesis import strategies as st

from zoo.inference.v1 import inference_service_pb2 as pb
from zoo_gateway.named_model import model_in_path, named_model


def framed(message: bytes, *, compressed: bool = False) -> bytes:
    return bytes([compressed]) + len(message).to_bytes(4, "big") + message


REQUEST = pb.EmbedRequest(model="team/model@live", texts=["x" * 1000]).SerializeToString()


def test_model_of_a_request_is_read():
    assert named_model(framed(REQUEST)) == "team/model@live"


def test_model_of_a_compressed_request_is_read():
    assert named_model(framed(gzip.compress(REQUEST), compressed=True)) == "team/model@live"


def test_model_after_other_fields_is_found():
    text, model = pb.EmbedRequest(texts=["x"]), pb.EmbedRequest(model="m")
    assert named_model(framed(text.SerializeToString() + model.SerializeToString())) == "m"


def test_request_without_a_model_names_none():
    assert named_model(framed(pb.EmbedRequest(texts=["x"]).SerializeToString())) == ""


@pytest.mark.parametrize("length", [0, 4, 5, 8, 20])
def test_beginning_of_a_request_asks_for_more(length):
    assert named_model(framed(REQUEST)[:length]) is None


def test_name_is_known_before_the_whole_message_is_there():
    assert named_model(framed(REQUEST)[:100]) == "team/model@live"


@given(st.binary(max_size=64))
def test_any_bytes_give_an_answer(body):
    assert named_model(framed(body)) is not None
    named_model(body)


def test_compressed_bomb_is_inflated_no_further_than_the_limit():
    bomb = gzip.compress(pb.EmbedRequest(texts=["x" * (64 << 20)]).SerializeToString())
    assert named_model(framed(bomb, compressed=True)) == ""


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/models/zoo/resnet18:classifyImage", "zoo/resnet18"),
        ("/v1/models/zoo/resnet18@3:classifyImage?top_k=3", "zoo/resnet18@3"),
        ("/v1/models/zoo%2Fwhisper%40prod:transcribe", "zoo/whisper@prod"),
        (f"/v1/models/a/b@sha256:{'0' * 64}:detectObjects", f"a/b@sha256:{'0' * 64}"),
        ("/v1/images:classify", None),
        ("/v1/models/zoo/resnet18", None),
    ],
)
def test_model_of_a_rest_path_is_read(path, model):
    assert model_in_path(path) == model


def test_every_rest_binding_that_names_the_model_in_its_path_is_understood():
    methods = pb.DESCRIPTOR.services_by_name["InferenceService"].methods
    rules = [method.GetOptions().Extensions[annotations_pb2.http] for method in methods]
    paths = [
        binding.post for rule in rules for binding in (rule, *rule.additional_bindings) if "{model" in binding.post
    ]
    assert len(paths) == 3
    assert {model_in_path(path.replace("{model=**}", "a/b@1")) for path in paths} == {"a/b@1"}
