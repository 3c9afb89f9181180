"""Questions whose answer says that a server serves."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

import grpc
from grpc_health.v1 import health_pb2

from zoo_server.loopback import exchange

__all__ = ["GatewayComplete", "GrpcHealth", "HttpOk", "Probe", "RedisPing"]

TIMEOUT_S = 2.0
HOST = "127.0.0.1"


class Probe(Protocol):
    """Asks a server of this machine; never raises for a server that is away, slow or not ready."""

    async def answers(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class GrpcHealth:
    """grpc.health.v1 says SERVING for the server as a whole."""

    port: int

    async def answers(self) -> bool:
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(f"{HOST}:{self.port}", options=options) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                reply = await check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError:
                return False
            return reply.status == health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True, slots=True)
class HttpOk:
    """An HTTP GET is answered with 200."""

    port: int
    path: str

    async def answers(self) -> bool:
        return (await exchange(self.port, "GET", self.path)).status == 200


@dataclass(frozen=True, slots=True)
class RedisPing:
    """Redis answers PING, which it does once its data is loaded."""

    port: int
    password: str = field(repr=False)

    async def answers(self) -> bool:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await asyncio.open_connection(HOST, self.port)
                try:
                    writer.write(f"AUTH {self.password}\r\nPING\r\n".encode())
                    return (await reader.readline(), await reader.readline()) == (b"+OK\r\n", b"+PONG\r\n")
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError):
            return False


@dataclass(frozen=True, slots=True)
class GatewayComplete:
    """Calls find their way: Envoy knows of as many workers as there are, and the picker knows the keys."""

    port: int
    admin_port: int
    workers: int

    async def answers(self) -> bool:
        lines = (await exchange(self.admin_port, "GET", "/clusters")).body.splitlines()
        hosts = {line.split("::")[1] for line in lines if line.startswith("workers::") and "::cx_active::" in line}
        # Without keys to compare with it is 503, with them a call without one is 401.
        return len(hosts) >= self.workers and (await exchange(self.port, "GET", "/v1/principal")).status == 401
