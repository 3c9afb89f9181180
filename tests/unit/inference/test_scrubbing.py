"""The worker's scrubbing of its node cache: in idle times, and never in the way of its end."""

import asyncio
from pathlib import Path

import pytest

from modelzoo.cache import NodeCache
from support.cache_process import BLOB, Source, content_of, file_of
from support.waiting import eventually
from zoo_inference.scrubbing import Scrubber


@pytest.fixture
def cache(tmp_path: Path) -> NodeCache:
    cache = NodeCache(tmp_path, 1 << 40)
    for seed in (1, 2):
        content = content_of(seed, BLOB)
        with cache.hold(file_of(content), Source(content)):
            pass
    return cache


async def test_damaged_files_are_removed_while_the_worker_is_idle(cache: NodeCache):
    path = cache.root / "files" / cache.files()[0]
    path.chmod(0o600)
    path.write_bytes(b"x" * BLOB)
    assert await Scrubber(cache, lambda: True, every_s=-1).scrub() == [path.name]
    assert len(cache.files()) == 1


async def test_scrubbing_waits_for_a_busy_worker_and_ends_with_it(cache: NodeCache):
    asked: list[bool] = []
    scrubbing = asyncio.create_task(Scrubber(cache, lambda: bool(asked.append(True)), every_s=-1).run())

    async def is_waiting() -> bool:
        return bool(asked)

    await eventually(is_waiting)
    scrubbing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(scrubbing, 30)
    assert (cache.root / "scrub").read_bytes() == b""
