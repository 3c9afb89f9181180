"""The commands of docs/reference/storage.md read a version out of a real bucket, with none of our code."""

import asyncio
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from modelzoo.client import Client
from support.servers import S3Server
from support.stranger_tools import stranger_path
from support.weights import weights
from support.zoo_in_process import zoo_in_process
from zoo_store.blobs import BlobStore, S3Credentials, open_blobs

PAGE = Path(__file__).parents[2] / "docs/reference/storage.md"
BLOCK = re.compile(r"^```sh bucket\n(.*?)^```", re.DOTALL | re.MULTILINE)
MIB = 1024 * 1024
# The page's tensor is the third: behind one that has blobs of its own, and between small ones.
SIZES = (33 * MIB, 100, 70_000, 2 * MIB)
TENSOR = slice(-(2 * MIB + 70_000), -2 * MIB)
FILES = {
    "model.safetensors": weights(*SIZES),
    "config.json": b'{"model_type": "bert"}',
    "a/b c.txt": b"x",
    "empty": b"",
}


@pytest.fixture
def bucket(s3_server: S3Server, s3_url: str) -> Iterator[BlobStore]:
    """SeaweedFS, on an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()
    opened = stack.enter_async_context(open_blobs(s3_url, S3Credentials(s3_server.access_key, s3_server.secret_key)))
    try:
        yield asyncio.run_coroutine_threadsafe(opened, loop).result(30)
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def run(script: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture
def stranger(s3_server: S3Server, s3_url: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tools").mkdir()
    return {
        **stranger_path(tmp_path / "tools"),
        "AWS_ENDPOINT_URL": s3_server.endpoint,
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "at": s3_url.partition("?")[0],
        "namespace": "team",
        "file": "model.safetensors",
        "tensor": "t2",
    }


def test_a_stranger_reads_a_version_byte_for_byte(
    bucket: BlobStore, stranger: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for folder in ("services", "by-hand"):
        (tmp_path / folder).mkdir()
    for path, content in FILES.items():
        (tmp_path / "model" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / path).write_bytes(content)
    with zoo_in_process(tmp_path / "services", store=bucket) as door, Client(door.url, "admin-key") as client:
        client.create_namespace("team")
        digest = client.push(tmp_path / "model", "team/model").digest
    manifest, file, tensor = BLOCK.findall(PAGE.read_text())
    rebuilt = tmp_path / "by-hand"
    done = run(f"{manifest}\n{file}\n{tensor}", rebuilt, stranger)
    assert done.returncode == 0, done.stderr
    assert digest in done.stdout
    assert all(path in done.stdout for path in FILES)
    assert (rebuilt / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert (rebuilt / "t2.bin").read_bytes() == FILES["model.safetensors"][TENSOR]

    # And a blob that is not what its name says is noticed by them.
    blob = (rebuilt / "needed.txt").read_text().split()[0]
    other = run(f"head -c 1000 /dev/zero | aws s3 cp --quiet - $at/blobs/{blob[:2]}/{blob}", rebuilt, stranger)
    assert other.returncode == 0, other.stderr
    assert "FAILED" in run(f"m=$(cat manifests.txt)\n{tensor}", rebuilt, stranger).stdout
