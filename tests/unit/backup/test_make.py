"""A backup is made while everybody writes; it is whole or it is not there, and nobody else can read it."""

import asyncio
import stat
from pathlib import Path

import pytest

from modelzoo.errors import Aborted, DataLoss, NotFound, Unavailable
from support.backups import backed_up, client_of, database_urls, quiet, restored
from unit.backup.conftest import Saved
from zoo_artifact.keys import blob_of, manifest_of
from zoo_backup.folder import Folder
from zoo_backup.make import make_backup
from zoo_backup.verify import verify_backup
from zoo_store.blobs_memory import MemoryBlobStore


async def test_a_second_backup_copies_only_what_is_new_and_removes_what_is_gone(saved: Saved) -> None:
    before = Folder(saved.backup).record()
    with client_of(saved.zoo, saved.store) as client:
        reference = saved.push(client, "team/m", weights=b"new")
    saved.files[reference] = {"weights": b"new"}
    made = await backed_up(saved.zoo, saved.store, saved.backup)
    assert (made.copied, made.record.objects.blobs) == (2, before.objects.blobs + 1)
    gone = next(rows.file for rows in before.rows if rows.service == "catalog")
    assert not (saved.backup / gone).exists()
    assert verify_backup(Folder(saved.backup), quiet).faults == ()


def test_every_file_is_for_its_owner_alone(saved: Saved) -> None:
    files = [path for path in saved.backup.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


@pytest.mark.parametrize("pattern", ["rows/catalog-*", "rows/artifact-*", "objects/*", "blobs/*/*", "manifests/*/*"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_verify_names_the_file_that_is_not_what_it_was(saved: Saved, pattern: str, damage: str) -> None:
    path = next(saved.backup.glob(pattern))
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:] if damage == "flipped" else data[:-1])
    faults = verify_backup(Folder(saved.backup), quiet).faults
    assert any(path.name in fault for fault in faults)


def test_a_changed_record_is_noticed(saved: Saved) -> None:
    path = saved.backup / "backup.json"
    path.write_text(path.read_text().replace('"revision": "000', '"revision": "900'))
    with pytest.raises(DataLoss):
        verify_backup(Folder(saved.backup), quiet)


async def test_a_backup_that_breaks_off_is_none_and_the_one_before_stays(saved: Saved, tmp_path: Path) -> None:
    class Dying(MemoryBlobStore):
        async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            if blob_of(key):
                raise Unavailable("STORAGE_UNAVAILABLE", "gone")
            return await super().get(key, offset, length)

    dying = Dying()
    dying._entries = saved.store._entries
    with pytest.raises(Unavailable):
        await backed_up(saved.zoo, dying, tmp_path / "other")
    with pytest.raises(NotFound, match="no backup"):
        verify_backup(Folder(tmp_path / "other"), quiet)
    with client_of(saved.zoo, saved.store) as client:
        saved.push(client, "team/m", weights=b"new")
    with pytest.raises(Unavailable):
        await backed_up(saved.zoo, dying, saved.backup)
    assert verify_backup(Folder(saved.backup), quiet).faults == ()
    await restored(saved.backup, tmp_path / "new", MemoryBlobStore())
    assert not list(tmp_path.rglob(".unfinished-*"))


async def test_two_at_once_do_not_write_to_one_folder(saved: Saved) -> None:
    with Folder(saved.backup).locked(), pytest.raises(Aborted):
        await backed_up(saved.zoo, saved.store, saved.backup)


async def test_what_is_swept_while_it_is_read_is_read_once_more(saved: Saved, tmp_path: Path) -> None:
    """A version of the rows is let go of and swept before its bytes are copied."""

    class Swept(MemoryBlobStore):
        async def list(self, prefix: str):
            if prefix == "manifests/" and not self.done:
                self.done = True
                await asyncio.to_thread(purge)
                for key in [key for key in self._entries if gone in key]:
                    await self.delete(key)
            async for info in super().list(prefix):
                yield info

        done = False

    def purge() -> None:
        with client_of(saved.zoo, saved.store) as client:
            client.manage.delete_version("other/m@1")
            client.manage.purge_version("other/m@1")

    with client_of(saved.zoo, saved.store) as client:
        gone = client.version("other/m@1").manifest_digest
    store = Swept()
    store._entries = saved.store._entries
    made = await backed_up(saved.zoo, store, tmp_path / "other")
    assert made.record.lacking == ()
    assert not [key for key in store._entries if manifest_of(key) == gone]


async def test_an_upload_with_other_bytes_than_its_name_is_left_out(saved: Saved, tmp_path: Path) -> None:
    key = f"blobs/aa/{'a' * 64}"
    await saved.store.put(key, b"not what it says")
    made = await backed_up(saved.zoo, saved.store, tmp_path / "other")
    assert made.record.lacking == ()
    assert not (tmp_path / "other" / key).exists()


async def test_a_database_that_is_not_there_is_said_and_not_made(saved: Saved, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"training\.db"):
        await make_backup(database_urls(tmp_path / "nowhere"), saved.store, Folder(tmp_path / "other"), quiet)
    assert not (tmp_path / "nowhere").exists()
