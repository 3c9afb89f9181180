"""A model and its processor as they come from disk: what every task begins with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from modelzoo.loading import load_directory, load_processor_directory, read_json
from modelzoo.lora import load_adapted

__all__ = ["ModelFiles", "architecture_of", "read_files"]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """`model` is in evaluation mode; its tensors may lie in the mapped files under `path`, which must not change."""

    path: Path
    architecture: str
    model: Any
    processor: Any

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors, those that share memory once."""
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.numel() * tensor.element_size()
            for tensor in [*self.model.parameters(), *self.model.buffers()]
        }
        return sum(storages.values())


def read_files(
    path: Path,
    dtype: torch.dtype | None = None,
    weights: Callable[[], Path] | None = None,
    *,
    adapter: Path | None = None,
) -> ModelFiles:
    """The model, in this dtype or the stored one. Raises MODEL_UNSUPPORTED, MODEL_LOAD_FAILED.

    With `weights`, as `load_directory` says; the result's path is then the one that the call gives. With `adapter`, the
    adapter in that directory is added to the model: `load_adapted` says how and what it raises.
    """
    processor = load_processor_directory(path)
    model = load_directory(path, dtype, weights) if adapter is None else load_adapted(path, adapter, dtype, weights)
    return ModelFiles(weights() if weights else path, architecture_of(path), model, processor)


def architecture_of(path: Path) -> str:
    """The model class that config.json names; empty where it names none. Raises MODEL_LOAD_FAILED."""
    config = read_json(path / "config.json")
    names: Any = cast(dict[str, Any], config).get("architectures") if isinstance(config, dict) else None
    return str(cast(list[Any], names)[0]) if isinstance(names, list) and names else ""
