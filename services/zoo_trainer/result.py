"""A trained model as files: in transformers' form, what training left alone apart from what it changed.

Tensors are kept by content. In a file of their own, those that are the base's are the base's bytes in the same order,
so that nothing of them is sent or stored again, however small they are.
"""

import json
import shutil
from collections.abc import Set
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
    changed = {tensor.data_ptr() for tensor in changing_tensors(model).values()}
    still = {name for name, tensor in model.state_dict().items() if tensor.data_ptr() not in changed}
    model.to(dtype).save_pretrained(folder)
    model.to(torch.float32)
    _part(folder, base, still)
    copy_beside(base, folder)


def copy_beside(base: Path, folder: Path) -> None:
    """Copy the files that go with any model of this base; what is there already stays."""
    for pattern in BESIDE:
        for source in base.glob(pattern):
            if source.is_file() and not (folder / source.name).exists():
                shutil.copyfile(source, folder / source.name)


def _part(folder: Path, base: Path, still: Set[str]) -> None:
    """Part the weights by whether they are the base's. One file stays one where all or none of them are."""
    if not (folder / WEIGHTS).exists():
        return  # so large that they were parted by size
    tensors = _read(folder / WEIGHTS)
    kept = still & tensors.keys()
    # Some architectures have other names for their tensors in files: of those, what is as in the base's.
    for path in base.glob("*.safetensors"):
        known = _read(path)
        kept |= {name for name in tensors.keys() & known.keys() if _is_same(tensors[name], known[name])}
    parts = [
        {name: tensor for name, tensor in tensors.items() if (name in kept) is is_kept} for is_kept in (True, False)
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


def _read(path: Path) -> dict[str, torch.Tensor]:
    return cast(dict[str, torch.Tensor], cast(Any, files).load_file(path))


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
