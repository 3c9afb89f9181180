"""A TCP proxy that misbehaves on demand, to stand between a driver and its server."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Pass:
    """Carry bytes; `delay_s` before each piece of an answer."""

    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CutAfter:
    """Carry that many bytes of each connection's answers, then close."""

    answer_bytes: int


@dataclass(frozen=True, slots=True)
class BlackHole:
    """Accept, read, and never answer."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Accept, and reset the connection at its first bytes."""


@dataclass(frozen=True, slots=True)
class AnswerHttp:
    """Answer every request with that status, without asking the server."""

    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class FlipBit:
    """Carry, with a bit flipped in the last byte of each large piece, either way."""

    def of(self, data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if len(data) > 4096 else data


Fault = Pass | CutAfter | BlackHole | Reset | AnswerHttp | FlipBit


class Proxy:
    """Stands at `endpoint` before `upstream_port` of 127.0.0.1. `fault` may change at any time; it holds for
    connections whose next bytes come after that. `connections` counts those accepted,
    `sent_bytes` what clients sent on."""

    HOST: ClassVar[str] = "127.0.0.1"

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.fault: Fault = Pass()
        self.connections = 0
        self.sent_bytes = 0
        self.port = 0

    @property
    def endpoint(self) -> str:
        return f"http://{self.HOST}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            # Cancelled by `close` alone; a server of streams would log it as a fault.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._carry(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self.HOST, self._upstream_port)
        answers = asyncio.create_task(self._carry_answers(up_reader, writer))
        try:
            while data := await reader.read(CHUNK_BYTES):
                match self.fault:
                    case BlackHole():
                        continue
                    case Reset():
                        linger = struct.pack("ii", 1, 0)  # closing sends RST
                        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        return
                    case AnswerHttp(status, body):
                        head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                        writer.write(head.encode() + body)
                        await writer.drain()
                        return
                    case _:
                        self.sent_bytes += len(data)
                        up_writer.write(self.fault.of(data) if isinstance(self.fault, FlipBit) else data)
                        await up_writer.drain()
        finally:
            answers.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await answers
            up_writer.close()

    async def _carry_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carried = 0
        while data := await reader.read(CHUNK_BYTES):
            if isinstance(self.fault, CutAfter):
                data = data[: max(0, self.fault.answer_bytes - carried)]
            if isinstance(self.fault, Pass) and self.fault.delay_s:
                await asyncio.sleep(self.fault.delay_s)
            if isinstance(self.fault, FlipBit):
                data = self.fault.of(data)
            carried += len(data)
            writer.write(data)
            await writer.drain()
            if isinstance(self.fault, CutAfter) and carried >= self.fault.answer_bytes:
                break
        writer.close()

    async def listen(self) -> None:
        """Take connections, again at the same port."""
        self._server = await asyncio.start_server(self._serve, self.HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """End every connection, and take none."""
        if self._server is not None:
            self._server.close()
            await self.close()
            await self._server.wait_closed()
            self._server = None

    async def close(self) -> None:
        """End every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxy_before(upstream_port: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port; its connections end with it."""
    proxy = Proxy(upstream_port)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.refuse()
