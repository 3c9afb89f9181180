"""One address for several services, as a gateway has it: keys become principals, bytes are counted, streams cut."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from modelzoo.errors import Unauthenticated, ZooError, to_status
from zoo_server.principal import METADATA_KEY, Principal, Signer

__all__ = ["FrontDoor", "front_door"]

THREADS = 32


@dataclass
class FrontDoor:
    """`requests` counts calls by method, `bytes_up` and `bytes_down` the bytes of WriteBlobs and ReadFile.

    While `cut_after` has a method's name, its streams are broken off after so many answers (INTERNAL, as a reset is),
    `cuts` times. Answers of the method `damage` have a bit flipped at their end.
    `on_answer` and `on_request` hear the method of each message before it is passed on, and may hold it.
    """

    url: str = ""
    requests: dict[str, int] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    cut_after: dict[str, int] = field(default_factory=dict)
    cuts: int = 0
    damage: str = ""
    answers: int = 0
    on_answer: Callable[[str], object] = lambda method: None
    on_request: Callable[[str], object] = lambda method: None


@contextmanager
def front_door(
    upstreams: Mapping[str, str],
    keys: Mapping[str, Principal],
    signer: Signer,
    own: Iterable[grpc.GenericRpcHandler] = (),
) -> Iterator[FrontDoor]:
    """Carries calls of each service to its address in `upstreams`; `own` handlers answer first."""
    door = FrontDoor()
    channels = {
        service: grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", 68 << 20)])
        for service, address in upstreams.items()
    }
    server = grpc.server(
        ThreadPoolExecutor(THREADS), options=[("grpc.max_receive_message_length", 68 << 20)], handlers=tuple(own)
    )
    server.add_generic_rpc_handlers((_Carrier(door, channels, keys, signer),))
    door.url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield door
    finally:
        server.stop(0).wait()
        for channel in channels.values():
            channel.close()


class _Carrier(grpc.GenericRpcHandler):
    def __init__(
        self, door: FrontDoor, channels: Mapping[str, grpc.Channel], keys: Mapping[str, Principal], signer: Signer
    ) -> None:
        self._door = door
        self._channels = channels
        self._keys = keys
        self._signer = signer
        self._lock = threading.Lock()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        service, method = details.method.strip("/").split("/")
        if service not in self._channels:
            return None
        sent = dict(details.invocation_metadata)

        def carry(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            with self._lock:
                self._door.requests[method] = self._door.requests.get(method, 0) + 1
            principal = self._keys.get(str(sent.get("authorization", "")).removeprefix("Bearer "))
            if principal is None:
                _abort(context, Unauthenticated("CREDENTIAL_INVALID", "this key is not known: copy it again"))
            call = self._channels[service].stream_stream(details.method)(
                self._counted(method, requests), metadata=((METADATA_KEY, self._signer.sign(principal)),)
            )
            context.add_callback(call.cancel)
            yield from self._answers(method, call, context)

        return grpc.stream_stream_rpc_method_handler(carry)

    def _answers(self, method: str, call: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            for count, answer in enumerate(call):
                with self._lock:
                    cut = self._door.cuts > 0 and self._door.cut_after.get(method) == count
                    self._door.cuts -= cut
                    if method == "ReadFile":
                        self._door.bytes_down += len(answer)
                if cut:
                    context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
                self._door.on_answer(method)
                yield answer[:-1] + bytes([answer[-1] ^ 1]) if method == self._door.damage else answer
        except grpc.RpcError as error:
            context.set_trailing_metadata(error.trailing_metadata() or ())
            context.abort(error.code(), error.details())

    def _counted(self, method: str, requests: Iterator[bytes]) -> Iterator[bytes]:
        for request in requests:
            if method == "WriteBlobs":
                with self._lock:
                    self._door.bytes_up += len(request)
            self._door.on_request(method)
            yield request


def _abort(context: grpc.ServicerContext, error: ZooError) -> None:
    context.set_trailing_metadata((("grpc-status-details-bin", to_status(error).SerializeToString()),))
    context.abort(error.code, error.message)
