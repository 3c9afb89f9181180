"""Writing and reading 512 MiB: the zoo through its gateway, against tuned boto3 straight to the same S3, in turn.

boto3 sends and fetches one object in parts of 64 MiB on two threads; it verifies nothing. The zoo
hashes every byte twice on the way in (BLAKE3 by blob, SHA-256 by file) and again on the way out.
"""

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import numpy
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from benchmarks.cluster import Cluster, start_cluster
from benchmarks.report import Table
from modelzoo.cache import NodeCache
from modelzoo.channel import open_channel
from modelzoo.client import Client
from modelzoo.pull import pull

__all__ = ["PARTS", "measure", "s3_client"]

ROUNDS = 3
MIB = 1024 * 1024
PARTS = TransferConfig(multipart_threshold=64 * MIB, multipart_chunksize=64 * MIB, max_concurrency=2)


async def measure(*, tiny: bool) -> list[Table]:
    return await asyncio.to_thread(_measure, 1 if tiny else ROUNDS, 4 * MIB if tiny else 512 * MIB)


def _measure(rounds: int, size_bytes: int) -> list[Table]:
    seconds: dict[str, list[float]] = {name: [] for name in ("push", "boto3 upload", "pull", "boto3 download")}
    with start_cluster() as cluster, tempfile.TemporaryDirectory() as scratch, Client(cluster.url, cluster.key) as zoo:
        zoo.create_namespace("bench")
        s3 = s3_client(cluster)
        s3.create_bucket(Bucket="bench")
        for number in range(rounds):
            directory = Path(scratch) / "model"
            _write(directory / "weights.bin", size_bytes, seed=number)
            seconds["push"].append(_timed(lambda d=directory: zoo.push(d, "bench/bytes")))
            upload = str(directory / "weights.bin")
            seconds["boto3 upload"].append(
                _timed(lambda u=upload, n=number: s3.upload_file(u, "bench", str(n), Config=PARTS))
            )
            seconds["pull"].append(_timed(lambda n=number: _pull(cluster, zoo, Path(scratch) / f"cache-{n}")))
            target = str(Path(scratch) / "downloaded")
            seconds["boto3 download"].append(
                _timed(lambda t=target, n=number: s3.download_file("bench", str(n), t, Config=PARTS))
            )
            shutil.rmtree(Path(scratch) / f"cache-{number}")
    rate = {name: size_bytes / 1e6 / statistics.median(times) for name, times in seconds.items()}
    rows = [
        (what, f"{rate[ours]:.0f}", f"{rate[theirs]:.0f}", f"{rate[ours] / rate[theirs]:.2f}")
        for what, ours, theirs in (("write", "push", "boto3 upload"), ("read", "pull", "boto3 download"))
    ]
    explanation = f"{size_bytes // MIB} MiB of random bytes in one file, median of {rounds} rounds. " + " ".join(
        (__doc__ or "").split("\n\n")[1].split()
    )
    return [Table("bytes", "Writing and reading bytes", explanation, ("", "zoo MB/s", "boto3 MB/s", "ratio"), rows)]


def _pull(cluster: Cluster, zoo: Client, cache: Path) -> None:
    version = zoo.version("bench/bytes")
    with open_channel(cluster.url, cluster.key) as channel:
        pull(channel, NodeCache(cache, 1 << 40), "bench", version.manifest_digest)


def s3_client(cluster: Cluster) -> Any:
    access_key, secret_key = cluster.s3_keys
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{cluster.ports()['seaweedfs.s3']}",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
    )


def _write(path: Path, size_bytes: int, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(numpy.random.default_rng(seed).bytes(size_bytes))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
