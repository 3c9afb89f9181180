"""A LoRA adapter's matrices added to its base: afterwards the base is a full model that needs no adapter.

Merging writes the sum down, loading an adapter computes it anew each time: the same bits. What is read of an adapter is
adapter_model.safetensors and the numbers of adapter_config.json; whatever else that names (classes to import, models to
fetch) is refused or left. torch, transformers and peft are imported when a function here is first called.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo.errors import FailedPrecondition
from modelzoo.loading import load_directory, read_json, without_bar

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["ADAPTER_CONFIG", "ADAPTER_WEIGHTS", "DTYPES", "load_adapted", "merge_lora"]

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
DTYPES = ("float32", "bfloat16", "float16")
NEEDED = ("torch", "transformers", "safetensors", "peft")
NAMED_MAX = 3
# What says how large the change is, and of which layers.
_MEANT = (
    *("r", "lora_alpha", "target_modules", "exclude_modules", "fan_in_fan_out", "bias", "use_rslora", "use_dora"),
    *("modules_to_save", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern"),
)
# Of training, of where it came from, or about how weights are made that are there already.
_PASSED_OVER = frozenset(
    {
        *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
        *("inference_mode", "lora_dropout", "init_lora_weights", "runtime_config", "loftq_config", "eva_config"),
        *("corda_config", "lora_ga_config", "megatron_core", "qalora_group_size", "ensure_weight_tying"),
    }
)


def load_adapted(
    base: Path, adapter: Path, dtype: "torch.dtype | None" = None, weights: Callable[[], Path] | None = None
) -> "nn.Module":
    """The base, as `load_directory` has it, with the adapter added: equal to what `merge_lora` leaves.

    Tensors that the adapter does not change lie in the base's mapped files, and those that it does in memory of their
    own. Raises as `merge_lora`.
    """
    _check_packages()
    config = _lora_config(read_json(adapter / ADAPTER_CONFIG))
    return load_directory(base, dtype, weights, lambda model: _added(model, config, adapter))


def merge_lora(base: Path, adapter: Path, folder: Path, dtype: str | None = None) -> tuple[str, ...]:
    """Leave the base with the adapter added to it in `folder` as safetensors and config.json, and say which dtypes it
    has: each tensor its own in the base, or all of them `dtype`, one of DTYPES.

    Added up in float32 and rounded once. Raises PACKAGE_MISSING; what loading the base raises; ADAPTER_UNSUITABLE where
    the adapter is no LoRA, needs what cannot be added once and for all, or has matrices for other layers or shapes than
    the base's.
    """
    _check_packages()
    import torch

    config = _lora_config(read_json(adapter / ADAPTER_CONFIG))
    wanted: torch.dtype | None = getattr(torch, dtype) if dtype else None
    merged: Any = _added(load_directory(base), config, adapter, wanted)
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


def _added(model: Any, config: Any, adapter: Path, dtype: "torch.dtype | None" = None) -> Any:
    """The same model, changed; what the adapter changes is rounded once, to `dtype` or its own. ADAPTER_UNSUITABLE."""
    peft = cast(Any, importlib.import_module("peft"))
    files = cast(Any, importlib.import_module("safetensors.torch"))
    try:
        adapted = peft.get_peft_model(model, config)
        loaded = peft.set_peft_model_state_dict(adapted, files.load_file(adapter / ADAPTER_WEIGHTS))
    except FileNotFoundError as error:
        raise _unsuitable(f"it has no {ADAPTER_WEIGHTS}") from error
    # peft and torch raise several kinds over layers and shapes that are not the base's.
    except Exception as error:
        raise _unsuitable(_first_lines(error)) from error
    foreign = sorted(loaded.unexpected_keys)
    lacking = sorted(name for name in loaded.missing_keys if "lora_" in name or ".modules_to_save." in name)
    if foreign:
        raise _unsuitable(f"it has tensors for layers that the base lacks: {_named(foreign)}")
    if lacking:
        raise _unsuitable(f"it lacks tensors that its settings promise: {_named(lacking)}")
    try:
        _merge_layers([each for each in adapted.modules() if isinstance(each, _lora_layer())], dtype)
    except ValueError as error:  # a sum that is no number
        raise _unsuitable(_first_lines(error)) from error
    # Of no adapter: every layer has its sum.
    merged = adapted.merge_and_unload(adapter_names=[])
    for parameter in merged.parameters():
        parameter.requires_grad_(parameter.is_floating_point())  # peft froze the base
    return merged


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


def _lora_config(content: Any) -> Any:
    if not isinstance(content, dict):
        raise _unsuitable(f"it has no {ADAPTER_CONFIG} that is an object")
    settings = cast(dict[str, Any], content)
    if (kind := settings.get("peft_type")) != "LORA":
        raise _unsuitable(f"it is of the kind {str(kind)[:40]!a}; only LoRA can be added to a base")
    known = {*_MEANT, *_PASSED_OVER}
    if beyond := sorted(name for name, value in settings.items() if name not in known and value):
        raise _unsuitable(f"its settings {_named(beyond)} are not something that can be added once and for all")
    peft = cast(Any, importlib.import_module("peft"))
    try:
        return peft.LoraConfig(**_chosen(settings))
    except (TypeError, ValueError) as error:
        raise _unsuitable(f"{ADAPTER_CONFIG} is not valid: {_first_lines(error)}") from error


def _chosen(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in _MEANT if settings.get(name) is not None}


def _tensors(model: Any) -> list[tuple[str, Any]]:
    """Parameters and buffers, each once."""
    return [*model.named_parameters(), *model.named_buffers()]


def _named(names: list[str]) -> str:
    return ", ".join(names[:NAMED_MAX]) + (f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else "")


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def _unsuitable(why: str) -> FailedPrecondition:
    return FailedPrecondition(
        "ADAPTER_UNSUITABLE",
        f"This adapter cannot be added to its base: {why}. Look at {ADAPTER_CONFIG}, and whether it is of this base; "
        "`zoo merge --base` names another.",
    )
