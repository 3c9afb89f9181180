"""A toy picker, a process of its own: sends every call to the hosts of its arguments, in their order.

The header `toy-refuse` is answered with an error, so that a test sees how an error of the picker looks.
"""

import asyncio
import base64
import sys

import grpc
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as rpc
from envoy.type.v3.http_status_pb2 import HttpStatus

from modelzoo.errors import Unauthenticated, to_status

DESTINATION = "x-gateway-destination-endpoint"


def mutation(**headers: str) -> pb.HeaderMutation:
    options = [
        HeaderValueOption(
            header=HeaderValue(key=k, raw_value=v.encode()),
            append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
        )
        for k, v in headers.items()
    ]
    return pb.HeaderMutation(set_headers=options)


def model_of(framed: bytes) -> str:
    """Field 1 of the first framed message; the toy's names are shorter than 128 bytes."""
    message = framed[5:]
    return message[2 : 2 + message[1]].decode() if message[:1] == b"\x0a" else ""


class ToyPickerServicer(rpc.ExternalProcessorServicer):
    def __init__(self, hosts: str) -> None:
        self._hosts = hosts

    def _pick(self, model: str) -> pb.CommonResponse:
        return pb.CommonResponse(
            header_mutation=mutation(**{DESTINATION: self._hosts, "zoo-model-read": model, "zoo-principal": "picker"})
        )

    async def Process(self, requests, context):
        first = await anext(requests)
        headers = {h.key: h.raw_value.decode() for h in first.request_headers.headers.headers}
        if "toy-refuse" in headers:
            yield refusal()
        elif "zoo-model" in headers:
            yield pb.ProcessingResponse(request_headers=pb.HeadersResponse(response=self._pick(headers["zoo-model"])))
        elif headers[":path"].endswith("/Converse"):
            async for response in self._converse(requests):
                yield response
        else:
            mode = ProcessingMode(request_body_mode=ProcessingMode.BUFFERED)
            yield pb.ProcessingResponse(request_headers=pb.HeadersResponse(), mode_override=mode)
            body = (await anext(requests)).request_body.body
            yield pb.ProcessingResponse(request_body=pb.BodyResponse(response=self._pick(model_of(body))))

    async def _converse(self, requests):
        """FULL_DUPLEX_STREAMED: the answer to the headers waits for the first body, then every body is echoed."""
        picked = False
        async for request in requests:
            if not picked:
                model = model_of(request.request_body.body)
                yield pb.ProcessingResponse(request_headers=pb.HeadersResponse(response=self._pick(model)))
                picked = True
            if request.HasField("request_body"):
                body = request.request_body
                streamed = pb.StreamedBodyResponse(body=body.body, end_of_stream=body.end_of_stream)
                echo = pb.CommonResponse(body_mutation=pb.BodyMutation(streamed_response=streamed))
                yield pb.ProcessingResponse(request_body=pb.BodyResponse(response=echo))
            else:
                yield pb.ProcessingResponse(request_trailers=pb.TrailersResponse())


def refusal() -> pb.ProcessingResponse:
    error = Unauthenticated("CREDENTIAL_INVALID", "the key is not known here")
    details = base64.b64encode(to_status(error).SerializeToString()).rstrip(b"=").decode()
    return pb.ProcessingResponse(
        immediate_response=pb.ImmediateResponse(
            status=HttpStatus(code=401),
            headers=mutation(**{"grpc-status-details-bin": details}),
            body=error.message.encode(),
            grpc_status=pb.GrpcStatus(status=error.code.value[0]),
        )
    )


async def serve(hosts: str) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    rpc.add_ExternalProcessorServicer_to_server(ToyPickerServicer(hosts), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
