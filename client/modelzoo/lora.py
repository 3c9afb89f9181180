"""A LoRA adapter's matrices added to its base: afterwards the base is a full model that needs no adapter.

Merging writes the sum down, loading an adapter computes it anew each time: the same bits. What is read of an adapter is
adapter_model.safetensors and the numbers of adapter_config.json; whatever else that names (classes to import, models to
fetch) is refused or left. torch, transformers and peft are imported when a function here is first called.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo.errors import FailedPrecondition, ZooError
from modelzoo.loading import load_directory
from modelzoo.lora_config import first_lines, named, read_lora_config, unsuitable
from modelzoo.quiet import without_bar

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["ADAPTER_WEIGHTS", "DTYPES", "load_adapted", "merge_lora"]

ADAPTER_WEIGHTS = "adapter_model.safetensors"
DTYPES = ("float32", "bfloat16", "float16")
NEEDED = ("torch", "transformers", "safetensors", "peft")
CLAIMED_MOST = 2  # times as many numbers as its file has: tied tensors are stored once


def load_adapted(
    base: Path, adapter: Path, dtype: "torch.dtype | None" = None, weights: Callable[[], Path] | None = None
) -> "nn.Module":
    """The base, as `load_directory` has it, with the adapter added: equal to what `merge_lora` leaves.

    Tensors that the adapter does not change lie in the base's mapped files, and those that it does in memory of their
    own. Raises as `merge_lora`.
    """
    _check_packages()
    return load_directory(base, dtype, weights, lambda model: _added(model, adapter))


def merge_lora(base: Path, adapter: Path, folder: Path, dtype: str | None = None) -> tuple[str, ...]:
    """Leave the base with the adapter added to it in `folder` as safetensors and config.json, and say which dtypes it
    has: each tensor its own in the base, or all of them `dtype`, one of DTYPES.

    Added up in float32 and rounded once. Raises PACKAGE_MISSING; what loading the base raises; ADAPTER_UNSUITABLE where
    the adapter is no LoRA, needs what cannot be added once and for all, or has matrices for other layers or shapes than
    the base's.
    """
    _check_packages()
    import torch

    wanted: torch.dtype | None = getattr(torch, dtype) if dtype else None
    merged: Any = _added(load_directory(base), adapter, wanted)
    if wanted is not None:
        for _, tensor in _tensors(merged):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(wanted)
    floating = sorted({str(t.dtype).removeprefix("torch.") for _, t in _tensors(merged) if t.is_floating_point()})
    merged.config.dtype = next(each.dtype for each in merged.parameters() if each.is_floating_point())
    with without_bar():
        merged.save_pretrained(folder)
    return tuple(floating)


def _check_packages() -> None:
    if missing := [name for name in NEEDED if not importlib.util.find_spec(name)]:
        raise FailedPrecondition(
            "PACKAGE_MISSING", f"Adding an adapter needs {', '.join(missing)}: install `modelzoo[merge]`."
        )


def _added(model: Any, adapter: Path, dtype: "torch.dtype | None" = None) -> Any:
    """The same model, changed; what the adapter changes is rounded once, to `dtype` or its own. ADAPTER_UNSUITABLE."""
    import torch

    peft = cast(Any, importlib.import_module("peft"))
    tensors = _read_tensors(adapter)
    config = read_lora_config(adapter, tensors)
    _check_copies(model, config, tensors)
    try:
        # On the meta device first: how large its matrices are is what the file has, and not what the settings claim.
        with torch.device("meta"):
            adapted = peft.get_peft_model(model, config)
        _make_room(adapted, tensors)
        replaced = [each for each in adapted.parameters() if each.requires_grad and each.is_floating_point()]
        own = [each.dtype for each in replaced]
        for parameter in replaced:
            # Biases lie in the base's file, and what takes their place is rounded once as well.
            parameter.data = parameter.data.to(torch.float32, copy=True)
        loaded = peft.set_peft_model_state_dict(adapted, tensors)
    except ZooError:
        raise
    # peft and torch raise several kinds over layers and shapes that are not the base's.
    except Exception as error:
        raise unsuitable(first_lines(error)) from error
    foreign = sorted(loaded.unexpected_keys)
    lacking = sorted(name for name in loaded.missing_keys if "lora_" in name or ".modules_to_save." in name)
    if foreign:
        raise unsuitable(f"it has tensors for layers that the base lacks: {named(foreign)}")
    if lacking:
        raise unsuitable(f"it lacks tensors that its settings promise: {named(lacking)}")
    try:
        _merge_layers([each for each in adapted.modules() if isinstance(each, _lora_layer())], dtype)
    except ValueError as error:  # a sum that is no number
        raise unsuitable(first_lines(error)) from error
    # Of no adapter: every layer has its sum.
    merged = adapted.merge_and_unload(adapter_names=[])
    for parameter, stored in zip(replaced, own, strict=True):
        parameter.data = parameter.data.to(dtype or stored)
    for parameter in merged.parameters():
        parameter.requires_grad_(parameter.is_floating_point())  # peft froze the base
    return merged


def _read_tensors(adapter: Path) -> "dict[str, torch.Tensor]":
    files = cast(Any, importlib.import_module("safetensors.torch"))
    try:
        tensors: dict[str, torch.Tensor] = files.load_file(adapter / ADAPTER_WEIGHTS)
    except FileNotFoundError as error:
        raise unsuitable(f"it has no {ADAPTER_WEIGHTS}") from error
    # The library raises several kinds over foreign files.
    except Exception as error:
        raise unsuitable(f"{ADAPTER_WEIGHTS} could not be read: {first_lines(error)}") from error
    return tensors


def _check_copies(model: Any, config: Any, tensors: "Mapping[str, torch.Tensor]") -> None:
    """Raise ADAPTER_UNSUITABLE where its settings would copy much more of the base than it has tensors for."""
    names = tuple(str(name) for name in config.modules_to_save or ())
    whole = (module for name, module in model.named_modules() if names and name.endswith(names))
    copied = _numbers(parameter for module in whole for parameter in module.parameters())
    if copied > CLAIMED_MOST * _numbers(tensors.values()):
        raise unsuitable(f"its settings name whole modules that it has no tensors for: {named(list(names))}")


def _make_room(adapted: Any, tensors: "Mapping[str, torch.Tensor]") -> None:
    """Give its matrices memory, in float32. Raises ADAPTER_UNSUITABLE where they are much larger than the file's."""
    import torch

    made = [
        (module, name, parameter)
        for module in adapted.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.is_meta
    ]
    claimed, held = _numbers(parameter for *_, parameter in made), _numbers(tensors.values())
    if claimed > CLAIMED_MOST * held:
        raise unsuitable(f"size mismatch: its settings promise {claimed:,} numbers, and {ADAPTER_WEIGHTS} has {held:,}")
    for module, name, parameter in made:
        empty = torch.empty(parameter.shape, dtype=torch.float32)
        module.register_parameter(name, torch.nn.Parameter(empty, requires_grad=parameter.requires_grad))


def _numbers(tensors: "Iterable[torch.Tensor]") -> int:
    return sum(tensor.numel() for tensor in tensors)


def _merge_layers(layers: Sequence[Any], dtype: "torch.dtype | None") -> None:
    """One after the other, so that no more than one of them is in float32 beside its stored form."""
    import torch

    with torch.no_grad():
        for layer in layers:
            floating = [each for each in layer.get_base_layer().parameters() if each.is_floating_point()]
            stored = [each.dtype for each in floating]
            for parameter in floating:
                parameter.data = parameter.data.to(torch.float32)
            # Safely: into memory of its own, as the base's lies in a mapped file.
            layer.merge(safe_merge=True)
            for parameter, own in zip(floating, stored, strict=True):
                parameter.data = parameter.data.to(dtype or own)
    for layer in layers:
        layer.merged_adapters.clear()  # or peft would warn that there is nothing left to merge


def _lora_layer() -> Any:
    return cast(Any, importlib.import_module("peft.tuners.lora")).LoraLayer


def _tensors(model: Any) -> list[tuple[str, Any]]:
    """Parameters and buffers, each once."""
    return [*model.named_parameters(), *model.named_buffers()]
