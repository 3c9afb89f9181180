"""From S3 to the first token of a GPT-2 (124M, float32, seeded weights), interpreter and torch warm.

Each round is timed from an empty folder to the first token. The zoo goes through its gateway, verifies every byte and
keeps the files in a node cache; boto3 downloads the same files from the same S3, verifies nothing, and transformers'
`from_pretrained` loads them: with boto3's settings as they come, and in parts of 64 MiB on two threads. With a warm
node cache the zoo checks that the files are those that it verified; beside it, the same process maps and assigns the
same files and checks nothing. Version 8 is version 7 with one hundredth of its bytes changed.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from boto3.s3.transfer import TransferConfig
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging as transformers_logging

from benchmarks.bytes_moved import PARTS, s3_client
from benchmarks.cluster import Cluster, start_cluster
from benchmarks.report import Table
from modelzoo.arriving import hold_arriving
from modelzoo.cache import NodeCache
from modelzoo.channel import open_channel
from modelzoo.client import Client
from modelzoo.loading import load_directory
from modelzoo.pull import pull_version
from zoo_inference.pages import touch_pages

__all__ = ["measure"]

ROUNDS = 7
ROOMY = 1 << 40
CHANGED = ("h.3.attn.c_proj.weight", "h.7.attn.c_proj.weight")  # 4.7 MB of 475
FILES = ("config.json", "generation_config.json", "model.safetensors")
PROMPT = torch.tensor([[464, 3139, 286, 4881, 318]])


async def measure(*, tiny: bool) -> list[Table]:
    return await asyncio.to_thread(_measure, tiny)


def _measure(tiny: bool) -> list[Table]:
    transformers_logging.disable_progress_bar()
    rounds = 1 if tiny else ROUNDS
    seconds: dict[str, list[float]] = {name: [] for name in ("zoo", "boto3", "tuned", "warm", "unchecked")}
    with (
        start_cluster() as cluster,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        Client(cluster.url, cluster.key) as zoo,
    ):
        os.environ["ZOO_CACHE"] = str(Path(scratch) / "pushing")
        original = Path(scratch) / "original"
        size_bytes = _publish(cluster, zoo, original, tiny=tiny)
        _zoo(cluster, zoo, Path(scratch) / "warm")  # everything is imported and the cache full from here on
        for number in range(rounds):
            folder = Path(scratch) / str(number)
            seconds["zoo"].append(_timed(lambda f=folder: _zoo(cluster, zoo, f / "zoo")))
            seconds["boto3"].append(_timed(lambda f=folder: _boto3(cluster, f / "boto3", TransferConfig())))
            seconds["tuned"].append(_timed(lambda f=folder: _boto3(cluster, f / "tuned", PARTS)))
            seconds["warm"].append(_timed(lambda: _zoo(cluster, zoo, Path(scratch) / "warm")))
            seconds["unchecked"].append(_timed(lambda: _unchecked(original)))
        received = _version_8(cluster, zoo, original, Path(scratch) / "warm")
    took = {name: statistics.median(times) for name, times in seconds.items()}
    rows = [
        _row("empty node cache", "boto3 as it comes, from_pretrained", took["zoo"], took["boto3"], "<= 0.45"),
        _row("empty node cache", "boto3 tuned, from_pretrained", took["zoo"], took["tuned"], "<= 0.7"),
        _row("warm node cache", "mapped and assigned, no checks", took["warm"], took["unchecked"], "<= 1.1"),
    ]
    share = received / size_bytes
    bytes_row = ("version 8 beside 7", f"{received / 1e6:.1f} MB", "all of it", f"{size_bytes / 1e6:.1f} MB")
    explanation = f"{size_bytes / 1e6:.0f} MB, median of {rounds} rounds. " + " ".join(
        (__doc__ or "").split("\n\n")[1].split()
    )
    columns = ("", "zoo", "against", "takes", "ratio", "to reach")
    return [
        Table(
            "first-token",
            "From S3 to the first token",
            explanation,
            columns,
            [*rows, (*bytes_row, f"{share:.3f}", "<= 0.03")],
        )
    ]


def _publish(cluster: Cluster, zoo: Client, original: Path, *, tiny: bool) -> int:
    """Version 7 in the zoo, and the same files in a bucket; their size."""
    torch.manual_seed(0)
    shape = {"n_embd": 64, "n_head": 2} if tiny else {}
    GPT2LMHeadModel(GPT2Config(**shape)).eval().save_pretrained(original)
    zoo.create_namespace("bench")
    size_bytes = zoo.push(original, "bench/gpt2").bytes_total
    s3 = s3_client(cluster)
    s3.create_bucket(Bucket="first-token")
    for name in FILES:
        s3.upload_file(str(original / name), "first-token", name)
    return size_bytes


def _zoo(cluster: Cluster, zoo: Client, folder: Path) -> None:
    with open_channel(cluster.url, cluster.key) as channel:
        version = zoo.version("bench/gpt2")
        cache = NodeCache(folder, ROOMY)
        with hold_arriving(channel, cache, "bench", version.manifest_digest) as arriving:
            model = load_directory(arriving.early, weights=arriving.whole)
            touch_pages(model)
            _token(model)


def _boto3(cluster: Cluster, folder: Path, config: TransferConfig) -> None:
    folder.mkdir(parents=True)
    s3 = s3_client(cluster)
    for name in FILES:
        s3.download_file("first-token", name, str(folder / name), Config=config)
    _token(GPT2LMHeadModel.from_pretrained(folder))


def _unchecked(folder: Path) -> None:
    config = GPT2Config.from_pretrained(folder)
    made: Any = GPT2LMHeadModel
    _token(made.from_pretrained(None, config=config, state_dict=load_file(folder / "model.safetensors")))


def _token(model: Any) -> int:
    with torch.inference_mode():
        return int(model(PROMPT).logits[0, -1].argmax())


def _version_8(cluster: Cluster, zoo: Client, original: Path, cache: Path) -> int:
    """Bytes that a node with version 7 receives for version 8."""
    model = GPT2LMHeadModel.from_pretrained(original)
    with torch.no_grad():
        for name in CHANGED:
            model.transformer.get_parameter(name).mul_(1.01)
    model.save_pretrained(original)
    zoo.push(original, "bench/gpt2")
    with open_channel(cluster.url, cluster.key) as channel:
        return pull_version(channel, NodeCache(cache, ROOMY), zoo.version("bench/gpt2")).bytes_received


def _row(what: str, against: str, ours_s: float, theirs_s: float, goal: str) -> tuple[str, str, str, str, str, str]:
    return what, f"{ours_s:.3f} s", against, f"{theirs_s:.3f} s", f"{ours_s / theirs_s:.2f}", goal


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
