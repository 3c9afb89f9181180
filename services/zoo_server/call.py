"""What the code that serves a call may know of it: the principal, the request id, the time left."""

import random
import re
import time
from contextvars import ContextVar
from dataclasses import dataclass

from zoo_server.principal import Principal

__all__ = ["REQUEST_ID_KEY", "Call", "current_call", "current_principal", "remaining_s", "request_id_from"]

REQUEST_ID_KEY = "x-request-id"
DEFAULT_TIMEOUT_S = 30.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Call:
    """One call being served. `deadline` is in time.monotonic(), None where the caller set none."""

    method: str
    request_id: str
    principal: Principal
    deadline: float | None


ANONYMOUS = Principal("anonymous")
_current: ContextVar[Call | None] = ContextVar("zoo_call", default=None)


def current_call() -> Call | None:
    return _current.get()


def enter_call(call: Call) -> None:
    _current.set(call)


def current_principal() -> Principal:
    """Who makes the call that is being served; without one (start-up, background work) nobody with no roles."""
    call = _current.get()
    return call.principal if call is not None else ANONYMOUS


def remaining_s(at_most: float = DEFAULT_TIMEOUT_S) -> float:
    """Timeout for an outgoing call: the time left of the call being served, at most `at_most` seconds, never 0."""
    call = _current.get()
    if call is None or call.deadline is None:
        return at_most
    return max(0.001, min(at_most, call.deadline - time.monotonic()))


def request_id_from(given: str) -> str:
    """The caller's request id where it is harmless ([A-Za-z0-9-]{1,64}), else a new one."""
    # Unique, not secret: random bytes of the kernel would cost as much as the rest of the pipeline.
    return given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
