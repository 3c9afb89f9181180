"""A LoRA adapter's matrices added to its base: afterwards the base is a full model that needs no adapter.

What is read of an adapter is adapter_model.safetensors and the numbers of adapter_config.json; whatever else that names
(classes to import, models to fetch) is refused or left. torch, transformers and peft are imported when the function is
first called.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from modelzoo.errors import FailedPrecondition
from modelzoo.loading import load_directory, read_json, without_bar

__all__ = ["ADAPTER_CONFIG", "ADAPTER_WEIGHTS", "DTYPES", "merge_lora"]

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


def merge_lora(base: Path, adapter: Path, folder: Path, dtype: str | None = None) -> tuple[str, ...]:
    """Leave the base with the adapter added to it in `folder` as safetensors and config.json, and say which dtypes it
    has: each tensor its own in the base, or all of them `dtype`, one of DTYPES.

    Added up in float32 and rounded once, so it takes four bytes of memory for each parameter, beside the mapped base.
    Raises PACKAGE_MISSING; what loading the base raises; ADAPTER_UNSUITABLE where the adapter is no LoRA, needs what
    cannot be added once and for all, or has matrices for other layers or shapes than the base's.
    """
    if missing := [name for name in NEEDED if not importlib.util.find_spec(name)]:
        raise FailedPrecondition("PACKAGE_MISSING", f"Merging needs {', '.join(missing)}: install `modelzoo[merge]`.")
    import torch

    config = _lora_config(read_json(adapter / ADAPTER_CONFIG))
    model: Any = load_directory(base)
    stored: dict[str, torch.dtype] = {name: tensor.dtype for name, tensor in _tensors(model)}
    with torch.no_grad():
        for _, tensor in _tensors(model):
            # A copy: the base's own lies in a mapped file.
            tensor.data = (
                tensor.data.to(torch.float32, copy=True) if tensor.is_floating_point() else tensor.data.clone()
            )
        merged = _added(model, config, adapter)
        for name, tensor in _tensors(merged):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(getattr(torch, dtype) if dtype else stored[name])
    floating = sorted({str(t.dtype).removeprefix("torch.") for _, t in _tensors(merged) if t.is_floating_point()})
    merged.config.dtype = next(each.dtype for each in merged.parameters() if each.is_floating_point())
    with without_bar():
        merged.save_pretrained(folder)
    return tuple(floating)


def _added(model: Any, config: Any, adapter: Path) -> Any:
    """The same model, changed. Raises ADAPTER_UNSUITABLE."""
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
        return adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:  # a sum that is no number
        raise _unsuitable(_first_lines(error)) from error


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
        f"This adapter cannot be merged into its base: {why}. Look at {ADAPTER_CONFIG}, and whether "
        "it is of this base; --base names another.",
    )
