"""How the gateway's own errors look on the wire: exactly as the services' do.

By gRPC a status whose google.rpc.Status travels as `grpc-status-details-bin`; by REST that Status as JSON with the
HTTP status of google.rpc.Code's mapping, in the form that Envoy's transcoder gives to the services' errors.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
from google.protobuf import json_format

from modelzoo.errors import ZooError, to_status

__all__ = ["HTTP_STATUS", "Refusal", "refuse"]

# google/rpc/code.proto; the comment of each code names its HTTP status.
HTTP_STATUS: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A whole answer: `grpc_status` is None where the caller does not speak gRPC."""

    http_status: int
    grpc_status: int | None
    body: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def refuse(error: ZooError, *, by_grpc: bool) -> Refusal:
    """The answer that carries this error to a caller by gRPC, or by REST."""
    status = to_status(error)
    if by_grpc:
        # Metadata whose name ends in -bin is base64 without padding.
        details = base64.b64encode(status.SerializeToString()).rstrip(b"=").decode()
        return Refusal(200, error.code.value[0], error.message, {"grpc-status-details-bin": details})
    content = json_format.MessageToDict(
        status, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    headers = {"content-type": "application/json"}
    if error.code is grpc.StatusCode.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    # A path that nothing serves is a page that is not there, to everything that speaks HTTP.
    http_status = 404 if error.reason == "METHOD_UNKNOWN" else HTTP_STATUS[error.code]
    return Refusal(http_status, None, json.dumps(content, ensure_ascii=False), headers)
