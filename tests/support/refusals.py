"""Requests that must be refused by gRPC and by REST alike: with the same code and reason, and a sentence that helps."""

from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory

from modelzoo.errors import ZooError, from_rpc_error
from support.cluster import Cluster

__all__ = ["TIMEOUT_S", "Case", "assert_refused"]

TIMEOUT_S = 60


@dataclass(frozen=True)
class Case:
    """A request as JSON, where it goes by gRPC and by REST, and what comes back."""

    method: str
    http: tuple[str, str]
    request: dict[str, Any]
    code: str
    reason: str
    says: str = ""


def by_grpc(cluster: Cluster, case: Case, key: str) -> ZooError:
    service, _, name = case.method.partition("/")
    method = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name)
    request_type, response_type = (message_factory.GetMessageClass(t) for t in (method.input_type, method.output_type))
    with grpc.insecure_channel(cluster.address) as channel:
        stub: Any = channel.unary_unary(f"/{case.method}", request_type.SerializeToString, response_type.FromString)
        request = json_format.ParseDict(case.request, request_type())
        with pytest.raises(grpc.RpcError) as raised:
            stub(request, metadata=[("authorization", f"Bearer {key}")] if key else [], timeout=TIMEOUT_S)
        return from_rpc_error(raised.value)


def by_rest(cluster: Cluster, case: Case, key: str) -> tuple[int, dict[str, Any]]:
    verb, path = case.http
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = None if verb == "GET" else case.request
    answer = httpx.request(verb, cluster.url + path, json=body, headers=headers, timeout=TIMEOUT_S)
    return answer.status_code, answer.json()


HTTP = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
}


def assert_refused(cluster: Cluster, case: Case, key: str) -> None:
    error = by_grpc(cluster, case, key)
    assert (error.code.name, error.reason) == (case.code, case.reason), error.message
    assert case.says in error.message
    assert len(error.message) > 20
    status, body = by_rest(cluster, case, key)
    assert status == HTTP[case.code], body
    assert body["code"] == grpc.StatusCode[case.code].value[0]
    assert [d["reason"] for d in body["details"] if d["@type"].endswith("ErrorInfo")] == [case.reason]
    assert case.says in body["message"]
