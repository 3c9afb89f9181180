"""Bad input through the gateway, by gRPC and by REST alike: the right code, a reason, a sentence that helps."""

import base64
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
import rfc8785
from blake3 import blake3

from modelzoo.errors import from_rpc_error
from support.cluster import Cluster
from support.refusals import TIMEOUT_S, Case, assert_refused
from support.waiting import eventually
from zoo.artifact.v1 import artifact_service_pb2 as artifact
from zoo.artifact.v1 import artifact_service_pb2_grpc as artifact_rpc
from zoo.inference.v1 import inference_service_pb2 as inference

INFERENCE = "zoo.inference.v1.InferenceService"
CATALOG = "zoo.catalog.v1.CatalogService"
ARTIFACT = "zoo.artifact.v1.ArtifactService"
CHAT = "zoo/smollm2-135m-instruct"
SENTENCES = "zoo/all-minilm-l6-v2"
ABSENT = "0" * 64


def generates(input: dict[str, Any], reason: str, says: str = "", model: str = CHAT) -> Case:
    request = {"model": model, "input": input}
    return Case(f"{INFERENCE}/Generate", ("POST", "/v1/generate"), request, "INVALID_ARGUMENT", reason, says)


def embeds(texts: list[str], code: str, reason: str, model: str = SENTENCES, says: str = "") -> Case:
    request = {"model": model, "texts": texts}
    return Case(f"{INFERENCE}/Embed", ("POST", "/v1/embed"), request, code, reason, says)


def finds(reference: str, reason: str) -> Case:
    path = f"/v1/versions/{reference}"
    return Case(f"{CATALOG}/GetVersion", ("GET", path), {"reference": reference}, "NOT_FOUND", reason)


CASES = {
    "malformed reference": generates({"prompt": "a"}, "REFERENCE_INVALID", model="../../etc/passwd"),
    "unknown model": finds("zoo/none", "MODEL_NOT_FOUND"),
    "unknown version": finds(f"{SENTENCES}@99", "VERSION_NOT_FOUND"),
    "unknown alias": finds(f"{SENTENCES}@nobody", "ALIAS_NOT_FOUND"),
    "unknown digest": finds(f"{SENTENCES}@sha256:{ABSENT}", "VERSION_NOT_FOUND"),
    "unknown model to run": embeds(["a"], "NOT_FOUND", "MODEL_NOT_FOUND", model="zoo/none"),
    "another task": embeds(["a"], "FAILED_PRECONDITION", "TASK_MISMATCH", model=CHAT, says="Generate"),
    "empty prompt": generates({"prompt": ""}, "INPUT_EMPTY"),
    "blank text": embeds([" \n"], "INVALID_ARGUMENT", "INPUT_EMPTY"),
    "prompt over the context": generates(
        {"prompt": "word " * 9000},
        "CONTEXT_EXCEEDED",
        "has 9031 tokens, which leaves no room for an answer in the model's context of 8192",
    ),
    "text over the context": embeds(
        ["word " * 900], "INVALID_ARGUMENT", "CONTEXT_EXCEEDED", says="902 tokens and the model reads 256"
    ),
    "more tokens than the context leaves": generates({"prompt": "a", "max_tokens": 8192}, "CONTEXT_EXCEEDED"),
    "NUL": generates({"prompt": "a\0b"}, "TEXT_INVALID"),
    "temperature": generates({"prompt": "a", "sampling": {"temperature": 2.5}}, "FIELD_INVALID", "temperature"),
    "negative temperature": generates({"prompt": "a", "sampling": {"temperature": -1}}, "FIELD_INVALID"),
    "NaN": generates({"prompt": "a", "sampling": {"temperature": "NaN"}}, "FIELD_INVALID"),
    "top_p": generates({"prompt": "a", "sampling": {"top_p": 1.5}}, "FIELD_INVALID", "top_p"),
    "a thousand million tokens": generates({"prompt": "a", "max_tokens": 1_000_000_000}, "FIELD_INVALID"),
    "no tokens": generates({"prompt": "a", "max_tokens": 0}, "FIELD_INVALID"),
    "no input": generates({}, "INPUT_EMPTY"),
    "pages": Case(
        f"{CATALOG}/ListModels",
        ("GET", "/v1/models?page_token=abc"),
        {"page_token": "abc"},
        "INVALID_ARGUMENT",
        "PAGE_TOKEN_INVALID",
    ),
}


def header(content: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(begin: int, end: int, dtype: str = "F32", shape: int = 2) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [shape], "data_offsets": [begin, end]}


LYING_HEADERS = {
    "overlap": header({"a": tensor(0, 8), "b": tensor(4, 12)}, b"\0" * 12),
    "hole": header({"a": tensor(0, 8), "b": tensor(12, 20)}, b"\0" * 20),
    "past the end": header({"a": tensor(0, 800, shape=200)}, b"\0" * 8),
    "wrong dtype": header({"a": tensor(0, 8, dtype="F77")}, b"\0" * 8),
    "wrong size": header({"a": tensor(0, 4)}, b"\0" * 4),
    "not JSON": header(b"hello"),
    "over the limit": struct.pack("<Q", 1 << 40) + b"{}",
    "too short": b"abc",
}
BAD_PATHS = {
    "parent": ["../a"],
    "absolute": ["/a"],
    "NUL": ["a\0b"],
    "backslash": ["a\\b"],
    "twice": ["a", "a"],
    "case": ["A", "a"],
}


PICKLE = b"\x80\x04\x95\x11\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94."


def zipped(content: bytes) -> bytes:
    """As torch.save writes it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return packed.getvalue()


PICKLES = {"notes.txt": PICKLE, "weights.pth": zipped(PICKLE), "tokenizer.json": zipped(PICKLE)}


def file(path: str, content: bytes) -> dict[str, Any]:
    blob = {"digest": blake3(content).hexdigest(), "size": len(content)}
    return {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "blobs": [blob]}


def puts(files: list[dict[str, Any]], code: str, reason: str, says: str = "") -> Case:
    manifest = rfc8785.dumps({"schema": "manifest/1", "format": "opaque", "cut": "tensor/1", "files": files})
    request = {"namespace": "zoo", "manifest": base64.b64encode(manifest).decode()}
    return Case(f"{ARTIFACT}/PutManifest", ("POST", "/v1/namespaces/zoo/manifests"), request, code, reason, says)


@pytest.fixture
def stored(cluster: Cluster) -> Iterator[Any]:
    """Stores content as one blob."""
    with grpc.insecure_channel(cluster.address) as channel:
        stub = artifact_rpc.ArtifactServiceStub(channel)

        def store(content: bytes, claimed: str = "") -> None:
            digest = claimed or blake3(content).hexdigest()
            requests = [
                artifact.WriteBlobsRequest(header=artifact.WriteBlobsHeader(namespace="zoo")),
                artifact.WriteBlobsRequest(blob=artifact.BlobStart(digest=digest, size_bytes=len(content))),
                artifact.WriteBlobsRequest(chunk=content),
            ]
            metadata = (("authorization", f"Bearer {cluster.admin_key}"),)
            list(stub.WriteBlobs(iter(requests), metadata=metadata, timeout=TIMEOUT_S))

        yield store


@pytest.mark.parametrize("name", CASES)
def test_a_bad_request_is_refused_with_its_reason(starters: Cluster, name: str) -> None:
    assert_refused(starters, CASES[name], starters.admin_key)


@pytest.mark.parametrize("name", LYING_HEADERS)
def test_a_safetensors_header_that_lies_is_refused(cluster: Cluster, stored: Any, name: str) -> None:
    content = LYING_HEADERS[name]
    stored(content)
    case = puts([file("model.safetensors", content)], "INVALID_ARGUMENT", "SAFETENSORS_INVALID")
    assert_refused(cluster, case, cluster.admin_key)


@pytest.mark.parametrize("name", BAD_PATHS)
def test_a_bad_path_is_refused(cluster: Cluster, stored: Any, name: str) -> None:
    stored(b"hello")
    reason = {"twice": "PATH_DUPLICATE", "case": "PATH_DUPLICATE"}.get(name, "PATH_INVALID")
    # JSON writes these two with an escape, which the canonical form of a safe path never has.
    reason = {"NUL": "MANIFEST_INVALID", "backslash": "MANIFEST_INVALID"}.get(name, reason)
    files = [file(path, b"hello") for path in BAD_PATHS[name]]
    assert_refused(cluster, puts(files, "INVALID_ARGUMENT", reason), cluster.admin_key)


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_is_refused_under_any_name(cluster: Cluster, stored: Any, name: str) -> None:
    stored(PICKLES[name])
    case = puts([file(name, PICKLES[name])], "INVALID_ARGUMENT", "PICKLE_REFUSED", name)
    assert_refused(cluster, case, cluster.admin_key)


def test_a_manifest_of_absent_blobs_is_refused(cluster: Cluster) -> None:
    case = puts([file("a", b"never sent")], "FAILED_PRECONDITION", "BLOBS_MISSING")
    assert_refused(cluster, case, cluster.admin_key)


def test_a_blob_of_another_digest_is_refused(stored: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        stored(b"hello", claimed=blake3(b"other").hexdigest())
    error = from_rpc_error(raised.value)
    assert (error.code.name, error.reason) == ("INVALID_ARGUMENT", "BLOB_DIGEST_MISMATCH")


def test_a_blob_of_another_digest_is_refused_by_rest(cluster: Cluster) -> None:
    messages = [
        {"header": {"namespace": "zoo"}},
        {"blob": {"digest": blake3(b"other").hexdigest(), "size_bytes": 5}},
        {"chunk": base64.b64encode(b"hello").decode()},
    ]
    headers = {"authorization": f"Bearer {cluster.admin_key}"}
    answer = httpx.post(f"{cluster.url}/v1/blobs:write", json=messages, headers=headers, timeout=TIMEOUT_S)
    assert answer.status_code == 400, answer.text
    assert "BLOB_DIGEST_MISMATCH" in answer.text


def test_too_weak_a_key_is_refused(cluster: Cluster) -> None:
    request = {"model": {"name": "zoo/not-to-be"}}
    case = Case(f"{CATALOG}/CreateModel", ("POST", "/v1/models"), request, "PERMISSION_DENIED", "ROLE_MISSING")
    assert_refused(cluster, case, cluster.key("test:viewer", "zoo", "viewer"))


def test_a_key_of_another_namespace_finds_nothing(starters: Cluster) -> None:
    case = finds(SENTENCES, "MODEL_NOT_FOUND")
    assert_refused(starters, case, starters.key("test:stranger", "elsewhere", "admin"))


def test_lone_surrogates_are_refused(starters: Cluster) -> None:
    body = b'{"model": "zoo/all-minilm-l6-v2", "texts": ["\\ud800"]}'
    headers = {"authorization": f"Bearer {starters.admin_key}", "content-type": "application/json"}
    answer = httpx.post(f"{starters.url}/v1/embed", content=body, headers=headers, timeout=TIMEOUT_S)
    assert answer.status_code == 400, answer.text
    assert "FIELD_INVALID" in answer.text
    raw = inference.EmbedRequest(model=SENTENCES, texts=["XXX"]).SerializeToString().replace(b"XXX", b"\xed\xa0\x80")
    with grpc.insecure_channel(starters.address) as channel:
        stub: Any = channel.unary_unary(f"/{INFERENCE}/Embed", bytes, bytes)
        with pytest.raises(grpc.RpcError) as raised:
            stub(raw, metadata=[("authorization", headers["authorization"])], timeout=TIMEOUT_S)
    error = from_rpc_error(raised.value)
    assert (error.code.name, error.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")


async def test_bad_keys_are_told_apart(cluster: Cluster) -> None:
    lists = ("GET", "/v1/models")
    revoked = cluster.key("test:revoked", "zoo", "viewer")
    with cluster.client() as client:
        name = next(key.name for key in client.access.keys() if key.subject == "test:revoked")  # noqa: SIM118
        client.access.revoke_key(name)

    async def is_refused() -> bool:
        answer = httpx.get(f"{cluster.url}/v1/principal", headers={"authorization": f"Bearer {revoked}"})
        return answer.status_code == 401

    # The gateway learns of it by its watch.
    await eventually(is_refused)
    for key, reason in (
        ("", "CREDENTIAL_MISSING"),
        ("hello", "CREDENTIAL_INVALID"),
        (f"zoo_{'0' * 16}_{'a' * 43}", "CREDENTIAL_INVALID"),
        (revoked, "CREDENTIAL_REVOKED"),
    ):
        assert_refused(cluster, Case(f"{CATALOG}/ListModels", lists, {}, "UNAUTHENTICATED", reason), key)
