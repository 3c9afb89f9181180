"""The gateway as callers see it: the real Envoy and zoo_gateway, a real Redis, a toy catalog and fake workers."""

import asyncio
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelzoo.errors import from_rpc_error
from support.servers import redis_server
from support.toy_calls import EMBED, bearer, channel, embed, error_of, generation, known, rest
from support.toy_zoo import ToyZoo, toy_zoo
from support.waiting import eventually
from zoo.iam.v1 import iam_service_pb2, iam_service_pb2_grpc
from zoo.inference.v1 import generation_pb2
from zoo.inference.v1 import inference_service_pb2 as pb
from zoo.inference.v1 import inference_service_pb2_grpc as rpc
from zoo_gateway.routes import load_descriptors
from zoo_server.principal import Role

UNKNOWN_KEY = f"zoo_{'0' * 16}_{'a' * 43}"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyZoo]:
    with redis_server() as redis, toy_zoo(tmp_path_factory.mktemp("zoo"), redis.url()) as running:
        yield running


@pytest.fixture(scope="module")
def shared_key(zoo: ToyZoo) -> str:
    return zoo.catalog.iam.make_key("team:a", ns=Role.INVOKER)


@pytest.fixture
async def key(zoo: ToyZoo, shared_key: str) -> str:
    await known(zoo, shared_key)
    return shared_key


@pytest.mark.parametrize("more", [(), (("zoo-model", "ns/two"),)], ids=["model in body", "model in metadata"])
async def test_call_reaches_the_worker_that_has_the_model(zoo, key, more):
    assert (await embed(zoo, *bearer(key, *more)))["worker"] == "second"


@pytest.mark.parametrize("model", ["ns/one", "ns/two"])
async def test_model_named_in_a_compressed_body_is_read(zoo, key, model):
    async with channel(zoo) as c:
        request = pb.EmbedRequest(model=model, texts=["a" * 1000])
        call = rpc.InferenceServiceStub(c).Embed(request, metadata=bearer(key), compression=grpc.Compression.Gzip)
        assert json.loads((await call).reference)["worker"] == {"ns/one": "first", "ns/two": "second"}[model]


async def test_worker_sees_a_principal_and_neither_key_nor_spoofed_headers(zoo, key):
    spoofed = (("zoo-principal", "root"), ("x-gateway-destination-endpoint", zoo.workers[0].address))
    answer = await embed(zoo, *bearer(key, *spoofed))
    assert answer["worker"] == "second"
    assert answer["seen"]["zoo-principal"].count(".") == 2
    assert key not in json.dumps(answer)


async def test_service_learns_who_calls(zoo, key):
    async with channel(zoo) as c:
        request = iam_service_pb2.GetPrincipalRequest()
        answer = await iam_service_pb2_grpc.IamServiceStub(c).GetPrincipal(request, metadata=bearer(key))
    assert (answer.subject, dict(answer.roles)) == ("team:a", {"ns": Role.INVOKER})
    assert "authorization" not in zoo.catalog.iam.seen[-1]


async def test_stream_passes_piece_by_piece(zoo, key):
    async with channel(zoo) as c:
        call = rpc.InferenceServiceStub(c).StreamGenerate(generation(2), metadata=bearer(key))
        pieces = [piece async for piece in call]
    assert [p.text for p in pieces] == ["0 ", "1 ", ""]
    assert pieces[-1].finish.reason == generation_pb2.FINISH_REASON_LENGTH


async def test_body_of_many_megabytes_passes(zoo, key):
    request = pb.EmbedRequest(model="ns/two", texts=["x" * (1 << 20)] * 8)
    assert (await embed(zoo, *bearer(key), request=request))["worker"] == "second"


async def test_rest_reads_and_writes_json_with_the_protos_names(zoo, key):
    async with rest(zoo, key) as http:
        embedded = await http.post("/v1/embed", json={"model": "ns/two", "texts": ["a", "b"]})
        workers = await http.get("/v1/workers")
    assert [e["values"] for e in embedded.json()["embeddings"]] == [[1.0], [1.0]]
    assert [(w["name"], w["resource_class"], w["queued"]) for w in workers.json()["workers"]] == [
        ("first", "cpu", 0),
        ("second", "cpu", 0),
    ]


async def test_rest_stream_is_an_array_whose_last_element_says_why_it_ended(zoo, key):
    async with rest(zoo, key) as http:
        body = {"model": "ns/two", "input": {"prompt": "go on", "max_tokens": 2}}
        answer = await http.post("/v1/generate:stream", json=body)
    assert [p["text"] for p in answer.json()] == ["0 ", "1 ", ""]
    assert answer.json()[-1]["finish"]["reason"] == "FINISH_REASON_LENGTH"


async def test_rest_stream_that_fails_carries_the_error_in_its_trailers(zoo, key):
    reader, writer = await asyncio.open_connection(*zoo.address.split(":"))
    body = json.dumps({"model": "ns/two", "input": {"prompt": "1", "max_tokens": 5}})
    head = f"POST /v1/generate:stream HTTP/1.1\r\nhost: zoo\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
    writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert '"finish"' not in answer
    assert answer.partition("\r\n0\r\n")[2].startswith("grpc-status: 14\r\n")


async def test_workers_show_each_caller_the_models_of_its_own_namespaces(zoo, key):
    stranger = zoo.catalog.iam.make_key("team:b", other=Role.ADMIN)
    await known(zoo, stranger)
    async with rest(zoo, key) as mine, rest(zoo, stranger) as theirs:
        own, foreign = (await mine.get("/v1/workers")).json(), (await theirs.get("/v1/workers")).json()
    assert [m["reference"] for w in own["workers"] for m in w["models"]] == ["ns/one@1", "ns/two@1"]
    assert [w["models"] for w in foreign["workers"]] == [[], []]


async def test_browser_calls_by_grpc_web(zoo, key):
    message = EMBED.SerializeToString()
    frame = b"\0" + len(message).to_bytes(4, "big") + message
    async with rest(zoo, key) as http:
        url = "/zoo.inference.v1.InferenceService/Embed"
        answer = await http.post(url, content=frame, headers={"content-type": "application/grpc-web+proto"})
    size = int.from_bytes(answer.content[1:5], "big")
    assert json.loads(pb.EmbedResponse.FromString(answer.content[5 : 5 + size]).reference)["worker"] == "second"
    assert b"grpc-status:0" in answer.content[5 + size :].replace(b" ", b"")


REFUSED = [
    ("", EMBED, "UNAUTHENTICATED", "CREDENTIAL_MISSING", 401),
    (UNKNOWN_KEY, EMBED, "UNAUTHENTICATED", "CREDENTIAL_INVALID", 401),
    ("not-a-key", EMBED, "UNAUTHENTICATED", "CREDENTIAL_INVALID", 401),
    (None, pb.EmbedRequest(model="no such thing", texts=["a"]), "INVALID_ARGUMENT", "REFERENCE_INVALID", 400),
    (None, pb.EmbedRequest(texts=["a"]), "INVALID_ARGUMENT", "FIELD_INVALID", 400),
    (None, pb.EmbedRequest(model="m", texts=["x" * (1 << 20)] * 66), "RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE", 413),
]


@pytest.mark.parametrize(("sent", "request_", "code", "reason", "http_status"), REFUSED, ids=[r[3] for r in REFUSED])
async def test_refusal_says_the_same_by_grpc_and_by_rest(zoo, key, sent, request_, code, reason, http_status):
    credential = key if sent is None else sent
    by_grpc = await error_of(zoo, *(bearer(credential) if credential else ()), request=request_)
    async with rest(zoo, credential) as http:
        by_rest = await http.post("/v1/embed", json={"model": request_.model, "texts": list(request_.texts)})
    assert (by_grpc.code.name, by_grpc.reason) == (code, reason)
    assert (by_rest.status_code, by_rest.headers["content-type"]) == (http_status, "application/json")
    content = by_rest.json()
    assert (content["code"], content["message"]) == (by_grpc.code.value[0], by_grpc.message)
    assert content["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "zoo",
        "metadata": by_grpc.metadata,
    }


async def test_method_that_does_not_exist_is_not_found_by_rest_and_unimplemented_by_grpc(zoo, key):
    async with rest(zoo, key) as http:
        by_rest = await http.get("/v1/nothing")
    async with channel(zoo) as c:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await c.unary_unary("/zoo.inference.v1.InferenceService/Nothing")(b"", metadata=bearer(key))
    assert (by_rest.status_code, by_rest.json()["details"][0]["reason"]) == (404, "METHOD_UNKNOWN")
    by_grpc = from_rpc_error(caught.value)
    assert (by_grpc.code, by_grpc.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")


async def test_malformed_json_is_an_invalid_argument(zoo, key):
    async with rest(zoo, key) as http:
        answer = await http.post("/v1/embed", content="{nope")
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert answer.json()["details"][0]["reason"] == "FIELD_INVALID"


async def test_service_that_is_away_is_unavailable_and_says_when_to_retry(zoo, key):
    async with rest(zoo, key) as http:
        answer = await http.get(f"/v1/namespaces/ns/manifests/{'0' * 64}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    reasons = [(d.get("reason"), d.get("retry_delay")) for d in answer.json()["details"]]
    assert reasons == [("DEPENDENCY_UNAVAILABLE", None), (None, "1s")]


async def test_revoked_key_is_refused_within_a_second(zoo):
    key = zoo.catalog.iam.make_key("team:c", ns=Role.INVOKER)
    await known(zoo, key)
    zoo.catalog.iam.revoke(key)

    async def refused() -> bool:
        async with rest(zoo, key) as http:
            answer = await http.get("/v1/principal")
        return answer.status_code == 401 and answer.json()["details"][0]["reason"] == "CREDENTIAL_REVOKED"

    await eventually(refused, within_s=1)


async def test_reflection_lists_every_service_without_a_key(zoo):
    grpcurl = Path(sysconfig.get_path("scripts")) / "grpcurl"
    command = [str(grpcurl), "-plaintext", zoo.address]
    listed = await asyncio.to_thread(subprocess.run, [*command, "list"], capture_output=True, text=True, timeout=60)
    served = {f"{file.package}.{service.name}" for file in load_descriptors().file for service in file.service}
    assert len(served) >= 6
    assert set(listed.stdout.split()) >= {"grpc.health.v1.Health", *served}


async def test_grpcurl_streams_a_generation_by_reflection(zoo, key):
    grpcurl = Path(sysconfig.get_path("scripts")) / "grpcurl"
    body = json.dumps({"model": "ns/two", "input": {"prompt": "go on", "max_tokens": 2}})
    command = [str(grpcurl), "-plaintext", "-H", f"authorization: Bearer {key}", "-d", body, zoo.address]
    method = "zoo.inference.v1.InferenceService/StreamGenerate"
    done = await asyncio.to_thread(subprocess.run, [*command, method], capture_output=True, text=True, timeout=60)
    assert '"text": "1 "' in done.stdout
    assert "FINISH_REASON_LENGTH" in done.stdout


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_both_versions_of_reflection_are_served(zoo, version):
    async with channel(zoo) as c:
        call = c.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")()
        await call.write(b"\x3a\x00")  # list_services, field 7, empty
        assert b"zoo.inference.v1.InferenceService" in await call.read()
        await call.done_writing()


async def test_health_needs_no_key(zoo):
    async with channel(zoo) as c:
        answer = await health_pb2_grpc.HealthStub(c).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_request_id_of_the_caller_comes_back(zoo, key):
    async with rest(zoo, key) as http:
        answer = await http.get("/v1/principal", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert zoo.catalog.iam.seen[-1]["x-request-id"] == "mine-1"


async def test_access_log_has_the_call_and_not_the_key(zoo, key):
    async with rest(zoo, key) as http:
        await http.get("/v1/workers", headers={"x-request-id": "logged-1"})
    log = zoo.gateway.log.with_name("access.log")

    async def logged() -> dict | None:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return next((line for line in lines if line["request_id"] == "logged-1"), None)

    line = await eventually(logged, within_s=20)
    assert (line["path"], line["status"], line["grpc_status"]) == ("/v1/workers", 200, "OK")
    assert key not in log.read_text()


def test_gateway_loads_neither_torch_nor_transformers():
    code = "import sys, zoo_gateway.main; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
