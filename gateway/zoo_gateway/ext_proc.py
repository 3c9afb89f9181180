"""Envoy's external processing protocol (envoy.service.ext_proc.v3) in our own types.

The one file that touches its stubs, which come without types.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.ext_proc.v3 import processing_mode_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2
from envoy.type.v3 import http_status_pb2

from zoo_gateway.named_model import model_in_path
from zoo_gateway.refusal import Refusal
from zoo_server.authorization import Open, Rules

__all__ = [
    "RULES",
    "Answer",
    "Body",
    "Call",
    "Event",
    "Trailers",
    "ask_for_body",
    "echo",
    "forward",
    "forward_with_body",
    "refuse_with",
    "register",
]

pb: Any = external_processor_pb2
core: Any = base_pb2
modes: Any = processing_mode_pb2
http: Any = http_status_pb2

_SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
# Envoy has no principal yet when it asks; this port is for the inner network alone.
RULES: Rules = {f"/{_SERVICE}/Process": Open.TO_ENVOY}
# Tells Envoy's local_reply_config to leave the answer as it is.
_REFUSED = {"zoo.picker": {"refused": True}}
# Wire bytes of a ProcessingResponse.
Answer = bytes


@dataclass(frozen=True, slots=True)
class Call:
    """The headers of a call. `model` is None where neither its metadata nor the path of a REST call names it."""

    path: str
    authorization: str
    model: str | None
    by_grpc: bool
    ends_here: bool


@dataclass(frozen=True, slots=True)
class Body:
    """A piece of the request's body, or all of it."""

    data: bytes
    is_last: bool


@dataclass(frozen=True, slots=True)
class Trailers:
    """The end of the request."""


Event = Call | Body | Trailers
Process = Callable[[AsyncIterator[Event]], AsyncIterator[Answer]]


def forward(headers: Mapping[str, str]) -> Answer:
    """Answers a Call: set these headers and go on; nothing more will be asked."""
    return _response(request_headers=pb.HeadersResponse(response=_with_headers(headers)))


def ask_for_body() -> Answer:
    """Answers a Call: the next event shall be the whole body."""
    mode = modes.ProcessingMode(request_body_mode=modes.ProcessingMode.BUFFERED)
    return _response(request_headers=pb.HeadersResponse(), mode_override=mode)


def forward_with_body(headers: Mapping[str, str]) -> Answer:
    """Answers the whole Body: set these headers and go on."""
    return _response(request_body=pb.BodyResponse(response=_with_headers(headers)))


def echo(event: Body | Trailers) -> Answer:
    """Answers what a conversation brings: let it pass as it is."""
    if isinstance(event, Trailers):
        return _response(request_trailers=pb.TrailersResponse())
    streamed = pb.StreamedBodyResponse(body=event.data, end_of_stream=event.is_last)
    mutation = pb.BodyMutation(streamed_response=streamed)
    return _response(request_body=pb.BodyResponse(response=pb.CommonResponse(body_mutation=mutation)))


def refuse_with(refusal: Refusal) -> Answer:
    """Answers anything: the caller gets this, no upstream sees the call."""
    immediate = pb.ImmediateResponse(
        status=http.HttpStatus(code=refusal.http_status),
        headers=_set(refusal.headers),
        body=refusal.body.encode(),
        details="picker",
    )
    if refusal.grpc_status is not None:
        immediate.grpc_status.status = refusal.grpc_status
    answer = pb.ProcessingResponse(immediate_response=immediate)
    answer.dynamic_metadata.update(_REFUSED)
    return answer.SerializeToString()


def register(server: grpc.aio.Server, process: Process) -> None:
    """Serve the protocol with `process`, which is run once for each call that Envoy asks about."""

    async def serve(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Answer]:
        async for answer in process(_events(requests)):
            yield answer

    handler = grpc.stream_stream_rpc_method_handler(serve, pb.ProcessingRequest.FromString, response_serializer=bytes)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Process": handler}),))


async def _events(requests: AsyncIterator[Any]) -> AsyncIterator[Event]:
    async for request in requests:
        match request.WhichOneof("request"):
            case "request_headers":
                yield _call(request.request_headers)
            case "request_body":
                yield Body(request.request_body.body, request.request_body.end_of_stream)
            case _:
                yield Trailers()


def _call(message: Any) -> Call:
    headers: dict[str, str] = {h.key: h.raw_value.decode("latin-1") for h in message.headers.headers}
    # The transcoder has made gRPC of a REST call and left the path that was asked for.
    rest_path = headers.get("x-envoy-original-path")
    by_grpc = rest_path is None and headers.get("content-type", "").startswith("application/grpc")
    return Call(
        path=headers.get(":path", ""),
        authorization=headers.get("authorization", ""),
        model=headers.get("zoo-model") or (model_in_path(rest_path) if rest_path else None),
        by_grpc=by_grpc,
        ends_here=message.end_of_stream,
    )


def _with_headers(headers: Mapping[str, str]) -> Any:
    return pb.CommonResponse(header_mutation=_set(headers))


def _set(headers: Mapping[str, str]) -> Any:
    overwrite = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    options = [
        core.HeaderValueOption(header=core.HeaderValue(key=k, raw_value=v.encode()), append_action=overwrite)
        for k, v in headers.items()
    ]
    return pb.HeaderMutation(set_headers=options)


def _response(**fields: Any) -> Answer:
    return pb.ProcessingResponse(**fields).SerializeToString()
