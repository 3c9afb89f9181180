"""The model that an inference request names: field 1 of its first message, read without parsing the rest.

Wire forms: gRPC over HTTP/2 (a flag byte, four bytes of length, the message) and protobuf's encoding. REST calls that
carry a file as their body name the model in their path instead.
"""

import re
import zlib
from urllib.parse import unquote

__all__ = ["model_in_path", "named_model"]

FRAME_HEADER_BYTES = 5
# More than any model's name and the fields before it; a message is inflated no further.
READ_MOST_BYTES = 1024 * 1024
NAME_MOST_BYTES = 4096

# The HTTP bindings `/v1/models/{model=**}:verb` of InferenceService.
_MODEL_PATH = re.compile(r"/v1/models/([^?]+):[A-Za-z]+(?:[?].*)?")
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class _Truncated(Exception):
    """The bytes end before field 1 does."""


def named_model(body: bytes) -> str | None:
    """The string in field 1 of the first framed message, "" if it has none; None if more of the body must be seen.

    Bytes that are no such message give "": the worker, which parses the whole, says what is wrong with them.
    """
    if len(body) < FRAME_HEADER_BYTES:
        return None
    length = int.from_bytes(body[1:FRAME_HEADER_BYTES], "big")
    message = body[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + min(length, READ_MOST_BYTES)]
    complete = len(message) == length or len(message) >= READ_MOST_BYTES
    if body[0] == 1:
        try:
            message = zlib.decompressobj(wbits=47).decompress(message, READ_MOST_BYTES)
        except zlib.error:
            return ""
    try:
        return _first_string(message)
    except _Truncated:
        return "" if complete else None
    except ValueError:
        return ""


def model_in_path(path: str) -> str | None:
    """The model in the path of a REST call, None where the call names it elsewhere."""
    found = _MODEL_PATH.fullmatch(path)
    return unquote(found[1])[:NAME_MOST_BYTES] if found else None


def _first_string(message: bytes) -> str:
    """The string in field 1; _Truncated where the bytes end before one."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _LENGTH:
            size, position = _varint(message, position)
            if number == 1:
                if size > NAME_MOST_BYTES:
                    return ""
                if position + size > len(message):
                    raise _Truncated
                return message[position : position + size].decode()
            position += size
        elif wire_type == _VARINT:
            _, position = _varint(message, position)
        elif wire_type in (_FIXED64, _FIXED32):
            position += 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
    raise _Truncated


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if position + index >= len(message):
            raise _Truncated
        byte = message[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError("a varint of more than ten bytes")
