"""A text as it is made."""

import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self, TypedDict, Unpack

from modelzoo import wire
from modelzoo.attempts import STARTS, Attempts
from modelzoo.calls import building, is_broken, translated
from modelzoo.errors import Interrupted, InvalidArgument, Unavailable, ZooError
from modelzoo.records import Finish
from zoo.inference.v1 import generation_pb2 as pb
from zoo.inference.v1 import inference_service_pb2 as service_pb

__all__ = ["Generation", "GenerationOptions", "Message", "Prompt", "ResponseStream", "generation_input"]

_ROLES = {
    "system": pb.CHAT_ROLE_SYSTEM,
    "user": pb.CHAT_ROLE_USER,
    "assistant": pb.CHAT_ROLE_ASSISTANT,
}


class Message(TypedDict):
    """One turn of a chat; `role` is system, user or assistant."""

    role: str
    content: str


Prompt = str | Sequence[Message]


class GenerationOptions(TypedDict, total=False):
    """How a text is made; what is left out or None is left to the server.

    `temperature` 0 to 2 (0: the most probable token), `top_p` up to 1, `top_k` tokens to draw among, `seed` for a draw
    that can be repeated, `stop` up to 16 texts that end it, `max_tokens`, and `raw`: continue the prompt as it stands.
    """

    temperature: float | None
    top_p: float | None
    top_k: int | None
    seed: int | None
    stop: str | Sequence[str]
    max_tokens: int | None
    raw: bool


class ResponseStream(Protocol):
    """What a grpc server-streaming call is, as far as it matters here."""

    def __next__(self) -> service_pb.StreamGenerateResponse: ...
    def cancel(self) -> object: ...


class Generation(Iterator[str]):
    """The pieces of a text, in order; concatenated they are the text. Nothing is asked before the first piece is; what
    came back UNAVAILABLE before that is asked again, as unary calls are.

    When it is exhausted the text is complete and `finish` says how it ended. If it raises, the text is not complete:
    Interrupted (STREAM_INTERRUPTED) means that something died on the way and the request may be repeated. `close`,
    the end of a `with` block, or dropping the object ends the work on the server.
    """

    def __init__(self, start: Callable[[], ResponseStream]) -> None:
        self._start = start
        self._call: ResponseStream | None = None
        self._began = False
        self._closed = threading.Event()
        self._attempts = Attempts(self._closed, STARTS)
        self._finish: Finish | None = None

    @property
    def finish(self) -> Finish:
        """How it ended. RuntimeError before the last piece was taken, or where there was none."""
        if self._finish is None:
            raise RuntimeError("the generation has not finished; take all of its pieces first")
        return self._finish

    def __next__(self) -> str:
        while not self._closed.is_set():
            response = self._receive()
            if response is None:
                break
            if response.HasField("finish"):
                self._finish = wire.finish(response.finish)
            if response.text:
                return response.text
        raise StopIteration

    def _receive(self) -> service_pb.StreamGenerateResponse | None:
        try:
            with translated():
                if self._call is None:
                    self._call = self._start()
                response = next(self._call)
                self._began = True
                return response
        except StopIteration:
            self._closed.set()
            if self._finish is None:
                raise _interrupted("it ended without its last message") from None
            return None
        except ZooError as error:
            if isinstance(error, Unavailable) and not self._began:
                self._call = None
                self._wait_after(error)
                return self._receive()
            closed_here = self._closed.is_set()
            self._closed.set()
            if closed_here or not is_broken(error):
                raise
            raise _interrupted(error.message) from error

    def _wait_after(self, error: Unavailable) -> None:
        try:
            self._attempts.wait_after(error)
            if self._closed.is_set():  # by another thread, meanwhile
                raise error
        except ZooError:
            self._closed.set()
            raise

    def close(self) -> None:
        """End the work on the server, if it has not ended. Closing twice is harmless."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def generation_input(prompt: Prompt, **options: Unpack[GenerationOptions]) -> pb.GenerationInput:
    """The message for a prompt or a chat. INVALID_ARGUMENT for what no server could take."""
    stop = options.get("stop", ())
    raw = options.get("raw", False)
    with building():
        built = pb.GenerationInput(
            sampling=pb.Sampling(
                temperature=options.get("temperature"),
                top_p=options.get("top_p"),
                top_k=options.get("top_k"),
                seed=options.get("seed"),
            ),
            max_tokens=options.get("max_tokens"),
            stop=[stop] if isinstance(stop, str) else stop,
        )
        if not isinstance(prompt, str):
            built.chat.CopyFrom(_chat(prompt, raw))
        elif raw:
            built.text = prompt
        else:
            built.prompt = prompt
    return built


def _chat(messages: Sequence[Message], raw: bool) -> pb.Chat:
    if raw:
        raise InvalidArgument("FIELD_INVALID", "A chat goes through the model's template; give a text with raw=True.")
    unknown = [message["role"] for message in messages if message["role"] not in _ROLES]
    if unknown:
        raise InvalidArgument("FIELD_INVALID", f"The role {unknown[0]!a} is not one of {', '.join(_ROLES)}.")
    return pb.Chat(messages=[pb.ChatMessage(role=_ROLES[m["role"]], content=m["content"]) for m in messages])


def _interrupted(how: str) -> Interrupted:
    return Interrupted(
        "STREAM_INTERRUPTED", f"The response broke off, so the text is not complete; ask again. ({how.rstrip('.')}.)"
    )
