"""What a pretrained network is worth: MiniLM on definitions, beside the same from scratch, and beside word counts."""

import asyncio
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attempted import attempt
from benchmarks.made_up import TINY_BERT, made_up_texts, write_encoder, write_rows
from benchmarks.report import Table
from zoo_starters import wordnet
from zoo_starters.command import WORK
from zoo_starters.minilm import MINILM
from zoo_starters.starter import build

__all__ = ["measure"]

SIZES = (100, 500, 2_000, 10_000)
SEEDS = (1, 2, 3, 4, 5)
STEPS, BATCH_SIZE, LEARNING_RATE, MAX_LENGTH = 150, 16, 5e-4, 32
HELD_OUT = 1_000
AT_ONCE = 2  # with one thread each
# Student's t for a 95 % interval of the mean of five.
T_OF_FIVE = 2.776
PRETRAINED, SCRATCH, COUNTS = "MiniLM", "from scratch", "TF-IDF"

Rows = Sequence[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Run:
    """One training's accuracy on the held-out definitions, and the seconds that it took."""

    accuracy: float
    seconds: float


async def measure(*, tiny: bool) -> list[Table]:
    return [await asyncio.to_thread(_measure, tiny)]


def _measure(tiny: bool) -> Table:
    sizes, seeds, steps = ((24,), (1,), 2) if tiny else (SIZES, SEEDS, STEPS)
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as scratch:
        folder = Path(scratch)
        train, held_out = (made_up_texts(48, 8, 0), made_up_texts(16, 8, 1)) if tiny else _definitions()
        pretrained = write_encoder(folder / "pretrained", TINY_BERT) if tiny else build(MINILM, WORK)
        runs: dict[tuple[str, int], list[Run]] = {}
        with ThreadPoolExecutor(AT_ONCE) as executor:
            training = {}
            for seed in seeds:
                fresh = _redrawn(pretrained, folder / f"fresh-{seed}", seed)
                for size in sizes:
                    drawn = random.Random(seed).sample(list(train), size)
                    data = write_rows(folder / f"data-{size}-{seed}", train=drawn, test=held_out)
                    for name, base in ((PRETRAINED, pretrained), (SCRATCH, fresh)):
                        training[name, size, seed] = executor.submit(_train, base, data, steps, seed)
            for (name, size, _), future in training.items():
                runs.setdefault((name, size), []).append(future.result())
        # Alone, when nothing else is trained.
        for seed in seeds:
            for size in sizes:
                drawn = random.Random(seed).sample(list(train), size)
                runs.setdefault((COUNTS, size), []).append(_count_words(drawn, held_out))
    return _table(sizes, runs, _commonest(train, held_out), len(held_out))


def _definitions() -> tuple[Rows, Rows]:
    packages = WORK / "packages"
    held_out = wordnet.held_out_definitions(packages)
    chosen = random.Random(0).sample(held_out, HELD_OUT)
    train, test = (
        [{"text": each.text, "label": wordnet.TOPICS[each.topic]} for each in definitions]
        for definitions in (wordnet.training_definitions(packages), chosen)
    )
    return train, test


def _redrawn(pretrained: Path, folder: Path, seed: int) -> Path:
    """The same network and tokenizer with weights drawn from the seed."""
    import torch
    from transformers import AutoConfig, AutoModel

    shutil.copytree(pretrained, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.manual_seed(seed)
    AutoModel.from_config(AutoConfig.from_pretrained(pretrained)).save_pretrained(folder)
    return folder


def _train(base: Path, data: Path, steps: int, seed: int) -> Run:
    parameters = {"batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE, "max_length": MAX_LENGTH}
    done = attempt("text-classification", base, data, steps=steps, seed=seed, threads=1, parameters=parameters)
    return Run(done.after["accuracy"], done.loop_s)


def _count_words(train: Rows, held_out: Rows) -> Run:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    begun = time.monotonic()
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=1_000)
    )
    model.fit([row["text"] for row in train], [row["label"] for row in train])
    seconds = time.monotonic() - begun
    return Run(model.score([row["text"] for row in held_out], [row["label"] for row in held_out]), seconds)


def _commonest(train: Rows, held_out: Rows) -> float:
    label = statistics.mode(row["label"] for row in train)
    return sum(row["label"] == label for row in held_out) / len(held_out)


def _table(sizes: Sequence[int], runs: dict[tuple[str, int], list[Run]], commonest: float, held_out: int) -> Table:
    mean = {key: statistics.mean(run.accuracy for run in some) for key, some in runs.items()}
    wins = [f"{size:,}" for size in sizes if mean[COUNTS, size] > mean[PRETRAINED, size]]
    where = f"TF-IDF is ahead of MiniLM with {' and '.join(wins)} rows" if wins else "TF-IDF is nowhere ahead of MiniLM"
    columns = ["rows"]
    for name in (PRETRAINED, SCRATCH, COUNTS):
        columns += [f"{name}, accuracy", "s"]
    return Table(
        key="transfer",
        title="What a pretrained network is worth",
        explanation=f"all-MiniLM-L6-v2 by the recipe text-classification, all of it trained, on definitions of WordNet "
        f"with 26 topics: {STEPS} steps of {BATCH_SIZE} whatever the number of rows, a learning rate of "
        f"{LEARNING_RATE:g}, one thread, two trainings at a time. From scratch: the same network, recipe and settings, "
        "its weights drawn at random. TF-IDF: words and pairs of words, logistic regression, by scikit-learn. Accuracy "
        f"on the same {held_out:,} held-out definitions: the mean of {len(runs[COUNTS, sizes[0]])} seeds, each of "
        "which draws rows, order and new weights, and its 95 % interval; seconds of training alone. Always the "
        f"commonest topic: {commonest:.3f}. {where}; it takes a fraction of the time and looks at all of its rows, "
        f"where {STEPS} steps see {STEPS * BATCH_SIZE:,} at most.",
        columns=columns,
        rows=[
            (f"{size:,}", *(cell for name in (PRETRAINED, SCRATCH, COUNTS) for cell in _cells(runs[name, size])))
            for size in sizes
        ],
    )


def _cells(runs: Sequence[Run]) -> tuple[str, str]:
    accuracies = [run.accuracy for run in runs]
    half = T_OF_FIVE * statistics.stdev(accuracies) / len(runs) ** 0.5 if len(runs) > 1 else 0.0
    seconds = statistics.mean(run.seconds for run in runs)
    return f"{statistics.mean(accuracies):.3f} ± {half:.3f}", f"{seconds:.2f}" if seconds < 10 else f"{seconds:.0f}"
