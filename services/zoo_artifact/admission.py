"""What a manifest's content must be before it becomes visible: read from the stored blobs, not believed.

Paths, duplicates and sizes are checked by `Manifest` itself. Here: every file is cut as the cut says, every
safetensors and GGUF header is right, and nothing is or holds what runs code where it is loaded.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from modelzoo.cut import cut_file
from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.gguf_header import check_gguf
from modelzoo.manifest import Blob, File, Manifest
from modelzoo.safetensors_header import HEADER_BYTES_MAX
from modelzoo.sniff import danger_in
from zoo_artifact.policies import Policy
from zoo_artifact.storage import Storage
from zoo_artifact.stored_file import StoredFile

__all__ = ["admit"]

FILES_AT_ONCE = 4
# Of one file: as much as a header may have, and enough of an archive to tell people what they are pushing.
LOOK_BYTES = HEADER_BYTES_MAX + 1024 * 1024


async def admit(manifest: Manifest, storage: Storage, policy: Policy) -> None:
    """Return if the content may become visible where `policy` holds; its blobs are stored.

    Raises MANIFEST_INVALID, SAFETENSORS_INVALID, GGUF_INVALID, and, unless the policy takes them, PICKLE_REFUSED,
    ARCHIVE_UNSAFE, CODE_REFUSED; each names the first file at fault. Raises DataLoss BLOB_CORRUPT with the blob's
    `digest` where a blob is damaged: a verdict over damaged bytes is none.
    """
    looked_at: set[Blob] = set()
    try:
        await _check_files(manifest, storage, policy, looked_at)
    except (InvalidArgument, FailedPrecondition):
        for blob in list(looked_at):
            await storage.check_blob(blob)
        raise


async def _check_files(manifest: Manifest, storage: Storage, policy: Policy, looked_at: set[Blob]) -> None:
    takes_danger = policy.takes_danger(manifest)
    loop = asyncio.get_running_loop()
    # Threads of its own: parsers wait for the object store in them.
    threads = ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="admit")
    try:
        checks = [
            loop.run_in_executor(
                threads,
                _check_file,
                file,
                # Each look has its own limit.
                lambda file=file: StoredFile(file, storage, loop, LOOK_BYTES, looked_at).open(),
                takes_danger,
            )
            for file in manifest.files
        ]
        for check in checks:
            await check
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _check_file(file: File, opened: Callable[[], BinaryIO], takes_danger: bool) -> None:
    danger = danger_in(file.path, opened)
    if danger is not None and not takes_danger:
        raise danger
    with opened() as content:
        segments = cut_file(file.path, content, file.size)
        if [segment.length for segment in segments] != [blob.size for blob in file.blobs]:
            raise InvalidArgument(
                "MANIFEST_INVALID",
                f"Not a valid manifest: the blobs of {file.path!a} are not where the cut tensor/1 divides it; cut the "
                "file again.",
                metadata={"path": file.path},
            )
    if file.path.lower().endswith(".gguf"):
        with opened() as content:
            check_gguf(file.path, content, file.size)
