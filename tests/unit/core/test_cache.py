import json
import os
import time
from pathlib import Path

import pytest

from modelzoo.cache import NodeCache, PartialFile
from modelzoo.errors import DataLoss, Interrupted, InvalidArgument, ResourceExhausted
from modelzoo.manifest import File
from support.cache_process import BLOB, Source, content_of, file_of

ROOMY = 1 << 40


def refuse(part: PartialFile) -> None:
    raise AssertionError(f"{part.file.path} was fetched")


def put(cache: NodeCache, content: bytes) -> File:
    file = file_of(content)
    with cache.hold(file, Source(content)):
        pass
    return file


def files_in(root: Path, folder: str) -> list[str]:
    return sorted(os.listdir(root / folder))


@pytest.mark.parametrize("size", [0, 1, BLOB, 3 * BLOB + 5])
def test_a_file_is_fetched_once_and_then_given_from_disk(tmp_path: Path, size: int):
    content = content_of(1, size)
    source = Source(content)
    for cache in (NodeCache(tmp_path, ROOMY), NodeCache(tmp_path, ROOMY)):
        with cache.hold(file_of(content), source) as path:
            assert path.read_bytes() == content
    assert len(source.served) == len(file_of(content).blobs)
    assert files_in(tmp_path, "parts") == []


def test_s18_an_interrupted_fetch_keeps_its_blobs_for_the_next(tmp_path: Path):
    content = content_of(1, 5 * BLOB)
    source = Source(content)
    source.fail_after = 3
    with pytest.raises(ConnectionResetError), NodeCache(tmp_path, ROOMY).hold(file_of(content), source):
        pass
    source.fail_after = None
    with NodeCache(tmp_path, ROOMY).hold(file_of(content), source) as path:
        assert path.read_bytes() == content
    assert source.served == [0, BLOB, 2 * BLOB, 3 * BLOB, 4 * BLOB]


def test_s17_a_damaged_blob_is_refused_and_the_others_kept(tmp_path: Path):
    content = content_of(1, 3 * BLOB)
    source = Source(content)
    source.damaged = {2 * BLOB}
    with pytest.raises(DataLoss) as caught, NodeCache(tmp_path, ROOMY).hold(file_of(content), source):
        pass
    assert caught.value.reason == "BLOB_CORRUPT"
    source.damaged = set()
    with NodeCache(tmp_path, ROOMY).hold(file_of(content), source):
        pass
    assert source.served == [0, BLOB, 2 * BLOB, 2 * BLOB]


def test_s17_blobs_that_do_not_make_the_claimed_sha256_are_never_given_out(tmp_path: Path):
    true, lie = content_of(1, BLOB), content_of(2, BLOB)
    claim = File("x", BLOB, file_of(true).sha256, file_of(lie).blobs)

    def fetch(part: PartialFile) -> None:
        part.put(0, part.file.blobs[0], lie)

    cache = NodeCache(tmp_path, ROOMY)
    with pytest.raises(DataLoss), cache.hold(claim, fetch):
        pass
    assert files_in(tmp_path, "parts") == files_in(tmp_path, "files") == []


def test_a_part_survives_a_server_that_has_too_much_to_do(tmp_path: Path):
    def fetch(part: PartialFile) -> None:
        part.put(0, part.file.blobs[0], content_of(1, BLOB))
        raise ResourceExhausted("QUEUE_FULL", "Later.")

    content = content_of(1, BLOB)
    with pytest.raises(ResourceExhausted), NodeCache(tmp_path, ROOMY).hold(file_of(content), fetch):
        pass
    with NodeCache(tmp_path, ROOMY).hold(file_of(content), lambda part: None) as path:
        assert path.read_bytes() == content


def test_s18_a_fetch_that_stops_early_is_not_taken_for_whole(tmp_path: Path):
    file = file_of(content_of(1, BLOB))
    with pytest.raises(Interrupted), NodeCache(tmp_path, ROOMY).hold(file, lambda part: None):
        pass
    assert files_in(tmp_path, "files") == []


def flip(path: Path) -> None:
    """Change a byte as a bad disk or a stray program would, keeping size and mtime."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("damage", [flip, lambda p: os.truncate(p, 10), lambda p: p.write_bytes(b"")])
def test_f28_a_file_damaged_at_rest_is_noticed_and_fetched_again(tmp_path: Path, damage):
    content = content_of(1, 2 * BLOB)
    put(NodeCache(tmp_path, ROOMY), content)
    (path,) = (tmp_path / "files").iterdir()
    damage(path)
    cache, source = NodeCache(tmp_path, ROOMY), Source(content)
    with cache.hold(file_of(content), source) as path:
        assert path.read_bytes() == content
    assert len(source.served) == 2
    assert cache.healed_count == 1


def test_a_file_that_was_only_touched_is_verified_and_kept(tmp_path: Path):
    content = content_of(1, BLOB)
    file = put(NodeCache(tmp_path, ROOMY), content)
    os.utime(tmp_path / "files" / file.sha256)
    (tmp_path / "records" / file.sha256).write_text("{torn")
    with NodeCache(tmp_path, ROOMY).hold(file, refuse) as path:
        assert path.read_bytes() == content


def test_f28_scrubbing_finds_damage_that_left_no_trace(tmp_path: Path):
    cache = NodeCache(tmp_path, ROOMY)
    good, bad = put(cache, content_of(1, BLOB)), put(cache, content_of(2, BLOB))
    path = tmp_path / "files" / bad.sha256
    flip(path)
    status = path.stat()
    stamp = {"size": status.st_size, "inode": status.st_ino, "mtime_ns": status.st_mtime_ns}
    (tmp_path / "records" / bad.sha256).write_text(json.dumps(stamp | {"ctime_ns": status.st_ctime_ns}))
    assert list(cache.scrub()) == [bad.sha256]
    assert files_in(tmp_path, "files") == [good.sha256]
    assert list(cache.scrub()) == []


def test_the_least_recently_used_file_leaves_first(tmp_path: Path):
    cache = NodeCache(tmp_path, 3 * BLOB)
    a, b, c = (put(cache, content_of(seed, BLOB)) for seed in (1, 2, 3))
    with cache.hold(a, refuse):
        pass
    d = put(cache, content_of(4, BLOB))
    assert b.sha256 not in files_in(tmp_path, "files")
    assert files_in(tmp_path, "files") == sorted(file.sha256 for file in (a, c, d))


def test_what_is_held_is_never_evicted_and_a_full_budget_says_so(tmp_path: Path):
    cache = NodeCache(tmp_path, 2 * BLOB)
    held, other = content_of(1, BLOB), put(cache, content_of(2, BLOB))
    with cache.hold(file_of(held), Source(held)) as path:
        put(cache, content_of(3, BLOB))
        assert other.sha256 not in files_in(tmp_path, "files")
        with pytest.raises(ResourceExhausted, match="raise ZOO_CACHE_BYTES") as caught:
            put(cache, content_of(4, 2 * BLOB))
        assert path.read_bytes() == held
    assert caught.value.reason == "DISK_FULL"
    assert files_in(tmp_path, "parts") == []
    put(cache, content_of(4, 2 * BLOB))


def test_an_abandoned_part_leaves_before_any_file(tmp_path: Path):
    cache = NodeCache(tmp_path, 2 * BLOB)
    file, source = put(cache, content_of(1, BLOB)), Source(content_of(2, BLOB))
    source.fail_after = 0
    with pytest.raises(ConnectionResetError), cache.hold(file_of(content_of(2, BLOB)), source):
        pass
    put(cache, content_of(3, BLOB))
    assert files_in(tmp_path, "parts") == []
    assert file.sha256 in files_in(tmp_path, "files")


def test_f29_old_leftovers_are_swept_at_open_and_fresh_ones_kept(tmp_path: Path):
    NodeCache(tmp_path, ROOMY)
    (tmp_path / "snapshots" / "discarded-by-a-dead-process" / "files").mkdir(parents=True)
    long_ago = time.time() - 3 * 24 * 3600
    for path in ("parts/old", "parts/fresh", "snapshots/discarded-old", "snapshots/discarded-fresh"):
        (tmp_path / path).write_bytes(b"x")
        if path.endswith("old"):
            os.utime(tmp_path / path, (long_ago, long_ago))
    NodeCache(tmp_path, ROOMY)
    assert files_in(tmp_path, "parts") == ["fresh"]
    assert files_in(tmp_path, "snapshots") == ["discarded-fresh"]


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidArgument, match="set ZOO_CACHE to another"):
        NodeCache(tmp_path / "file" / "cache", ROOMY)
