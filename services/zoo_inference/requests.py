"""What is asked, checked as far as it can be without the model, and free of protobuf.

The protos declare lengths and ranges, and the server has checked them before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from modelzoo.errors import InvalidArgument
from zoo.inference.v1 import generation_pb2 as pb
from zoo.inference.v1 import inference_service_pb2 as service_pb
from zoo_inference.engine import Sampling

__all__ = [
    "Chat",
    "GenerationRequest",
    "Message",
    "Prompt",
    "Text",
    "check_texts",
    "generation_from_pb",
    "max_detections",
    "picture_from_pb",
    "sound_from_pb",
    "threshold",
    "top_k",
]

TOP_K_DEFAULT = 5
THRESHOLD_DEFAULT = 0.5
MAX_DETECTIONS_DEFAULT = 100

_ROLES = {
    pb.CHAT_ROLE_SYSTEM: "system",
    pb.CHAT_ROLE_USER: "user",
    pb.CHAT_ROLE_ASSISTANT: "assistant",
}


@dataclass(frozen=True, slots=True)
class Text:
    """Continued as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One user's turn where the model has a chat template; otherwise continued as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Chat:
    """Continued as the assistant's next turn."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """`max_tokens` None leaves the number to the model's context and a default."""

    input: Text | Prompt | Chat
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...]


def generation_from_pb(given: pb.GenerationInput) -> GenerationRequest:
    """Raises INPUT_EMPTY where there is no text, TEXT_INVALID where it is not Unicode, FIELD_INVALID."""
    sampling = given.sampling
    for stop in given.stop:
        if not stop:
            raise InvalidArgument("FIELD_INVALID", "input.stop has an empty text: leave it out", field="input.stop")
        _check_text(stop, "input.stop")
    return GenerationRequest(
        input=_input_from_pb(given),
        sampling=Sampling(
            temperature=sampling.temperature,
            top_p=sampling.top_p if sampling.HasField("top_p") else 1.0,
            top_k=sampling.top_k,
            seed=sampling.seed if sampling.HasField("seed") else None,
        ),
        max_tokens=given.max_tokens if given.HasField("max_tokens") else None,
        stop=tuple(given.stop),
    )


def check_texts(texts: Sequence[str]) -> None:
    """Raise INPUT_EMPTY or TEXT_INVALID for the first text that nothing can be said of."""
    for index, text in enumerate(texts):
        _check_text(text, f"texts[{index}]")
        _check_not_blank(text, f"texts[{index}]")


def picture_from_pb(request: service_pb.ClassifyImageRequest | service_pb.DetectObjectsRequest) -> bytes:
    """The picture file's bytes. Raises INPUT_EMPTY."""
    return _file(request.upload.data if request.HasField("upload") else request.image, "image", "picture")


def sound_from_pb(request: service_pb.TranscribeRequest) -> bytes:
    """The sound file's bytes. Raises INPUT_EMPTY."""
    return _file(request.upload.data if request.HasField("upload") else request.audio, "audio", "sound")


def top_k(request: service_pb.ClassifyTextRequest | service_pb.ClassifyImageRequest) -> int:
    return request.top_k if request.HasField("top_k") else TOP_K_DEFAULT


def threshold(request: service_pb.DetectObjectsRequest) -> float:
    return request.threshold if request.HasField("threshold") else THRESHOLD_DEFAULT


def max_detections(request: service_pb.DetectObjectsRequest) -> int:
    return request.max_detections if request.HasField("max_detections") else MAX_DETECTIONS_DEFAULT


def _file(data: bytes, field: str, kind: str) -> bytes:
    if not data:
        raise InvalidArgument("INPUT_EMPTY", f"there is no {kind}: send the bytes of a file in {field}", field=field)
    return data


def _input_from_pb(given: pb.GenerationInput) -> Text | Prompt | Chat:
    match given.WhichOneof("input"):
        case "text":
            # White space alone is something to continue; nothing at all is not.
            if not given.text:
                raise _empty("input.text")
            _check_text(given.text, "input.text")
            return Text(given.text)
        case "prompt":
            _check_text(given.prompt, "input.prompt")
            _check_not_blank(given.prompt, "input.prompt")
            return Prompt(given.prompt)
        case "chat":
            return _chat_from_pb(given.chat)
        case None:
            raise _empty("input")


def _chat_from_pb(chat: pb.Chat) -> Chat:
    for index, message in enumerate(chat.messages):
        field = f"input.chat.messages[{index}]"
        if message.role not in _ROLES:
            raise InvalidArgument("FIELD_INVALID", f"{field}.role is not a role", field=f"{field}.role")
        _check_text(message.content, f"{field}.content")
    if not any(message.content.strip() for message in chat.messages):
        raise _empty("input.chat.messages")
    return Chat(tuple(Message(_ROLES[message.role], message.content) for message in chat.messages))


def _check_text(text: str, field: str) -> None:
    if "\0" in text:
        raise InvalidArgument("TEXT_INVALID", f"{field} holds the character NUL: remove it", field=field)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            "TEXT_INVALID", f"{field} holds a lone surrogate, which is no character: send valid Unicode", field=field
        ) from error


def _check_not_blank(text: str, field: str) -> None:
    if not text.strip():
        raise _empty(field)


def _empty(field: str) -> InvalidArgument:
    return InvalidArgument("INPUT_EMPTY", f"{field} has no text: say what the model should work on", field=field)
