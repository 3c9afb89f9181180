"""What adapter_config.json says, as far as it is about numbers and layers, and nothing in it can do harm.

Of settings that are patterns, peft makes regular expressions, and some of those never end: they may name, and no more.
"""

import importlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from modelzoo.errors import FailedPrecondition
from modelzoo.loading import read_json

__all__ = ["ADAPTER_CONFIG", "first_lines", "named", "read_lora_config", "unsuitable"]

ADAPTER_CONFIG = "adapter_config.json"
NAMED_MAX = 3
NAMES_MOST = 4096  # of a list; each is looked for in every module's name
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
_OF_NAMES = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern", "rank_pattern", "alpha_pattern")
# Of these peft makes regular expressions even where they stand in a list or are keys.
_OF_PATTERNS = ("layers_pattern", "rank_pattern", "alpha_pattern")
_PLAIN = re.compile(r"\^?(?:[A-Za-z0-9_-]|\\?\.)*\$?")
_LAYER = re.compile(r"(?:base_model\.model\.)?(.+?)\.lora_(?:embedding_)?[AB](?:\.weight)?")


def read_lora_config(adapter: Path, tensors: Collection[str]) -> Any:
    """The adapter's settings as peft's LoraConfig, which has to do with layers that `tensors`, by name, are of.

    Raises ADAPTER_UNSUITABLE where they are no LoRA's, or mean something that cannot be added once and for all.
    """
    content = read_json(adapter / ADAPTER_CONFIG)
    if not isinstance(content, dict):
        raise unsuitable(f"it has no {ADAPTER_CONFIG} that is an object")
    settings = cast(dict[str, Any], content)
    if (kind := settings.get("peft_type")) != "LORA":
        raise unsuitable(f"it is of the kind {str(kind)[:40]!a}; only LoRA can be added to a base")
    known = {*_MEANT, *_PASSED_OVER}
    if beyond := sorted(name for name, value in settings.items() if name not in known and value):
        raise unsuitable(f"its settings {named(beyond)} are not something that can be added once and for all")
    peft = cast(Any, importlib.import_module("peft"))
    try:
        return peft.LoraConfig(**_harmless(_chosen(settings), tensors))
    except (TypeError, ValueError) as error:
        raise unsuitable(f"{ADAPTER_CONFIG} is not valid: {first_lines(error)}") from error


def _chosen(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in _MEANT if settings.get(name) is not None}


def _harmless(settings: dict[str, Any], tensors: Collection[str]) -> dict[str, Any]:
    for name in _OF_NAMES:
        value = settings.get(name)
        names: list[Any] = [value] if isinstance(value, str) else list(cast(Collection[Any], value or ()))
        if len(names) > NAMES_MOST:
            raise unsuitable(f"{name} has {len(names)} names, more than {NAMES_MOST}")
        is_pattern = name in _OF_PATTERNS or (name == "exclude_modules" and isinstance(value, str))
        odd = [str(each)[:80] for each in names if is_pattern and not _PLAIN.fullmatch(str(each))]
        if odd:
            raise unsuitable(f"{name} has regular expressions, which are not evaluated here: {named(odd)}")
    if isinstance(settings.get("target_modules"), str) and settings["target_modules"] != "all-linear":
        # A regular expression: the layers that it was true of are those that there are tensors for.
        layers = sorted({found[1] for found in map(_LAYER.fullmatch, tensors) if found})
        return settings | {"target_modules": layers}
    return settings


def named(names: list[str]) -> str:
    return ", ".join(names[:NAMED_MAX]) + (f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else "")


def first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def unsuitable(why: str) -> FailedPrecondition:
    return FailedPrecondition(
        "ADAPTER_UNSUITABLE",
        f"This adapter cannot be added to its base: {why}. Look at {ADAPTER_CONFIG}, and whether it is of this base; "
        "`zoo merge --base` names another.",
    )
