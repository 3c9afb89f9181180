"""Writing and reading 1 GiB: the zoo, straight and through its service, against the fastest S3 clients, in turn.

Peers go straight to the same SeaweedFS with one object and verify nothing: boto3 with 64 MiB parts on two threads, and
s5cmd as it comes. (AWS's CRT, by boto3, refuses an endpoint with a port; it was slower than both where it ran.) The zoo
hashes every byte on the way in (BLAKE3 by blob, SHA-256 by file and blob), reads it back once, hashes it again on the
way out, and syncs what it read to the disk.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import numpy
import psutil
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from safetensors.numpy import save_file

from benchmarks.cluster import Cluster, start_cluster
from benchmarks.report import Table
from modelzoo import object_store
from modelzoo.cache import NodeCache
from modelzoo.channel import open_channel
from modelzoo.client import Client
from modelzoo.pull import pull
from zoo.artifact.v1 import artifact_service_pb2 as pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as rpc

__all__ = ["PARTS", "measure", "s3_client"]

ROUNDS = 3
MIB = 1024 * 1024
TENSORS = 100
READERS = 32
PARTS = TransferConfig(multipart_threshold=64 * MIB, multipart_chunksize=64 * MIB, max_concurrency=2)
PEERS = ("boto3", "s5cmd")


async def measure(*, tiny: bool) -> list[Table]:
    size_bytes = 8 * MIB if tiny else 1024 * MIB
    return await asyncio.to_thread(_measure, 1 if tiny else ROUNDS, size_bytes, 2 if tiny else READERS)


def _measure(rounds: int, size_bytes: int, readers: int) -> list[Table]:
    with (
        start_cluster() as cluster,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        Client(cluster.url, cluster.key) as zoo,
    ):
        zoo.create_namespace("bench")
        bench = _Bench(cluster, zoo, Path(scratch), size_bytes)
        for number in range(rounds):
            bench.round(number)
        rows = bench.rows()
        rows.append((f"memory, {readers} readers at once", f"{bench.memory_mib(readers)} MiB", "", "", ""))
    explanation = f"{size_bytes // MIB} MiB of random bytes, median of {rounds} rounds. " + " ".join(
        (__doc__ or "").split("\n\n")[1].split()
    )
    columns = ("", "zoo", "fastest peer", "which", "ratio")
    return [Table("bytes", "Writing and reading bytes", explanation, columns, rows)]


class _Bench:
    def __init__(self, cluster: Cluster, zoo: Client, scratch: Path, size_bytes: int) -> None:
        self._cluster = cluster
        self._zoo = zoo
        self._scratch = scratch
        self._size_bytes = size_bytes
        self._endpoint = f"http://127.0.0.1:{cluster.ports()['seaweedfs.s3']}"
        self._seconds: dict[str, list[float]] = {}
        self._shares: list[float] = []
        self._s3 = s3_client(cluster)
        self._s3.create_bucket(Bucket="bench")

    def round(self, number: int) -> None:
        model = self._scratch / "model"
        model.mkdir(exist_ok=True)
        file, target = model / "model.safetensors", str(self._scratch / "downloaded")
        _write(file, self._size_bytes, seed=number * 1000)
        for peer in PEERS:
            self._time(f"write {peer}", lambda peer=peer: self._send(peer, str(file), f"{peer}-{number}"))
        self._time("write", lambda: self._zoo.push(model, f"bench/direct-{number}"))
        for peer in PEERS:
            self._time(f"read {peer}", lambda peer=peer: self._fetch(peer, f"{peer}-{number}", target))
        self._time("read", lambda: self._pull(number))
        object_store.turn_off(self._endpoint)
        self._time("read through the service", lambda: self._pull(number))
        object_store.turn_on(self._endpoint)
        _write(file, self._size_bytes, seed=number * 1000, changed=TENSORS // 2)
        pushed: list[int] = []
        self._time("again", lambda: pushed.append(self._zoo.push(model, f"bench/direct-{number}").bytes_sent))
        self._shares.append(pushed[0] / self._size_bytes)
        _write(file, self._size_bytes, seed=number * 1000 + 500)
        object_store.turn_off(self._endpoint)
        self._time("write through the service", lambda: self._zoo.push(model, f"bench/stream-{number}"))
        object_store.turn_on(self._endpoint)

    def rows(self) -> list[Sequence[str]]:
        rate = {name: self._size_bytes / 1e6 / statistics.median(times) for name, times in self._seconds.items()}
        rows: list[Sequence[str]] = []
        for what in ("read", "read through the service", "write", "write through the service"):
            peer = max(PEERS, key=lambda name, what=what: rate[f"{what.split()[0]} {name}"])
            best = rate[f"{what.split()[0]} {peer}"]
            rows.append((what, f"{rate[what]:.0f} MB/s", f"{best:.0f} MB/s", peer, f"{rate[what] / best:.2f}"))
        share = f"{statistics.median(self._shares):.1%} of the bytes, {rate['write'] / rate['again']:.1%} of the time"
        rows.append(("push again, 1 % of the tensors changed", share, "", "", ""))
        return rows

    def memory_mib(self, readers: int) -> int:
        """Largest resident memory of the artifact service while so many read the model at once through it."""
        service = psutil.Process(self._cluster.pid("artifact"))
        digest = self._zoo.version("bench/direct-0").manifest_digest
        largest = 0
        with ThreadPoolExecutor(readers) as executor:
            reading = [executor.submit(self._read_all, digest) for _ in range(readers)]
            while not all(future.done() for future in reading):
                largest = max(largest, service.memory_info().rss)
                time.sleep(0.05)
            for future in reading:
                future.result()
        return largest // MIB

    def _read_all(self, digest: str) -> None:
        request = pb.ReadFileRequest(namespace="bench", manifest_digest=digest, path="model.safetensors")
        with open_channel(self._cluster.url, self._cluster.key) as channel:
            for _ in rpc.ArtifactServiceStub(channel).ReadFile(request):
                pass

    def _pull(self, number: int) -> None:
        cache = self._scratch / "cache"
        version = self._zoo.version(f"bench/direct-{number}")
        with open_channel(self._cluster.url, self._cluster.key) as channel:
            pull(channel, NodeCache(cache, 1 << 40), "bench", version.manifest_digest)
        # The cache syncs large files beside their use, and writes that down.
        shutil.rmtree(cache, ignore_errors=True)

    def _send(self, peer: str, path: str, key: str) -> None:
        if peer == "s5cmd":
            self._s5cmd("cp", path, f"s3://bench/{key}")
        else:
            self._s3.upload_file(path, "bench", key, Config=PARTS)

    def _fetch(self, peer: str, key: str, path: str) -> None:
        if peer == "s5cmd":
            self._s5cmd("cp", f"s3://bench/{key}", path)
        else:
            self._s3.download_file("bench", key, path, Config=PARTS)

    def _s5cmd(self, *words: str) -> None:
        access_key, secret_key = self._cluster.s3_keys
        keys = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key, "AWS_REGION": "us-east-1"}
        s5cmd = str(Path(sys.executable).with_name("s5cmd"))
        argv = [s5cmd, "--endpoint-url", self._endpoint, *words]
        subprocess.run(argv, check=True, capture_output=True, env={**os.environ, **keys})

    def _time(self, name: str, work: Callable[[], object]) -> None:
        started = time.perf_counter()
        work()
        self._seconds.setdefault(name, []).append(time.perf_counter() - started)


def s3_client(cluster: Cluster) -> Any:
    """boto3 on the cluster's own S3."""
    access_key, secret_key = cluster.s3_keys
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{cluster.ports()['seaweedfs.s3']}",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _write(path: Path, size_bytes: int, seed: int, changed: int | None = None) -> None:
    """A safetensors file of TENSORS equal tensors of noise, of which one may be `changed`."""
    tensors: dict[str, numpy.ndarray] = {}
    for number in range(TENSORS):
        source = numpy.random.default_rng(seed + number + (TENSORS if number == changed else 0))
        tensors[f"{number:03}"] = numpy.frombuffer(source.bytes(size_bytes // TENSORS // 4 * 4), dtype=numpy.float32)
    save_file(tensors, path)
