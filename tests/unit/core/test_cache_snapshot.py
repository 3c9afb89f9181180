import json
import os
from pathlib import Path

import pytest

from modelzoo.cache import NodeCache, PartialFile
from modelzoo.errors import ResourceExhausted
from modelzoo.manifest import Manifest
from support.cache_process import BLOB, Source, content_of, file_of

ROOMY = 1 << 40
WEIGHTS, CONFIG = content_of(1, 2 * BLOB), b'{"model_type": "bert"}'
VERSION_7 = Manifest.of("transformers", [file_of(WEIGHTS, "a/weights.bin"), file_of(CONFIG, "config.json")])


def refuse(part: PartialFile) -> None:
    raise AssertionError(f"{part.file.path} was fetched")


def test_a_snapshot_has_the_files_under_their_names_and_takes_no_room(tmp_path: Path):
    with NodeCache(tmp_path, ROOMY).snapshot(VERSION_7, Source(WEIGHTS, CONFIG)) as directory:
        assert sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()) == [
            "a/weights.bin",
            "config.json",
        ]
        assert (directory / "a/weights.bin").read_bytes() == WEIGHTS
        assert json.loads((directory / "config.json").read_text()) == {"model_type": "bert"}
        for file in VERSION_7.files:
            assert (directory / file.path).samefile(tmp_path / "files" / file.sha256)


def test_a_second_snapshot_fetches_nothing_and_is_the_same_directory(tmp_path: Path):
    with NodeCache(tmp_path, ROOMY).snapshot(VERSION_7, Source(WEIGHTS, CONFIG)) as first:
        pass
    with NodeCache(tmp_path, ROOMY).snapshot(VERSION_7, refuse) as second:
        assert second == first


def test_two_names_of_one_content_are_fetched_once(tmp_path: Path):
    manifest = Manifest.of("opaque", [file_of(CONFIG, "a.json"), file_of(CONFIG, "b.json")])
    source = Source(CONFIG)
    with NodeCache(tmp_path, ROOMY).snapshot(manifest, source) as directory:
        assert (directory / "a.json").read_bytes() == (directory / "b.json").read_bytes() == CONFIG
    assert source.served == [0]


def test_linking_does_not_cost_the_files_their_trust(tmp_path: Path):
    with NodeCache(tmp_path, ROOMY).snapshot(VERSION_7, Source(WEIGHTS, CONFIG)):
        pass
    for file in VERSION_7.files:
        record = json.loads((tmp_path / "records" / file.sha256).read_text())
        assert record["ctime_ns"] == (tmp_path / "files" / file.sha256).stat().st_ctime_ns


def test_an_interrupted_snapshot_is_completed(tmp_path: Path):
    source = Source(WEIGHTS, CONFIG)
    source.fail_after = 1
    with pytest.raises(ConnectionResetError), NodeCache(tmp_path, ROOMY).snapshot(VERSION_7, source):
        pass
    source.fail_after = None
    with NodeCache(tmp_path, ROOMY).snapshot(VERSION_7, source) as directory:
        assert (directory / "a/weights.bin").read_bytes() == WEIGHTS
    assert len(source.served) == 3


def test_a_snapshot_whose_file_was_damaged_is_repaired_in_place(tmp_path: Path):
    cache = NodeCache(tmp_path, ROOMY)
    with cache.snapshot(VERSION_7, Source(WEIGHTS, CONFIG)) as directory:
        (directory / "a/weights.bin").chmod(0o600)
        (directory / "a/weights.bin").write_bytes(b"overwritten by mistake")
    with cache.snapshot(VERSION_7, Source(WEIGHTS, CONFIG)) as directory:
        assert (directory / "a/weights.bin").read_bytes() == WEIGHTS
    assert cache.healed_count == 1
    assert not list((tmp_path / "snapshots").glob("discarded-*"))


def test_a_removed_name_comes_back(tmp_path: Path):
    cache = NodeCache(tmp_path, ROOMY)
    with cache.snapshot(VERSION_7, Source(WEIGHTS, CONFIG)) as directory:
        (directory / "config.json").unlink()
    with cache.snapshot(VERSION_7, refuse) as directory:
        assert (directory / "config.json").read_bytes() == CONFIG


def test_the_next_version_takes_unchanged_blobs_from_the_one_before(tmp_path: Path):
    tuned = WEIGHTS[:BLOB] + content_of(2, BLOB) + WEIGHTS[:BLOB]
    version_8 = Manifest.of("transformers", [file_of(tuned, "a/weights.bin"), file_of(CONFIG, "config.json")])
    cache, source = NodeCache(tmp_path, ROOMY), Source(tuned)
    with cache.snapshot(VERSION_7, Source(WEIGHTS, CONFIG)):
        pass
    with cache.snapshot(version_8, source) as directory:
        assert (directory / "a/weights.bin").read_bytes() == tuned
    assert source.served == [BLOB]


def test_a_damaged_blob_of_the_version_before_is_not_taken(tmp_path: Path):
    cache = NodeCache(tmp_path, ROOMY)
    with cache.snapshot(VERSION_7, Source(WEIGHTS, CONFIG)) as directory:
        (directory / "a/weights.bin").chmod(0o600)
        (directory / "a/weights.bin").write_bytes(bytes(len(WEIGHTS)))
    tuned = WEIGHTS + b"more"
    with cache.hold(file_of(tuned), Source(tuned)) as path:
        assert path.read_bytes() == tuned


def test_no_file_of_a_snapshot_in_use_is_evicted_but_all_may_be_afterwards(tmp_path: Path):
    other = content_of(9, 2 * BLOB)
    cache = NodeCache(tmp_path, VERSION_7.size_bytes + BLOB)
    with cache.snapshot(VERSION_7, Source(WEIGHTS, CONFIG)) as directory:
        with pytest.raises(ResourceExhausted), cache.hold(file_of(other), Source(other)):
            pass
        assert (directory / "a/weights.bin").read_bytes() == WEIGHTS
    with cache.hold(file_of(other), Source(other)):
        assert VERSION_7.files[0].sha256 not in os.listdir(tmp_path / "files")
    assert os.listdir(tmp_path / "snapshots") == []


def test_evicting_a_snapshot_keeps_the_trust_in_the_files_that_stay(tmp_path: Path):
    other = content_of(9, 2 * BLOB)
    cache = NodeCache(tmp_path, VERSION_7.size_bytes)
    with cache.snapshot(VERSION_7, Source(WEIGHTS, CONFIG)):
        pass
    with cache.hold(file_of(CONFIG), refuse), cache.hold(file_of(other), Source(other)):
        pass
    (config,) = [file for file in VERSION_7.files if file.path == "config.json"]
    record = json.loads((tmp_path / "records" / config.sha256).read_text())
    assert record["ctime_ns"] == (tmp_path / "files" / config.sha256).stat().st_ctime_ns
