"""The process that unpickles a checkpoint: `python -m modelzoo.convert.unpickle CHECKPOINT TARGET`.

It reads with `weights_only`, which knows tensors and plain containers and calls nothing that a file names, confined as
confinement.py says, and writes the state dict to TARGET as safetensors.
"""

import io
import os
import re
import sys
from collections.abc import Mapping
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, cast

from modelzoo.convert.child import answer_parent
from modelzoo.convert.confinement import confine
from modelzoo.errors import InvalidArgument

if TYPE_CHECKING:
    import torch

__all__ = ["main", "plain_names", "unpickle"]

INNER = ("state_dict", "model")  # a training checkpoint's state dict, the second in torchvision's own scripts
PREFIX = "module."  # what torch's DataParallel puts before every name
WHY_MAX = 300
JARGON = "WeightsUnpickler error: "
NO_MEMORY = "can't allocate memory"  # of torch's allocator, a RuntimeError


def main(checkpoint: str, target: str) -> None:
    """Convert, and tell the parent: {} or the error."""
    _prepare_torch()
    confine(os.path.getsize(checkpoint))
    answer_parent(lambda: _convert(checkpoint, target))


def unpickle(checkpoint: str) -> object:
    """What the checkpoint holds, its tensors on the CPU; mapped rather than read where the format allows."""
    import torch

    with open(checkpoint, "rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    return cast(object, torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=is_zip))


def _prepare_torch() -> None:
    """Load and allocate what is needed later, so that limits count the file's own needs only."""
    import torch
    from safetensors import torch as files

    torch.set_num_threads(1)
    buffer = io.BytesIO()
    torch.save({"one": torch.zeros(2, 2)}, buffer)
    buffer.seek(0)
    cast(Any, files).save(torch.load(buffer, weights_only=True))


def _convert(checkpoint: str, target: str) -> dict[str, str]:
    shown = ascii(os.path.basename(checkpoint))
    try:
        _write(plain_names(_state_dict(unpickle(checkpoint))), target)
    except UnpicklingError as error:
        raise InvalidArgument(
            "PICKLE_REFUSED",
            f"{shown} was not loaded and nothing in it was run, as it holds more than tensors: {_refused(error)}",
            metadata={"path": checkpoint},
        ) from error
    except InvalidArgument:
        raise
    # torch raises every kind over foreign files.
    except Exception as error:
        is_memory = isinstance(error, MemoryError) or NO_MEMORY in str(error)
        claims = "its tensors claim far more memory than a file of its size can hold"
        raise _unsupported(shown, claims if is_memory else _cause(error)) from error
    return {}


def _state_dict(content: object) -> "dict[str, torch.Tensor]":
    """The names and tensors of a state dict, or of the one that a training checkpoint holds."""
    import torch

    entries = _mapping(content)
    inner = next((entries[name] for name in INNER if isinstance(entries.get(name), Mapping)), entries)
    tensors: dict[str, torch.Tensor] = {}
    for name, value in _mapping(inner).items():
        shown = ascii(str(name)[:120])
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ValueError(f"its entry {shown} is a {type(value).__name__}, not a tensor")
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise ValueError(f"its entry {shown} is a tensor that is sparse, quantised or without data")
        tensors[name] = value.detach()
    return tensors


def _mapping(content: object) -> Mapping[object, object]:
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"it holds a {type(cast(object, content)).__name__}, not a state dict with entries")
    return cast(Mapping[object, object], content)


def plain_names(tensors: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """The same tensors without the prefix `module.`, if all names have it."""
    if all(name.startswith(PREFIX) for name in tensors):
        return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    return tensors


def _write(tensors: "dict[str, torch.Tensor]", target: str) -> None:
    """One safetensors file. What is the same memory in the same shape is written once and named in the metadata."""
    from safetensors import torch as files

    kept: dict[str, torch.Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[object, str] = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()) if tensor.numel() else name
        if place in first:
            tied[name] = first[place]
            continue
        first[place] = name
        # A view of a larger tensor is written as what it shows.
        is_whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
        kept[name] = tensor if is_whole else tensor.contiguous().clone()
    # Libraries look for `format`; no tensor is called so.
    cast(Any, files).save_file(kept, target, metadata={**tied, "format": "pt"})


def _refused(error: UnpicklingError) -> str:
    """What the pickle asked for, and how its owner gets at the weights."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    asked = f"it names {named[1][:WHY_MAX]}, which is code" if named else _cause(error)
    # torchvision's training scripts keep their command line beside the weights.
    is_training = named is not None and named[1] == "argparse.Namespace"
    weights = 'checkpoint["model"]' if is_training else "model.state_dict()"
    return f"{asked}. If it is yours, save it again with `torch.save({weights}, path)`."


def _cause(error: Exception) -> str:
    """The part of an error that says what is wrong with the file; torch goes on with advice to load it unsafely."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "unsupported" in line.lower() or line.startswith(JARGON)]
    cause = (telling or lines or [type(error).__name__])[0].removeprefix(JARGON)
    return cause.split(". ")[0][:WHY_MAX].rstrip(".")


def _unsupported(shown: str, why: str) -> InvalidArgument:
    return InvalidArgument(
        "CHECKPOINT_UNSUPPORTED",
        f"{shown} cannot be converted: {why}. Save it again with `torch.save(model.state_dict(), path)`.",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
