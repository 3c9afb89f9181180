"""Opening a gRPC channel to the zoo. All retrying, keeping alive and limiting of calls is set here, once.

Every call carries the key. A unary call that came back UNAVAILABLE is repeated, at most three times, as long as not
too many fail (`modelzoo.retry_policy`). A unary call without a deadline of its own gets `UNARY_TIMEOUT_S`; streams get
none: keepalive notices within 15 seconds that the other side is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import grpc

from modelzoo.errors import FailedPrecondition, Unauthenticated
from modelzoo.retry_policy import service_config

__all__ = ["MESSAGE_BYTES_MAX", "UNARY_TIMEOUT_S", "Target", "open_aio_channel", "open_channel", "parse_url"]

UNARY_TIMEOUT_S = 60.0
MESSAGE_BYTES_MAX = 65 * 1024 * 1024  # 64 MiB of content and what stands around it
KEEPALIVE_TIME_MS = 10_000
KEEPALIVE_TIMEOUT_MS = 5_000
RECONNECT_BACKOFF_MAX_MS = 5_000
# Ten failures in a row stop all repetitions.
RETRY_TOKENS = 20


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, `host:port`, and whether by TLS."""

    address: str
    tls: bool


def parse_url(url: str) -> Target:
    """What `http://host[:port]`, `https://host[:port]` or `host:port` (in plain text) names.

    CONFIGURATION_MISSING, saying how to write it, for anything else.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    plain = url.isascii() and url.isprintable() and " " not in url
    if not plain or not host or parts.scheme not in ("http", "https") or parts.username is not None:
        raise _bad_url(url)
    if parts.path not in ("", "/") or parts.query or parts.fragment or ("://" not in url and port is None):
        raise _bad_url(url)
    tls = parts.scheme == "https"
    shown = f"[{host}]" if ":" in host else host
    return Target(f"{shown}:{port or (443 if tls else 80)}", tls)


def open_channel(url: str, key: str) -> grpc.Channel:
    """A channel that sends `key` with every call. It connects on first use; close it, or use it in a `with`."""
    target = parse_url(url)
    if target.tls:
        channel = grpc.secure_channel(target.address, grpc.ssl_channel_credentials(), options=_options())
    else:
        channel = grpc.insecure_channel(target.address, options=_options())
    return grpc.intercept_channel(channel, _WithKey(_metadata(key)))


def open_aio_channel(url: str, key: str) -> grpc.aio.Channel:
    """The same for asyncio; to be called where the loop runs."""
    target, metadata = parse_url(url), _metadata(key)
    interceptors: Sequence[grpc.aio.ClientInterceptor] = [
        _AioUnaryUnary(metadata),
        _AioUnaryStream(metadata),
        _AioStreamUnary(metadata),
        _AioStreamStream(metadata),
    ]
    if target.tls:
        credentials = grpc.ssl_channel_credentials()
        return grpc.aio.secure_channel(target.address, credentials, options=_options(), interceptors=interceptors)
    return grpc.aio.insecure_channel(target.address, options=_options(), interceptors=interceptors)


def _options() -> list[tuple[str, str | int]]:
    return [
        ("grpc.service_config", service_config("2s", RETRY_TOKENS)),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # Pings go on through a long prefill, when neither side has data.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_BACKOFF_MAX_MS),
        ("grpc.primary_user_agent", f"modelzoo/{version('modelzoo')}"),
    ]


def _metadata(key: str) -> tuple[str, str]:
    # Also keeps a stray line end of a key file out of the header.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise Unauthenticated("CREDENTIAL_INVALID", "The key is not one word of ASCII characters: copy it again.")
    return ("authorization", f"Bearer {key}")


def _bad_url(url: str) -> FailedPrecondition:
    return FailedPrecondition(
        "CONFIGURATION_MISSING",
        f"{url[:120]!a} is not an address: write http://host:port, https://host:port or host:port.",
    )


# Interceptors, not call credentials: those are refused on plain text. grpc's call details are named tuples whose type
# its stubs do not show, hence Any.


class _Keyed:
    def __init__(self, entry: tuple[str, str]) -> None:
        self._entry = entry

    def _with_key(self, details: Any) -> Any:
        return details._replace(metadata=[*(details.metadata or ()), self._entry])

    def _with_deadline(self, details: Any) -> Any:
        return self._with_key(details if details.timeout is not None else details._replace(timeout=UNARY_TIMEOUT_S))


class _WithKey(
    _Keyed,
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_deadline(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_key(client_call_details), request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._with_key(client_call_details), request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._with_key(client_call_details), request_iterator)


class _AioKeyed(_Keyed):
    def _with_key(self, details: Any) -> Any:
        return details._replace(metadata=grpc.aio.Metadata(*(details.metadata or ()), self._entry))


# One class for each kind: grpc.aio looks at the first kind that an interceptor is of, and at no other.


class _AioUnaryUnary(_AioKeyed, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self._with_deadline(client_call_details), request)


class _AioUnaryStream(_AioKeyed, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self._with_key(client_call_details), request)


class _AioStreamUnary(_AioKeyed, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await continuation(self._with_key(client_call_details), request_iterator)


class _AioStreamStream(_AioKeyed, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await continuation(self._with_key(client_call_details), request_iterator)
