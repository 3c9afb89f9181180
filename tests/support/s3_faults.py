"""What a store, or the way to it, does wrong: faults for `FaultyS3`, each named for what it does."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from support.faulty_s3 import Answer, Asked, Fault, Send
from zoo_store.blobs import BlobStore

__all__ = [
    "answers",
    "cuts_answer",
    "empties_answer",
    "flips_answer",
    "flips_request",
    "keeps_other_bytes",
    "loses_answer",
    "loses_request",
    "never_answers",
    "shortens_answer",
    "shortens_request",
    "some_of",
    "trickles",
]


def flipped(data: bytes) -> bytes:
    """With another last bit."""
    return data[:-1] + bytes([data[-1] ^ 1]) if data else data


async def flips_answer(asked: Asked, send: Send) -> Answer:
    answer = await send(asked)
    return replace(answer, body=flipped(answer.body))


async def cuts_answer(asked: Asked, send: Send) -> Answer:
    """All but the last byte, then the connection closes."""
    answer = await send(asked)
    return replace(answer, body=answer.body[:-1])


async def shortens_answer(asked: Asked, send: Send) -> Answer:
    """All but the last byte, as if that were all."""
    return _all_of(await send(asked), lambda body: body[:-1])


async def empties_answer(asked: Asked, send: Send) -> Answer:
    """An object of no bytes."""
    return _all_of(await send(asked), lambda _: b"")


async def flips_request(asked: Asked, send: Send) -> Answer:
    return await send(asked.with_body(flipped(asked.body)))


async def shortens_request(asked: Asked, send: Send) -> Answer:
    return await send(asked.with_body(asked.body[:-1]))


async def loses_answer(asked: Asked, send: Send) -> None:
    """Done, and the connection closes before it says so."""
    await send(asked)


async def loses_request(asked: Asked, send: Send) -> None:
    """The connection closes."""


async def never_answers(asked: Asked, send: Send) -> None:
    await asyncio.Event().wait()


def answers(status: int, body: bytes = b"") -> Fault:
    """That, and nothing done."""

    async def answer(asked: Asked, send: Send) -> Answer:
        return Answer(status, {"content-length": str(len(body))}, body)

    return answer


def trickles(pause_s: float) -> Fault:
    """The right answer in forty pieces with pauses between them."""

    async def trickle(asked: Asked, send: Send) -> Answer:
        return replace(await send(asked), pause_s=pause_s)

    return trickle


def keeps_other_bytes(store: BlobStore, change: Callable[[bytes], bytes]) -> Fault:
    """The store answers as it should, and keeps what `change` makes of the bytes; `store` reaches it by another way."""

    async def keep(asked: Asked, send: Send) -> Answer:
        answer = await send(asked)
        await store.put("/".join(asked.path.split("/")[3:]), change(asked.body))  # behind /bucket/prefix/
        return answer

    return keep


def some_of(share: float, dice: Callable[[], float], fault: Fault) -> Fault:
    """The fault for that share of the requests, as the dice fall."""

    async def some(asked: Asked, send: Send) -> Answer | None:
        return await (fault(asked, send) if dice() < share else send(asked))

    return some


def _all_of(answer: Answer, change: Callable[[bytes], bytes]) -> Answer:
    body = change(answer.body)
    return replace(answer, body=body, headers={**answer.headers, "content-length": str(len(body))})
