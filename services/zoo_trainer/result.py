"""A trained model as files: in transformers' form, what training left alone apart from what it changed.

Tensors are kept by content. In a file of their own, those that are the base's are the base's bytes in the same order,
so that nothing of them is sent or stored again, however small they are.
"""

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import torch as files

from zoo_trainer.tensors import changing_tensors, save_tensors

__all__ = ["copy_beside", "save_transformers"]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# What turns inputs into tensors, and what has to stay with copies of the base.
BESIDE = (
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "normalizer.json"),
    *("*.model", "*.spm", "preprocessor_config.json", "processor_config.json", "chat_template*"),
    *("LICENSE*", "LICENCE*", "NOTICE*"),
)


def save_transformers(model: Any, folder: Path, base: Path, dtype: torch.dtype) -> None:
    """Leave the model in `folder`, its tensors in `dtype`, with the base's files beside the weights. The model itself
    is as it would be loaded from there, in float32."""
    changed = changing_tensors(model).keys()
    model.to(dtype).save_pretrained(folder)
    model.to(torch.float32)
    _part(folder, changed)
    copy_beside(base, folder)


def copy_beside(base: Path, folder: Path) -> None:
    """Copy the files that go with any model of this base; what is there already stays."""
    for pattern in BESIDE:
        for source in base.glob(pattern):
            if source.is_file() and not (folder / source.name).exists():
                shutil.copyfile(source, folder / source.name)


def _part(folder: Path, changed: Collection[str]) -> None:
    """Part the weights by whether training changed them. One file stays one where it changed all or nothing."""
    if not (folder / WEIGHTS).exists():
        return  # so large that they were parted by size
    tensors = cast(dict[str, torch.Tensor], cast(Any, files).load_file(folder / WEIGHTS))
    parts = [
        {name: tensor for name, tensor in tensors.items() if (name in changed) is is_changed}
        for is_changed in (False, True)
    ]
    if not all(parts):
        return
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name, part in zip(names, parts, strict=True):
        save_tensors(part, folder / name)
    index = {
        "metadata": {"total_size": sum(each.numel() * each.element_size() for each in tensors.values())},
        "weight_map": {key: name for name, part in zip(names, parts, strict=True) for key in sorted(part)},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    del tensors, parts
    (folder / WEIGHTS).unlink()
