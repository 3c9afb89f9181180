"""Streams of the zoo that a Ctrl-C ends."""

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Protocol, TypeVar

__all__ = ["ClosableStream", "interruptible"]

CLOSING_S = 5.0

T = TypeVar("T", covariant=True)


class ClosableStream(Protocol[T]):
    """What comes until it ends or is closed; closing it ends whoever waits for more."""

    def __iter__(self) -> Iterator[T]: ...

    def close(self) -> None: ...


def interruptible(stream: ClosableStream[T]) -> Iterator[T]:
    """What comes from the stream, which is closed at the end, or when a Ctrl-C comes.

    It is read on a thread: after an interrupt in the midst of grpc, closing its channel may wait for ever.
    """
    from modelzoo.errors import ZooError

    found: SimpleQueue[tuple[T] | ZooError | None] = SimpleQueue()

    def read() -> None:
        try:
            for each in stream:
                found.put((each,))
        except ZooError as error:
            found.put(error)
        else:
            found.put(None)

    thread = threading.Thread(target=read, name="zoo-stream", daemon=True)
    thread.start()
    try:
        while (came := found.get()) is not None:
            if isinstance(came, ZooError):
                raise came
            yield came[0]
    finally:
        stream.close()
        thread.join(CLOSING_S)
