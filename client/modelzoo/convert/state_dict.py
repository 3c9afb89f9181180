"""State dicts out of checkpoints (`.pth`, `.pt`, `.bin`, `.safetensors`), without unpickling anything in this process.

Pickles are read by a child process, which leaves a safetensors file (unpickle.py, confinement.py); this process only
ever reads the latter.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo.convert.child import run_child
from modelzoo.convert.unpickle import plain_names
from modelzoo.errors import InvalidArgument
from modelzoo.safetensors_header import read_header

if TYPE_CHECKING:
    import torch

__all__ = ["open_state_dict", "read_state_dict", "read_to_safetensors"]

TIMEOUT_BASE_S = 300
TIMEOUT_BYTES_PER_S = 10_000_000
# How the files begin that torch writes and wrote: a zip, a bare pickle (protocol 2 and later), or a tar of pickles.
ZIP, PICKLE, TAR, TAR_AT = b"PK\x03\x04", b"\x80", b"ustar", 257
# A safetensors file begins with its header's length, 64 bits of which the upper half is zero, and the header's brace.
SAFETENSORS, SAFETENSORS_AT = b"\0\0\0\0{", 4


def read_state_dict(checkpoint: Path, scratch: Path) -> "dict[str, torch.Tensor]":
    """Every entry of the checkpoint: a safetensors file is read as it is, others by way of one in the folder `scratch`.

    Raises SAFETENSORS_INVALID for a safetensors file with a wrong header, and what `read_to_safetensors` does.
    """
    if checkpoint.suffix == ".safetensors" or _head(checkpoint)[SAFETENSORS_AT:].startswith(SAFETENSORS):
        return plain_names(open_state_dict(checkpoint))
    original = scratch / "original.safetensors"
    read_to_safetensors(checkpoint, original)
    return open_state_dict(original)


def read_to_safetensors(checkpoint: Path, target: Path) -> None:
    """Write the checkpoint's state dict to `target`, a safetensors file, which appears whole or not at all.

    A state dict inside a training checkpoint (`state_dict` or `model`) is taken out, the prefix `module.` of all
    names dropped. Entries that share memory are written once, under the first name; the header's metadata maps each
    other name to it, as `safetensors.torch.save_model` does. `open_state_dict` gives them all.
    Raises PICKLE_REFUSED for a checkpoint that asks for more than tensors and containers, of which nothing was run;
    CHECKPOINT_UNSUPPORTED for one that is broken, too large or no state dict; LOCAL_PATH_INVALID.
    """
    size = _check_kind(checkpoint)
    part = target.absolute().with_name(f"{target.name}.{os.getpid()}.part")
    timeout_s = TIMEOUT_BASE_S + size / TIMEOUT_BYTES_PER_S
    try:
        run_child("modelzoo.convert.unpickle", str(checkpoint.absolute()), str(part), timeout_s=timeout_s)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def open_state_dict(file: Path) -> "dict[str, torch.Tensor]":
    """Every entry of a safetensors file, mapped from it; names that its metadata ties give one tensor.

    Raises SAFETENSORS_INVALID and LOCAL_PATH_INVALID.
    """
    from safetensors import torch as files

    try:
        with file.open("rb") as opened:
            tied = read_header(opened, file.stat().st_size).metadata
    except OSError as error:
        raise _unreadable(file, error) from error
    tensors = cast("dict[str, torch.Tensor]", cast(Any, files).load_file(file))
    return tensors | {name: tensors[kept] for name, kept in tied.items() if kept in tensors}


def _check_kind(checkpoint: Path) -> int:
    """The checkpoint's size in bytes, if it begins as one."""
    head = _head(checkpoint)
    shown = ascii(checkpoint.name)
    if head[TAR_AT : TAR_AT + len(TAR)] == TAR:
        message = f"{shown} is of torch's first format, a tar of pickles, which nothing here reads; save it again."
        raise InvalidArgument("PICKLE_REFUSED", message, metadata={"path": str(checkpoint)})
    if not head.startswith((ZIP, PICKLE)):
        message = f"{shown} is no checkpoint: `torch.save` and safetensors write files that begin otherwise."
        raise InvalidArgument("CHECKPOINT_UNSUPPORTED", message)
    return checkpoint.stat().st_size


def _head(checkpoint: Path) -> bytes:
    try:
        with checkpoint.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise _unreadable(checkpoint, error) from error


def _unreadable(file: Path, error: OSError) -> InvalidArgument:
    return InvalidArgument("LOCAL_PATH_INVALID", f"{str(file)!a} cannot be read: {error.strerror}.")
