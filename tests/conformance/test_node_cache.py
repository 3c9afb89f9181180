"""What the node cache promises, one test for each promise. What can go wrong besides is in tests/unit/core."""

import json
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from modelzoo.cache import SYNC_LATER_BYTES, NodeCache
from modelzoo.cache_contents import CacheContents
from modelzoo.cache_scrub import scrub_when_due
from modelzoo.errors import NotFound, ResourceExhausted
from modelzoo.manifest import File, Manifest
from modelzoo.progress import Silence
from support.cache_process import BLOB, Source, content_of, file_of
from support.waiting import eventually

TESTS = Path(__file__).parents[1]
ROOMY = 1 << 40
BLOBS = 100
SEVEN = content_of(7, BLOBS * BLOB)
EIGHT = SEVEN[: 40 * BLOB] + content_of(8, BLOB) + SEVEN[41 * BLOB :]


def version(content: bytes, *others: File) -> Manifest:
    return Manifest.of("transformers", [file_of(content, "weights.bin"), *others])


def keep(cache: NodeCache, content: bytes, name: str = "") -> Source:
    source = Source(content)
    with cache.snapshot(version(content), source, name):
        return source


@contextmanager
def another_process(root: Path, seed: int, size: int, *options: object) -> Iterator[subprocess.Popen[str]]:
    words = [root / "cache", ROOMY, root / "log", seed, size, *options]
    command = [sys.executable, "-m", "support.cache_process", *map(str, words)]
    environ = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def damage(path: Path) -> None:
    """Change a byte and hide that: the record says that the file was verified like this."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(b"\x00\x01\x02\x03")
    status = path.stat()
    stamp = {"size": status.st_size, "inode": status.st_ino, "mtime_ns": status.st_mtime_ns}
    (path.parents[1] / "records" / path.name).write_text(json.dumps(stamp | {"ctime_ns": status.st_ctime_ns}))


def test_one_download_per_file_for_all_processes_of_a_node(tmp_path: Path):
    with another_process(tmp_path, 1, 4 * BLOB) as first, another_process(tmp_path, 1, 4 * BLOB) as second:
        assert [says(first), says(second)] == ["held", "held"]
    content = content_of(1, 4 * BLOB)
    with NodeCache(tmp_path / "cache", ROOMY).hold(file_of(content), lambda part: pytest.fail("it was fetched")):
        assert len((tmp_path / "log").read_text().split()) == 4


def test_locks_die_with_their_holder_and_what_it_fetched_is_used(tmp_path: Path):
    content = content_of(1, 4 * BLOB)
    with another_process(tmp_path, 1, 4 * BLOB, "--stall-after", 3) as process:
        assert says(process) == "stalled"
        process.kill()
        source = Source(content)
        with NodeCache(tmp_path / "cache", ROOMY).hold(file_of(content), source):
            assert source.served == [3 * BLOB]


def test_the_budget_holds_and_the_least_recently_used_leaves(tmp_path: Path):
    cache = NodeCache(tmp_path, 2 * BLOB)
    for seed in (1, 2, 3):
        keep(cache, content_of(seed, BLOB))
    assert sum(path.stat().st_size for path in (tmp_path / "files").iterdir()) == 2 * BLOB
    assert file_of(content_of(1, BLOB)).sha256 not in cache.files()


def test_what_is_held_and_mapped_is_never_evicted(tmp_path: Path):
    content = content_of(1, 2 * BLOB)
    cache = NodeCache(tmp_path, 2 * BLOB)
    with (
        cache.snapshot(version(content), Source(content)) as path,
        (path / "weights.bin").open("rb") as file,
        closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as mapped,
    ):
        with pytest.raises(ResourceExhausted):
            keep(cache, content_of(2, BLOB))
        assert CacheContents(tmp_path, ROOMY).clean_all(dry_run=False).in_use == 1
        assert mapped[:] == content
        assert os.fstat(file.fileno()).st_nlink == 2


def test_f28_damage_is_found_and_healed(tmp_path: Path):
    cache = NodeCache(tmp_path, ROOMY)
    keep(cache, SEVEN)
    (path,) = (tmp_path / "files").iterdir()
    damage(path)
    assert list(cache.scrub()) == [path.name]
    source = keep(cache, SEVEN)
    assert len(source.served) == BLOBS
    assert path.read_bytes() == SEVEN


def test_version_8_is_built_from_version_7s_blobs(tmp_path: Path):
    keep(NodeCache(tmp_path, ROOMY), SEVEN)
    source = keep(NodeCache(tmp_path, ROOMY), EIGHT)
    assert source.served == [40 * BLOB]
    assert len(source.served) / BLOBS <= 0.03
    assert (tmp_path / "files" / file_of(EIGHT).sha256).read_bytes() == EIGHT


def test_a_version_takes_no_room_twice(tmp_path: Path):
    cache = NodeCache(tmp_path, ROOMY)
    manifest = version(SEVEN, file_of(SEVEN, "copy.bin"))
    with cache.snapshot(manifest, Source(SEVEN)) as path:
        assert (path / "copy.bin").samefile(path / "weights.bin")
    assert CacheContents(tmp_path, ROOMY).listing().used_bytes == len(SEVEN)


def test_the_listing_says_what_is_there_by_the_names_that_people_use(tmp_path: Path):
    cache = NodeCache(tmp_path, ROOMY)
    keep(cache, SEVEN, "team/chat@7")
    keep(cache, SEVEN, "team/copy@1")
    with cache.hold(file_of(b"loose"), Source(b"loose")):
        pass
    with cache.snapshot(version(EIGHT), Source(EIGHT), "team/chat@8"):
        contents = CacheContents(tmp_path, ROOMY).listing()
    eight, seven = contents.models
    assert (eight.names, eight.in_use, seven.names, seven.in_use) == (
        ("team/chat@8",),
        True,
        ("team/chat@7", "team/copy@1"),
        False,
    )
    assert (contents.used_bytes, contents.unnamed_bytes) == (2 * len(SEVEN) + 5, 5)
    assert seven.files_here == seven.file_count == 1


def test_cleaning_a_version_leaves_the_files_that_others_have(tmp_path: Path):
    cache, shared, own = NodeCache(tmp_path, ROOMY), content_of(1, BLOB), content_of(2, BLOB)
    with cache.snapshot(version(shared, file_of(own, "own.bin")), Source(shared, own), "team/a@1"):
        pass
    keep(cache, shared, "team/b@1")
    contents = CacheContents(tmp_path, ROOMY)
    assert contents.clean_model("team/a", dry_run=True).freed_bytes == BLOB
    assert len(cache.files()) == 2
    cleaned = contents.clean_model("team/a@1", dry_run=False)
    assert (cleaned.files, cleaned.freed_bytes, cache.files()) == (1, BLOB, [file_of(shared).sha256])
    assert [model.names for model in contents.listing().models] == [("team/b@1",)]
    with pytest.raises(NotFound) as caught:
        contents.clean_model("team/a", dry_run=False)
    assert caught.value.reason == "CACHE_ENTRY_NOT_FOUND"


def test_cleaning_goes_by_age_and_by_size(tmp_path: Path):
    cache, contents = NodeCache(tmp_path, ROOMY), CacheContents(tmp_path, ROOMY)
    for seed in (1, 2, 3):
        keep(cache, content_of(seed, BLOB))
    old = file_of(content_of(2, BLOB)).sha256
    os.utime(tmp_path / "records" / old, (0, 0))
    assert contents.clean_older(3600, dry_run=True).files == contents.clean_older(3600, dry_run=False).files == 1
    assert old not in cache.files()
    assert contents.clean_to(BLOB, dry_run=False).freed_bytes == BLOB
    assert cache.files() == [file_of(content_of(3, BLOB)).sha256]
    assert contents.clean_all(dry_run=False).files == 1


def test_a_scrub_that_was_broken_off_goes_on_where_it_was_and_ends_until_it_is_due_again(tmp_path: Path):
    cache = NodeCache(tmp_path, ROOMY)
    for seed in (1, 2, 3):
        keep(cache, content_of(seed, BLOB))
    for path in (tmp_path / "files").iterdir():
        damage(path)
    assert scrub_when_due(cache, 3600, Silence()) == []
    reads = Countdown(2)
    with suppress(InterruptedError):
        scrub_when_due(cache, 0, reads)
    assert len(cache.files()) == 2
    rest = cache.files()
    assert scrub_when_due(cache, 3600, Silence()) == rest
    assert scrub_when_due(cache, 3600, Silence()) == []


async def test_a_large_file_is_in_use_before_it_is_synced_and_not_trusted_after_a_power_cut(tmp_path: Path):
    content = content_of(5, SYNC_LATER_BYTES + 1)
    cache, file = NodeCache(tmp_path, ROOMY), file_of(content)
    with cache.snapshot(version(content), Source(content)):
        pass
    record = tmp_path / "records" / file.sha256

    async def is_synced() -> bool:
        return "boot" not in json.loads(record.read_text() or '{"boot": ""}')

    await eventually(is_synced)
    # The machine went down before that, and the bytes with it.
    path = tmp_path / "files" / file.sha256
    path.chmod(0o600)
    path.write_bytes(bytes(len(content)))
    status = path.stat()
    stamp = {"size": status.st_size, "inode": status.st_ino, "mtime_ns": status.st_mtime_ns}
    record.write_text(json.dumps(stamp | {"ctime_ns": status.st_ctime_ns, "boot": "the one before"}))
    with cache.hold(file, Source(content)) as healed:
        assert healed.read_bytes() == content


class Countdown(Silence):
    """A Progress that breaks the work off at the given piece."""

    def __init__(self, pieces: int) -> None:
        self._left = pieces

    def advance(self, count_bytes: int) -> None:
        self._left -= 1
        if not self._left:
            raise InterruptedError
