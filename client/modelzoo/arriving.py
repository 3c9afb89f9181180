"""A version's files while they come in: the small ones first, so that whoever loads it need not wait to begin."""

import glob
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from modelzoo.cache import NodeCache
from modelzoo.manifest import File
from modelzoo.progress import Silence
from modelzoo.pull import get_manifest, hold
from modelzoo.tensor_index import is_safetensors

__all__ = ["Arriving", "hold_arriving"]

EARLY_BYTES_MAX = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Arriving:
    """`early` is a directory with all of the version's files but its weights. `whole()` waits for the one with all, and
    raises what bringing them raises."""

    early: Path
    whole: Callable[[], Path]


@contextmanager
def hold_arriving(
    channel: grpc.Channel, cache: NodeCache, namespace: str, manifest_digest: str, name: str = ""
) -> Generator[Arriving]:
    """The version's files, on their way or in the cache already, kept for the length of the block.

    Raises what `hold` raises. At the end of the block what is still coming is broken off, and waited for: that may
    block for a moment.
    """
    manifest = get_manifest(channel, namespace, manifest_digest)
    with ExitStack() as stack:
        wanted = _Wanted()

        def whole() -> Path:
            holding = hold(channel, cache, namespace, manifest_digest, wanted, name=name, manifest=manifest)
            return stack.enter_context(holding)

        early = [file for file in manifest.files if _is_early(file)]
        if not early or all(map(cache.has, manifest.files)):
            path = whole()
            yield Arriving(path, lambda: path)
            return
        chosen = [glob.escape(file.path) for file in early]
        with (
            hold(channel, cache, namespace, manifest_digest, only=chosen, manifest=manifest) as path,
            ThreadPoolExecutor(1, thread_name_prefix="zoo-arriving") as executor,
        ):
            coming = executor.submit(whole)
            try:
                yield Arriving(path, coming.result)
            finally:
                wanted.no_more = True


class _Abandoned(Exception):
    """Ends a pull from within."""


class _Wanted(Silence):
    """A Progress that ends the pull at its next chunk, once nobody wants it any more."""

    no_more = False

    def advance(self, count_bytes: int) -> None:
        if self.no_more and count_bytes > 0:
            raise _Abandoned


def _is_early(file: File) -> bool:
    return not is_safetensors(file) and file.size <= EARLY_BYTES_MAX
