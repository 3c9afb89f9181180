"""A job of the recipe text-classification beside a script around transformers' Trainer with the same settings."""

import asyncio
import statistics
import tempfile
from pathlib import Path

from benchmarks.cluster import start_cluster
from benchmarks.made_up import TINY_BERT, made_up_texts, write_encoder, write_rows
from benchmarks.report import Table
from benchmarks.trained import Trained, train
from benchmarks.trainer_peer import Scripted, run_script
from modelzoo.client import Client
from modelzoo.training_records import Budget, JobSpec

__all__ = ["measure"]

ROUNDS = 2
STEPS, BATCH_SIZE, SAVE_STEPS = 200, 8, 120
WORDS = 30  # and two marks: 32 tokens
TRAIN_ROWS, TEST_ROWS = 1_600, 64
TO_REACH = "<= 1.05"


async def measure(*, tiny: bool) -> list[Table]:
    return [await asyncio.to_thread(_measure, tiny)]


def _measure(tiny: bool) -> Table:
    rounds, steps, save_steps = (1, 4, 3) if tiny else (ROUNDS, STEPS, SAVE_STEPS)
    ours: list[Trained] = []
    scripts: list[Scripted] = []
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as scratch, start_cluster() as cluster:
        base = write_encoder(Path(scratch) / "base", TINY_BERT if tiny else None)
        train_rows = made_up_texts(32 if tiny else TRAIN_ROWS, WORDS, 0)
        data = write_rows(Path(scratch) / "data", train=train_rows, test=made_up_texts(TEST_ROWS, WORDS, 1))
        with Client(cluster.url, cluster.key) as zoo:
            zoo.push(base, "bench/encoder", create_namespace=True)
            zoo.push(data, "bench/texts", format="dataset")
            spec = JobSpec(
                base="bench/encoder",
                dataset="bench/texts",
                output="bench/made",
                recipe="text-classification",
                parameters={"batch_size": BATCH_SIZE, "checkpoint_steps": save_steps},
                budget=Budget(steps=steps),
            )
            # In turns, so that whatever else the machine does falls on both.
            for _ in range(rounds):
                ours.append(train(zoo, spec))
                scripts.append(
                    run_script("classify", base, data, steps=steps, batch_size=BATCH_SIZE, save_steps=save_steps)
                )
    return Table(
        key="recipe-overhead",
        title="What a recipe adds to training",
        explanation=f"BERT-base (110 million parameters, random weights), {steps} steps of {BATCH_SIZE} texts of "
        f"{WORDS + 2} tokens, two threads; median of {rounds} rounds, in turns with a script around transformers' "
        f"Trainer with the same settings, which logs every tenth step and saves at step {save_steps} as the job does. "
        "The job is a whole one: a cluster is up beside it, events go through the agent to SQLite every second, and "
        "the checkpoint is pushed to S3, which the script's is not. The steps: the loop alone, checkpoint included. "
        "The whole: from CreateJob to the published version, fetching, measuring before and after, card and push "
        "included; of the script, which measures before and after too, from its start to its end.",
        columns=("", "job, s", "script, s", "ratio", "to reach"),
        rows=[
            _row("the steps", [each.loop_s for each in ours], [each.loop_s for each in scripts], TO_REACH),
            _row("the whole", [each.whole_s for each in ours], [each.whole_s for each in scripts], ""),
        ],
    )


def _row(name: str, ours: list[float], scripts: list[float], to_reach: str) -> tuple[str, ...]:
    job_s, script_s = statistics.median(ours), statistics.median(scripts)
    return name, f"{job_s:.1f}", f"{script_s:.1f}", f"{job_s / script_s:.3f}", to_reach
