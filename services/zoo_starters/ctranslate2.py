"""Reads CTranslate2's `model.bin`: named arrays, and other names for some of them.

Layout, in little-endian order: uint32 version of the layout; string, what kind of model it is; uint32 revision of that
kind; uint32 count of variables, each a string name, uint8 rank, uint32 dimensions, uint8 type, uint32 bytes, and the
array in row-major order; uint32 count of aliases, each a string alias and a string name. A string is a uint16 count of
its bytes, these bytes, and a NUL that the count includes.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelzoo.errors import FailedPrecondition

__all__ = ["Array", "Ctranslate2Model", "read_model"]

VERSION = 6
TYPES: Mapping[int, str] = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Ctranslate2Model:
    """`kind` names the layout of `variables`; an alias is there under both names, as the same array."""

    kind: str
    variables: Mapping[str, Array]


def read_model(path: Path) -> Ctranslate2Model:
    """The model of the file, its arrays read-only and of the stored types. Raises MODEL_LOAD_FAILED if damaged."""
    reader = _Reader(path.read_bytes(), path.name)
    version = reader.unsigned("<I")
    if version != VERSION:
        raise reader.failed(f"has layout {version}, and only {VERSION} is read")
    kind = reader.string()
    reader.unsigned("<I")
    variables = {reader.string(): reader.array() for _ in range(reader.unsigned("<I"))}
    for _ in range(reader.unsigned("<I")):
        alias, name = reader.string(), reader.string()
        if name not in variables:
            raise reader.failed(f"calls {alias[:80]!a} another name of {name[:80]!a}, which it does not hold")
        variables[alias] = variables[name]
    reader.end()
    return Ctranslate2Model(kind, variables)


class _Reader:
    """Takes one value after the other from the front of `data`."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._at = 0

    def unsigned(self, form: str) -> int:
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def string(self) -> str:
        content = self._take(self.unsigned("<H"))
        try:
            return bytes(content).decode().removesuffix("\0")
        except UnicodeDecodeError as error:
            raise self.failed("holds a name that is not text") from error

    def array(self) -> Array:
        shape = [self.unsigned("<I") for _ in range(self.unsigned("<B"))]
        kind = self.unsigned("<B")
        content = self._take(self.unsigned("<I"))
        if kind not in TYPES:
            raise self.failed(f"holds an array of the unknown type {kind}")
        try:
            return np.frombuffer(content, TYPES[kind]).reshape(shape)
        except ValueError as error:
            raise self.failed(f"holds {len(content)} bytes where the shape is {shape}") from error

    def end(self) -> None:
        if self._at != len(self._data):
            raise self.failed(f"goes on for {len(self._data) - self._at} bytes after its end")

    def failed(self, why: str) -> FailedPrecondition:
        return FailedPrecondition("MODEL_LOAD_FAILED", f"{self._name} {why}; fetch it again.")

    def _take(self, count: int) -> memoryview:
        if self._at + count > len(self._data):
            raise self.failed(f"ends after {len(self._data)} bytes, in the middle of a value")
        self._at += count
        return memoryview(self._data)[self._at - count : self._at]
