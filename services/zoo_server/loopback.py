"""A plain HTTP exchange with a server of this machine. No proxy of the environment has a say in it."""

import asyncio
import http.client
from dataclasses import dataclass

__all__ = ["Reply", "exchange"]

HOST = "127.0.0.1"
TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Reply:
    """`status` is 0 where there was no answer."""

    status: int
    body: str


async def exchange(port: int, method: str, target: str) -> Reply:
    """The answer, or status 0 where the server is away, slow, or speaks something else."""
    return await asyncio.to_thread(_exchange, port, method, target)


def _exchange(port: int, method: str, target: str) -> Reply:
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request(method, target, headers={"Connection": "close"})
        response = connection.getresponse()
        return Reply(response.status, response.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException):
        return Reply(0, "")
    finally:
        connection.close()
