"""The script that people write around transformers' Trainer: a model, a dataset, a few arguments.

python -m benchmarks.trainer_script KIND BASE DATA OUT STEPS BATCH SAVE    prints seconds and bytes as JSON

KIND: `classify` trains all of an encoder and its new head, `probe` the head alone, `write` all of a language model,
and `lora` a LoRA adapter of it. SAVE is how many steps lie between checkpoints.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

LORA_RANK, LORA_ALPHA = 16, 32
MAX_LENGTH = 128


def main(kind: str, base: Path, data: Path, out: Path, steps: int, batch_size: int, save_steps: int) -> None:
    begun = time.monotonic()
    torch.manual_seed(42)
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    splits = {name: _rows(data / f"{name}.jsonl") for name in ("train", "test")}
    labels = sorted({row["label"] for row in splits["train"]})
    if kind in ("classify", "probe"):
        model: Any = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels))
        collate: Any = DataCollatorWithPadding(tokenizer)
    else:
        model = AutoModelForCausalLM.from_pretrained(base)
        collate = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    if kind == "probe":
        model.base_model.requires_grad_(False)
    if kind == "lora":
        model = _with_lora(model)
    examples = {
        name: [
            {**tokenizer(row["text"], truncation=True, max_length=MAX_LENGTH)}
            | ({"label": labels.index(row["label"])} if kind in ("classify", "probe") else {})
            for row in rows
        ]
        for name, rows in splits.items()
    }
    trainer = Trainer(
        model,
        TrainingArguments(
            output_dir=str(out),
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=batch_size,
            learning_rate=5e-5,
            weight_decay=0.01,
            warmup_steps=steps // 10,
            max_grad_norm=1.0,
            logging_steps=10,
            save_steps=save_steps,
            report_to=[],
            disable_tqdm=True,
            seed=42,
            use_cpu=not torch.cuda.is_available(),
        ),
        train_dataset=examples["train"],
        eval_dataset=examples["test"],
        data_collator=collate,
    )
    # Measured before and after, as the recipe does.
    trainer.evaluate()
    trained = trainer.train()
    trainer.evaluate()
    trainer.save_model(str(out / "result"))
    folders = [folder for folder in out.glob("checkpoint-*") if int(folder.name.partition("-")[2]) < steps]
    sizes = [sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) for folder in folders]
    said = {"loop_s": trained.metrics["train_runtime"], "whole_s": time.monotonic() - begun, "checkpoints": sizes}
    print(json.dumps(said))


def _with_lora(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    wanted = LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules="all-linear", fan_in_fan_out=True)
    return get_peft_model(model, wanted)


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    kind, base, data, out, *numbers = sys.argv[1:]
    main(kind, Path(base), Path(data), Path(out), *map(int, numbers))
