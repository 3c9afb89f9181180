"""Every error of the zoo, on both sides of the wire.

    ZooError
    ├── InvalidArgument      the request is wrong whatever the state; do not retry
    │   └── OutOfRange       beyond the end of something
    ├── NotFound             or not visible to the caller
    ├── AlreadyExists
    ├── FailedPrecondition   right request, wrong state; do something first
    ├── Aborted              somebody else was faster; read again, repeat
    ├── Unauthenticated
    ├── PermissionDenied
    ├── ResourceExhausted    too large, or a queue is full (then `retry_after_s`)
    ├── Unavailable          retry
    │   └── Interrupted      a response stream broke off; what came before is not complete
    ├── DeadlineExceeded
    ├── Cancelled
    ├── Unimplemented
    ├── DataLoss             stored bytes are damaged
    └── Internal

Each class carries its gRPC code; each raise a reason of `zoo.errors.v1.ErrorReason` and string metadata. On the wire
they are a google.rpc.Status with ErrorInfo (domain "zoo"), RetryInfo where the caller should wait, and BadRequest
where a field is at fault.
"""

from collections.abc import Mapping
from typing import ClassVar, cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

__all__ = [
    "DOMAIN",
    "Aborted",
    "AlreadyExists",
    "Cancelled",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "Interrupted",
    "InvalidArgument",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "ZooError",
    "from_rpc_error",
    "from_status",
    "to_status",
]

DOMAIN = "zoo"


class ZooError(Exception):
    """An error with a sentence for people, a reason for programs, and metadata that names the particulars.

    `reason` is a name of ErrorReason without its prefix. `retry_after_s` says when to try again, where that helps.
    `field` names the request field at fault, where one is.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s
        self.field = field


class InvalidArgument(ZooError):
    code = grpc.StatusCode.INVALID_ARGUMENT


class OutOfRange(InvalidArgument):
    code = grpc.StatusCode.OUT_OF_RANGE


class NotFound(ZooError):
    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(ZooError):
    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(ZooError):
    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(ZooError):
    code = grpc.StatusCode.ABORTED


class Unauthenticated(ZooError):
    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(ZooError):
    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhausted(ZooError):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(ZooError):
    code = grpc.StatusCode.UNAVAILABLE


class Interrupted(Unavailable):
    """A response stream ended without its last message."""


class DeadlineExceeded(ZooError):
    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Cancelled(ZooError):
    code = grpc.StatusCode.CANCELLED


class Unimplemented(ZooError):
    code = grpc.StatusCode.UNIMPLEMENTED


class DataLoss(ZooError):
    code = grpc.StatusCode.DATA_LOSS


class Internal(ZooError):
    code = grpc.StatusCode.INTERNAL


# Interrupted shares its code with Unavailable and is only raised by clients.
_BY_CODE: dict[int, type[ZooError]] = {
    cls.code.value[0]: cls
    for cls in (
        InvalidArgument,
        OutOfRange,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        Aborted,
        Unauthenticated,
        PermissionDenied,
        ResourceExhausted,
        Unavailable,
        DeadlineExceeded,
        Cancelled,
        Unimplemented,
        DataLoss,
        Internal,
    )
}


def to_status(error: ZooError) -> status_pb2.Status:
    """The google.rpc.Status that carries this error."""
    details = [_pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata))]
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        details.append(_pack(error_details_pb2.BadRequest(field_violations=[violation])))
    return status_pb2.Status(code=error.code.value[0], message=error.message, details=details)


def from_status(status: status_pb2.Status) -> ZooError:
    """The error that a google.rpc.Status carries; one without an ErrorInfo of ours gets reason ''."""
    info, retry, bad = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.RetryInfo(),
        error_details_pb2.BadRequest(),
    )
    retry_after_s: float | None = None
    field: str | None = None
    for detail in status.details:
        if detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToMilliseconds() / 1000
        elif detail.Unpack(bad) and bad.field_violations:
            field = bad.field_violations[0].field
        else:
            detail.Unpack(info)
    cls = _BY_CODE.get(status.code, Internal)
    metadata = dict(info.metadata)
    return cls(info.reason, status.message, metadata=metadata, retry_after_s=retry_after_s, field=field)


def from_rpc_error(error: grpc.RpcError) -> ZooError:
    """The ZooError behind what grpcio raised, on a sync or an aio call; `error` should be its cause."""
    # Both kinds have these three methods; grpc.RpcError itself declares none.
    call = cast(grpc.aio.AioRpcError, error)
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return from_status(status_pb2.Status.FromString(value))
    number: int = call.code().value[0]
    return _BY_CODE.get(number, Internal)("", call.details() or str(error))


def _pack(
    message: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo | error_details_pb2.BadRequest,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
