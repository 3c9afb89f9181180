"""An S3 that misbehaves on demand: it carries whole requests to a real one, and a fault may change each of them.

`proxy` breaks connections; this breaks what is said on them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import httpx

__all__ = ["Answer", "Asked", "Fault", "FaultyS3", "Send", "at", "faulty_s3", "healthy", "times"]

HOST = "127.0.0.1"
PIECES = 40


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; its header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    def with_body(self, body: bytes) -> "Asked":
        return replace(self, body=body, headers={**self.headers, "content-length": str(len(body))})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the store answers. A body shorter than its Content-Length is sent, and then the connection closed;
    `pause_s` lies between the forty pieces in which it is sent.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    pause_s: float = 0.0


Send = Callable[[Asked], Awaitable[Answer]]
# None: the connection is closed without an answer.
Fault = Callable[[Asked, Send], Awaitable[Answer | None]]


async def healthy(asked: Asked, send: Send) -> Answer:
    return await send(asked)


def at(method: str, part: str, fault: Fault) -> Fault:
    """The fault for requests of that method whose path has that part; all others are carried."""

    async def some(asked: Asked, send: Send) -> Answer | None:
        meant = asked.method == method and part in asked.path
        return await (fault if meant else healthy)(asked, send)

    return some


def times(count: int, fault: Fault) -> Fault:
    """The fault for the first so many requests; all others are carried. `at` stands around it."""
    left = count

    async def some(asked: Asked, send: Send) -> Answer | None:
        nonlocal left
        left -= 1
        return await (fault if left >= 0 else healthy)(asked, send)

    return some


class FaultyS3:
    """Stands at `endpoint` before a real S3. `fault` may change at any time; `requests` counts those that came."""

    def __init__(self, upstream: str) -> None:
        self._upstream = httpx.AsyncClient(base_url=upstream, timeout=30, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()
        self.fault: Fault = healthy
        self.requests = 0
        self.endpoint = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while await self._answer(await _read(reader), writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> bool:
        """Whether another request may follow."""
        self.requests += 1
        answer = await self.fault(asked, self._send)
        if answer is None:
            return False
        head = [f"HTTP/1.1 {answer.status} -", *(f"{name}: {value}" for name, value in answer.headers.items())]
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
        step = len(answer.body) // PIECES + 1 if answer.pause_s else max(1, len(answer.body))
        for start in range(0, len(answer.body), step):
            await asyncio.sleep(answer.pause_s)
            writer.write(answer.body[start : start + step])
            await writer.drain()
        await writer.drain()
        return asked.method == "HEAD" or int(answer.headers["content-length"]) == len(answer.body)

    async def _send(self, asked: Asked) -> Answer:
        request = self._upstream.build_request(asked.method, asked.target, headers=asked.headers, content=asked.body)
        response = await self._upstream.send(request)
        dropped = {"transfer-encoding", "connection", "content-encoding"}
        headers = {name: value for name, value in response.headers.items() if name not in dropped}
        if asked.method != "HEAD":
            headers["content-length"] = str(len(response.content))
        return Answer(response.status_code, headers, response.content)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._upstream.aclose()


@asynccontextmanager
async def faulty_s3(upstream: str) -> AsyncIterator[FaultyS3]:
    """On a free port, before the S3 at that URL; healthy as yet."""
    faulty = FaultyS3(upstream)
    server = await asyncio.start_server(faulty.serve, HOST, 0)
    faulty.endpoint = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    try:
        yield faulty
    finally:
        server.close()
        await faulty.close()
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = lines[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    return Asked(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))
