"""What happens to every call before and after its servicer: one interceptor, in this order.

request id -> principal (zoo-principal) -> for each request message: limits, then rule -> servicer -> errors -> metrics

Limits come before the rule because a rule reads the message. An error is a ZooError, sent as its status; anything else
is INTERNAL with a traceback in the log under the request id, and nothing of it in the answer.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf.message import DecodeError

from modelzoo.errors import Internal, InvalidArgument, Unimplemented, ZooError, to_status
from zoo_server.authorization import Open, Rule, Rules, enforce
from zoo_server.call import ANONYMOUS, REQUEST_ID_KEY, Call, enter_call, request_id_from
from zoo_server.metrics import observe_call
from zoo_server.principal import METADATA_KEY, Verifier
from zoo_server.validation import validate

__all__ = ["Pipeline"]

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
else:  # at run time it takes no types
    Handler = grpc.RpcMethodHandler


class Pipeline(grpc.aio.ServerInterceptor):
    """Wraps every method handler of a server."""

    def __init__(self, rules: Rules, verifier: Verifier) -> None:
        self._rules = rules
        self._verifier = verifier

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        rule = self._rules.get(method)
        # What has a handler has a rule: start() refuses anything else.
        if handler is None or rule is None or _is_generated(handler):
            return _UNKNOWN
        if rule is Open.TO_ENVOY:
            return handler
        return _wrap(handler, _Guard(method, rule, self._verifier))


class _Guard:
    """One method's checks."""

    def __init__(self, method: str, rule: Rule, verifier: Verifier) -> None:
        self.method = method
        self.rule = rule
        self.verifier = verifier

    def enter(self, context: Context) -> Call:
        """Make the call known to what serves it, or raise Unauthenticated."""
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        # None without a deadline, whatever the stubs say.
        remaining = cast(float | None, context.time_remaining())
        deadline = None if remaining is None else time.monotonic() + remaining
        request_id = request_id_from(metadata.get(REQUEST_ID_KEY, ""))
        # Known before the principal is, so that a refusal is logged under its request id.
        enter_call(Call(self.method, request_id, ANONYMOUS, deadline))
        principal = ANONYMOUS if self.rule is Open.TO_ALL else self.verifier.verify(metadata.get(METADATA_KEY, ""))
        call = Call(self.method, request_id, principal, deadline)
        enter_call(call)
        return call

    def check(self, call: Call, message: Any) -> None:
        if message is _UNREADABLE:
            raise InvalidArgument(
                "FIELD_INVALID",
                "the request is no message of this method, or has text that is not UTF-8: encode it anew",
            )
        validate(message)
        enforce(self.rule, call.principal, message)

    async def checked(self, call: Call, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in messages:
            self.check(call, message)
            yield message

    async def fail(self, context: Context, error: BaseException, started: float) -> None:
        """End the call with this error's status; raises what grpc.aio raises for that."""
        if isinstance(error, grpc.aio.AbortError):  # the servicer has ended the call itself, as health does
            raise error
        if isinstance(error, asyncio.CancelledError):
            observe_call(self.method, "CANCELLED", time.monotonic() - started)
            raise error
        if not isinstance(error, ZooError):
            log.error("unexpected error", exc_info=error)
            error = Internal("INTERNAL", "internal error: the server's log has more under the request id")
        observe_call(self.method, error.code.name, time.monotonic() - started)
        await _abort(context, error)


def _wrap(handler: Handler, guard: _Guard) -> Handler:
    if handler.response_streaming:
        behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        wrapped = _streaming(behaviour, guard, request_streaming=bool(handler.request_streaming))
    else:
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        wrapped = _unary(behaviour, guard, request_streaming=bool(handler.request_streaming))
    return make(wrapped, _reading(handler.request_deserializer), handler.response_serializer)


def _reading(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """The deserializer, its errors as a message that `check` refuses: grpc would call them faults of the server."""

    def read(data: bytes) -> Any:
        try:
            return deserialize(data) if deserialize else data
        except DecodeError:
            return _UNREADABLE

    return read


def _is_generated(handler: Handler) -> bool:
    """Whether the servicer has left the method to the stubs, which raise NotImplementedError."""
    behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    return getattr(behaviour, "__module__", "").endswith("_pb2_grpc")


async def _refuse_unknown(_: Any, context: Context) -> None:
    error = Unimplemented("METHOD_UNKNOWN", "this server has no such method: does its release know it?")
    await _abort(context, error)


async def _abort(context: Context, error: ZooError) -> None:
    details = to_status(error).SerializeToString()
    await context.abort(error.code, error.message, (("grpc-status-details-bin", details),))


# To the wire, every kind of call is one of two streams.
_UNKNOWN: Handler = grpc.stream_stream_rpc_method_handler(_refuse_unknown)
_UNREADABLE = object()


def _unary(behaviour: Any, guard: _Guard, *, request_streaming: bool) -> Any:
    async def serve(request: Any, context: Context) -> Any:
        started = time.monotonic()
        try:
            call = guard.enter(context)
            if request_streaming:
                request = guard.checked(call, request)
            else:
                guard.check(call, request)
            response = await behaviour(request, context)
        except BaseException as error:  # noqa: BLE001 - the boundary: every error becomes a status here
            await guard.fail(context, error, started)
        else:
            observe_call(guard.method, "OK", time.monotonic() - started)
            return response

    return serve


def _streaming(behaviour: Any, guard: _Guard, *, request_streaming: bool) -> Any:
    # Written by a coroutine, not yielded: grpc drops a generator whose caller has gone, and what its servicer holds
    # would be let go of whenever that is collected.
    async def serve(request: Any, context: Context) -> None:
        started = time.monotonic()
        try:
            call = guard.enter(context)
            if request_streaming:
                request = guard.checked(call, request)
            else:
                guard.check(call, request)
            async with contextlib.aclosing(behaviour(request, context)) as responses:
                async for response in responses:
                    await _write(context, response)
        except BaseException as error:  # noqa: BLE001 - the boundary: every error becomes a status here
            await guard.fail(context, error, started)
        else:
            observe_call(guard.method, "OK", time.monotonic() - started)

    return serve


async def _write(context: Context, response: Any) -> None:
    try:
        await context.write(response)
    except grpc.aio.InternalError as error:
        # The one thing that makes a write fail: nobody is there any more.
        raise asyncio.CancelledError from error
