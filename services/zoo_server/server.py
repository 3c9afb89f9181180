"""Composition and life of a gRPC server: build, run until a signal, drain.

Drain: health says NOT_SERVING, nothing new is accepted, calls in flight get `drain_s` to finish, then they end.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from zoo_server.authorization import Open, Rules
from zoo_server.health import HealthServicer
from zoo_server.metrics import serve_metrics
from zoo_server.pipeline import Pipeline
from zoo_server.principal import Verifier
from zoo_server.settings import ServerSettings

__all__ = ["Server", "build"]

log = logging.getLogger(__name__)

HEALTH = "grpc.health.v1.Health"
# Of every server, without a credential: who answers, and what the (public) protos look like.
BUILT_IN: Rules = {
    "/grpc.health.v1.Health/Check": Open.TO_ALL,
    "/grpc.health.v1.Health/Watch": Open.TO_ALL,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Open.TO_ALL,
}


class Server:
    """A gRPC server with health, reflection and the pipeline. Register servicers on `grpc`, then `run`."""

    def __init__(self, settings: ServerSettings, server: grpc.aio.Server, rules: Rules) -> None:
        self.grpc = server
        self.port = 0
        self._settings = settings
        self._rules = rules
        self._health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)  # pyright: ignore[reportUnknownMemberType]

    async def start(self, services: tuple[str, ...]) -> None:
        """Bind and serve; `services` are the full names of what was registered. `port` is known afterwards.

        Raises RuntimeError where a method has no rule, or the address cannot be bound.
        """
        unruled = [m for m in _methods(services) if m not in self._rules]
        if unruled:
            raise RuntimeError(f"methods without an authorisation rule: {', '.join(unruled)}")
        reflection.enable_server_reflection((*services, HEALTH, reflection.SERVICE_NAME), self.grpc)
        self.port = self.grpc.add_insecure_port(self._settings.listen)
        await self.grpc.start()
        if self._settings.metrics_listen:
            serve_metrics(self._settings.metrics_listen)
        self._health.serve(services)
        log.info("serving %s on port %d", ", ".join(services), self.port)

    async def run(self, services: tuple[str, ...], *, on_drain: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start, serve until SIGTERM or SIGINT, then drain. `on_drain` runs as soon as draining begins."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await self.start(services)
        await stop.wait()
        log.info("draining for at most %g s", self._settings.drain_s)
        if on_drain is not None:
            await on_drain()
        await self.drain()

    async def drain(self) -> None:
        self._health.drain()
        with contextlib.suppress(asyncio.CancelledError):
            await self.grpc.stop(self._settings.drain_s)


def build(settings: ServerSettings, rules: Rules, verifier: Verifier | None = None) -> Server:
    """A server under `rules`; the verifier is read from the trust file unless given."""
    rules = {**BUILT_IN, **rules}
    server = grpc.aio.server(
        interceptors=[Pipeline(rules, verifier or Verifier.load(settings.trust))],
        maximum_concurrent_rpcs=settings.concurrent_calls,
        options=[
            ("grpc.max_receive_message_length", settings.message_bytes),
            ("grpc.max_send_message_length", settings.message_bytes),
            ("grpc.so_reuseport", 0),
            # Peers and Envoy ping idle connections; that is wanted, not abuse.
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
        ],
    )
    return Server(settings, server, rules)


def _methods(services: tuple[str, ...]) -> list[str]:
    pool = descriptor_pool.Default()
    return [f"/{name}/{method.name}" for name in services for method in pool.FindServiceByName(name).methods]
