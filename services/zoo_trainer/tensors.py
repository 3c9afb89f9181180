"""Which tensors of a model a training changes, and how those get into a file and back."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors import torch as files
from torch import nn

from modelzoo.errors import FailedPrecondition

__all__ = ["changing_tensors", "load_tensors", "put_tensors", "save_tensors", "still_modules"]


def still_modules(model: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules in which nothing is trained: their running averages and their dropout have to rest."""
    parameters = list(model.parameters())
    if parameters and not any(each.requires_grad for each in parameters):
        yield model
        return
    for child in model.children():
        yield from still_modules(child)


def changing_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that training changes, by name: what has a gradient, and the running averages beside it. Tied ones
    come once."""
    tensors = {name: each.data for name, each in model.named_parameters() if each.requires_grad}
    still = {id(each) for module in still_modules(model) for each in module.buffers()}
    kept = model.state_dict(keep_vars=True)
    buffers = {name: each for name, each in model.named_buffers() if id(each) not in still and name in kept}
    return tensors | buffers


def put_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor], whose: str) -> None:
    """Set what training changes to these values. CHECKPOINT_INVALID where names or shapes are others."""
    own = changing_tensors(model)
    if own.keys() != tensors.keys() or any(own[name].shape != tensors[name].shape for name in own):
        raise FailedPrecondition("CHECKPOINT_INVALID", f"{whose} holds other tensors than this training changes.")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file. OSError where the disk is full."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        cast(Any, files).save_file(whole, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(*_errno_of(error)) from error


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file, as copies. CHECKPOINT_INVALID where it is damaged or not there."""
    try:
        loaded = cast(dict[str, torch.Tensor], cast(Any, files).load_file(path))
    except (SafetensorError, OSError) as error:
        raise FailedPrecondition("CHECKPOINT_INVALID", f"{path.name} cannot be read: {error}") from error
    return {name: tensor.clone() for name, tensor in loaded.items()}


def _errno_of(error: SafetensorError) -> tuple[int, str]:
    """What the system said; safetensors keeps it as text alone: `... (os error 28)`."""
    text = str(error)
    number = text.rpartition("(os error ")[2].partition(")")[0]
    return (int(number) if number.isdigit() else 5, text)
