"""What a checkpoint of a training costs to send, beside the folder that transformers' Trainer writes."""

import asyncio
import statistics
import tempfile
from pathlib import Path

from benchmarks.cluster import start_cluster
from benchmarks.made_up import TINY_BERT, TINY_GPT2, made_up_texts, write_encoder, write_gpt2, write_rows
from benchmarks.report import Table
from benchmarks.trained import train
from benchmarks.trainer_peer import run_script
from modelzoo.client import Client
from modelzoo.training_records import Budget, JobSpec, ParameterValue

__all__ = ["measure"]

STEPS, BATCH_SIZE, WORDS = 3, 2, 14


async def measure(*, tiny: bool) -> list[Table]:
    return [await asyncio.to_thread(_measure, tiny)]


def _measure(tiny: bool) -> Table:
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as scratch, start_cluster() as cluster:
        bert = write_encoder(Path(scratch) / "bert", TINY_BERT if tiny else None)
        gpt2 = write_gpt2(Path(scratch) / "gpt2", TINY_GPT2 if tiny else None)
        texts = made_up_texts(24, WORDS, 0), made_up_texts(8, WORDS, 1)
        data = write_rows(Path(scratch) / "data", train=texts[0], test=texts[1])
        with Client(cluster.url, cluster.key) as zoo:
            zoo.push(bert, "bench/bert", create_namespace=True)
            zoo.push(gpt2, "bench/gpt2")
            zoo.push(data, "bench/texts", format="dataset")
            probe = _sent(zoo, "bench/bert", "text-classification", {"freeze": "encoder"})
            rows.append(_row("a head over a frozen BERT-base", probe, _saved("probe", bert, data), "<= 60 %"))
            lora = _sent(zoo, "bench/gpt2", "causal-lm", {"method": "lora"})
        rows.append(_row("LoRA of a GPT-2, beside training all of it", lora, _saved("write", gpt2, data), "<= 2 %"))
        if not tiny:
            rows.append(_row("LoRA of a GPT-2, beside PEFT in the Trainer", lora, _saved("lora", gpt2, data), ""))
    return Table(
        key="checkpoints",
        title="Bytes of a checkpoint",
        explanation="GPT-2 (124 million parameters) by the recipe causal-lm with LoRA of rank 16, and BERT-base (110 "
        "million) by text-classification with a frozen encoder, as jobs in a cluster: bytes that a checkpoint sends to "
        "S3, with all that an exact resume needs. Beside them the folder that transformers' Trainer writes for the "
        "same model, optimizer state included; the Trainer writes frozen tensors each time, the recipes never. Mean of "
        f"the checkpoints of {STEPS} steps.",
        columns=("training", "a job sends", "the Trainer's folder", "share", "to reach"),
        rows=rows,
    )


def _sent(zoo: Client, base: str, recipe: str, parameters: dict[str, ParameterValue]) -> float:
    spec = JobSpec(
        base=base,
        dataset="bench/texts",
        output=f"{base}-made",
        recipe=recipe,
        parameters={**parameters, "batch_size": BATCH_SIZE, "checkpoint_steps": 1},
        budget=Budget(steps=STEPS),
    )
    return statistics.mean(checkpoint.sent_bytes for checkpoint in train(zoo, spec).checkpoints)


def _saved(kind: str, base: Path, data: Path) -> float:
    return statistics.mean(run_script(kind, base, data, steps=STEPS, batch_size=BATCH_SIZE, save_steps=1).checkpoints)


def _row(name: str, sent: float, saved: float, to_reach: str) -> tuple[str, ...]:
    return name, _bytes(sent), _bytes(saved), f"{sent / saved:.2%}", to_reach


def _bytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"
