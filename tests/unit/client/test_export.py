"""A pulled version is written below its directory and nowhere else, whatever lies there or is put there meanwhile."""

import hashlib
import os
import threading
from pathlib import Path

import pytest
from blake3 import blake3

from modelzoo.errors import InvalidArgument
from modelzoo.export import export
from modelzoo.manifest import Blob, File, Manifest

CONTENT = b"weights"
OUTSIDE = b"somebody's own"


def manifest_of(*paths: str) -> Manifest:
    blob = Blob(blake3(CONTENT).hexdigest(), len(CONTENT))
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return Manifest.of("opaque", [File(path, len(CONTENT), sha256, (blob,)) for path in paths])


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    (tmp_path / "snapshot/sub").mkdir(parents=True)
    for path in ("a", "sub/a"):
        (tmp_path / "snapshot" / path).write_bytes(CONTENT)
    return tmp_path / "snapshot"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that is none of the version's, with a file in it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a").write_bytes(OUTSIDE)
    return tmp_path / "outside"


def left_in(outside: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in outside.iterdir()}


@pytest.mark.parametrize("force", [False, True])
def test_a_directory_that_is_a_link_is_refused(snapshot: Path, outside: Path, tmp_path: Path, force: bool):
    (tmp_path / "into").mkdir()
    (tmp_path / "into/sub").symlink_to(outside)
    with pytest.raises(InvalidArgument) as caught:
        export(manifest_of("sub/a"), snapshot, tmp_path / "into", force=force)
    assert caught.value.reason == "LOCAL_PATH_INVALID"
    assert left_in(outside) == {"a": OUTSIDE}


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_link_in_a_files_place_is_replaced_and_not_written_through(
    snapshot: Path, outside: Path, tmp_path: Path, make: object
):
    (tmp_path / "into").mkdir()
    make(outside / "a", tmp_path / "into/a")  # type: ignore[operator]
    export(manifest_of("a"), snapshot, tmp_path / "into", force=True)
    written = (tmp_path / "into/a").lstat()
    assert ((tmp_path / "into/a").read_bytes(), written.st_nlink) == (CONTENT, 1)
    assert not (tmp_path / "into/a").is_symlink()
    assert left_in(outside) == {"a": OUTSIDE}


def test_a_link_that_takes_a_directorys_place_meanwhile_leads_nowhere(snapshot: Path, outside: Path, tmp_path: Path):
    into = tmp_path / "into"
    (into / "sub").mkdir(parents=True)
    (snapshot / "sub/a").unlink()
    os.mkfifo(snapshot / "sub/a")

    def swap() -> None:
        with (snapshot / "sub/a").open("wb") as fed:  # opens when the export has begun to read
            (into / "sub").rename(into / "moved")
            (into / "sub").symlink_to(outside)
            fed.write(CONTENT)

    swapping = threading.Thread(target=swap)
    swapping.start()
    export(manifest_of("sub/a"), snapshot, into)
    swapping.join()
    assert left_in(outside) == {"a": OUTSIDE}
    assert (into / "moved/a").read_bytes() == CONTENT


def test_no_two_exports_share_a_file_and_none_is_the_caches(snapshot: Path, tmp_path: Path):
    for name in ("one", "two"):
        export(manifest_of("a", "sub/a"), snapshot, tmp_path / name)
        assert {path.stat().st_nlink for path in (tmp_path / name).rglob("a")} == {1}
    (tmp_path / "one/a").write_bytes(b"changed")
    assert (tmp_path / "two/a").read_bytes() == (snapshot / "a").read_bytes() == CONTENT
