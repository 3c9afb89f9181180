"""A tensor's bytes as an array: torch's where torch is installed, else numpy's. Both are imported when first used.

numpy has no bfloat16 and no 8-bit floats. They are never turned into something else unasked: a caller who has no torch
is told so.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, Literal

from modelzoo.errors import FailedPrecondition

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Library", "as_array", "as_numbers", "library"]

Library = Literal["torch", "numpy"]

_NUMPY = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "I16": "<i2",
    "U16": "<u2",
    "F16": "<f2",
    "I32": "<i4",
    "U32": "<u4",
    "F32": "<f4",
    "I64": "<i8",
    "U64": "<u8",
    "F64": "<f8",
    "C64": "<c8",
}
_TORCH = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "I64": "int64",
    "U64": "uint64",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}


def library(wanted: Library | None) -> Library:
    """Which of the two makes the arrays: the one wanted, else torch if it is installed. PACKAGE_MISSING."""
    for name in ("torch", "numpy") if wanted is None else (wanted,):
        if importlib.util.find_spec(name):
            return name
    raise FailedPrecondition(
        "PACKAGE_MISSING", "Arrays of tensors need torch or numpy: pip install 'modelzoo[torch]', or numpy alone."
    )


def as_array(dtype: str, shape: tuple[int, ...], data: bytearray, into: Library) -> Any:
    """The array of safetensors' `dtype` on these bytes, which become its memory. TENSOR_DTYPE_UNSUPPORTED."""
    if into == "numpy":
        numpy = importlib.import_module("numpy")
        if dtype not in _NUMPY:
            raise _unsupported(dtype, "numpy")
        return numpy.frombuffer(data, _NUMPY[dtype]).reshape(shape)
    torch = importlib.import_module("torch")
    made = getattr(torch, _TORCH.get(dtype, ""), None)
    if made is None:
        raise _unsupported(dtype, "torch")
    # torch refuses an empty buffer.
    return torch.frombuffer(data, dtype=made).reshape(shape) if data else torch.empty(shape, dtype=made)


def as_numbers(dtype: str, data: bytes | bytearray) -> "NDArray[Any] | None":
    """The elements as numpy's float64 or complex64 for arithmetic, flat; None where nothing here knows the dtype."""
    numpy: Any = importlib.import_module("numpy")
    if dtype == "BF16":  # the upper half of a float32
        return (numpy.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype("f8")
    if dtype in _NUMPY:
        found = numpy.frombuffer(data, _NUMPY[dtype])
        return found if dtype == "C64" else found.astype("f8")
    if dtype in _TORCH and importlib.util.find_spec("torch"):
        torch = importlib.import_module("torch")
        narrow: Any = torch.frombuffer(bytearray(data), dtype=getattr(torch, _TORCH[dtype]))
        return narrow.to(torch.float32).numpy().astype("f8")
    return None


def _unsupported(dtype: str, library: Library) -> FailedPrecondition:
    instead = "take it with torch, or" if library == "numpy" and dtype in _TORCH else "it stays bytes:"
    return FailedPrecondition(
        "TENSOR_DTYPE_UNSUPPORTED",
        f"{library} has no numbers of the format {dtype}; {instead} read the file (`zoo pull`).",
        metadata={"dtype": dtype},
    )
