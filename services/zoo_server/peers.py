"""Channels from one service to another, carrying the service's own principal and the request id of the call served."""

from typing import Any, Protocol

import grpc

from modelzoo.retry_policy import service_config
from zoo_server.call import REQUEST_ID_KEY, current_call
from zoo_server.principal import METADATA_KEY

__all__ = ["Credential", "open_peer", "open_sync_peer"]

MESSAGE_BYTES = 68 * 1024 * 1024
_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # The one retry layer between services.
    ("grpc.service_config", service_config("1s", 10)),
    # A restarted service is found again within a second, not after grpc's own two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class Credential(Protocol):
    """Whose calls these are: a Signer, say."""

    def own_token(self) -> str:
        """A signed principal that is good for at least the call that it is asked for."""
        ...


class _Signing:
    """Adds the metadata; grpc looks at an interceptor's first kind only, so each kind is a class below."""

    def __init__(self, signer: Credential) -> None:
        self._signer = signer

    def signed(self, details: Any) -> Any:
        metadata: list[tuple[str, str | bytes]] = [*(details.metadata or ()), (METADATA_KEY, self._signer.own_token())]
        call = current_call()
        if call is not None:
            metadata.append((REQUEST_ID_KEY, call.request_id))
        return details._replace(metadata=grpc.aio.Metadata(*metadata))


class _UnaryUnary(_Signing, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self.signed(client_call_details), request)


class _UnaryStream(_Signing, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self.signed(client_call_details), request)


class _StreamUnary(_Signing, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await continuation(self.signed(client_call_details), request_iterator)


class _StreamStream(_Signing, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await continuation(self.signed(client_call_details), request_iterator)


class _SyncSigning(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, signer: Credential) -> None:
        self._signer = signer

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._signed(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._signed(client_call_details), request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._signed(client_call_details), request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._signed(client_call_details), request_iterator)

    def _signed(self, details: Any) -> Any:
        metadata = [*(details.metadata or ()), (METADATA_KEY, self._signer.own_token())]
        return details._replace(metadata=metadata)


def open_peer(address: str, signer: Credential) -> grpc.aio.Channel:
    """A channel to the service at `host:port`. Give every call a timeout: `remaining_s()`."""
    return grpc.aio.insecure_channel(
        address,
        interceptors=[_UnaryUnary(signer), _UnaryStream(signer), _StreamUnary(signer), _StreamStream(signer)],
        options=_OPTIONS,
    )


def open_sync_peer(address: str, signer: Credential) -> grpc.Channel:
    """The same for code that runs in threads, such as pulling weights."""
    return grpc.intercept_channel(grpc.insecure_channel(address, options=_OPTIONS), _SyncSigning(signer))
