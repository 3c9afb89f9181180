"""LoRA adapters of tiny models, as training would leave them."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from modelzoo.loading import load_directory

__all__ = ["lora_of"]


def lora_of(base: Path, folder: Path, *, seed: int = 1, **settings: Any) -> Path:
    """An adapter that changes every linear layer, unless the settings say otherwise."""
    torch.manual_seed(seed)
    chosen = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    adapted: Any = get_peft_model(load_directory(base, torch.float32), LoraConfig(**chosen))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_A" not in name and parameter.requires_grad:
                parameter += torch.randn(parameter.shape) * 0.05
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return folder
