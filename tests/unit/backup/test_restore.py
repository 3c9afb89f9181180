"""What was lost comes back: everything that the backup holds reads back, whatever else was lost or has gone on."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from modelzoo.errors import DataLoss, FailedPrecondition, ZooError
from support.backups import backed_up, client_of, opened_targets, restored
from support.upkeep import age, swept
from unit.backup.conftest import Saved
from zoo_artifact.keys import blob_of
from zoo_artifact.storage import Storage
from zoo_artifact.upkeep import Upkeep
from zoo_backup.folder import Folder
from zoo_backup.record import RECORDS, record_bytes
from zoo_backup.source import ARTIFACT
from zoo_store.blobs_memory import MemoryBlobStore

CATALOG = "service:catalog"


def lose(saved: Saved, service: str) -> None:
    for file in saved.zoo.glob(f"{service}.db*"):
        file.unlink()


def reads_back(saved: Saved, zoo: Path, store: MemoryBlobStore) -> None:
    with client_of(zoo, store) as client:
        saved.reads_back(client)
        assert client.version("team/m@prod").version == 1
        client.upkeep.check(full=True)


async def test_a_zoo_that_is_lost_altogether_comes_back(saved: Saved, tmp_path: Path) -> None:
    store = MemoryBlobStore()
    result = await restored(saved.backup, tmp_path / "new", store)
    assert (result.findings, result.put) == ((), len([key for key in store._entries if "s/" in key and key[0] in "bm"]))
    await asyncio.to_thread(reads_back, saved, tmp_path / "new", store)


async def test_a_lost_bucket_is_filled_again_beside_rows_that_stay_and_what_came_later_is_named(saved: Saved) -> None:
    with client_of(saved.zoo, saved.store) as client:
        later = saved.push(client, "team/m", weights=b"later")
        digest = client.version(later).manifest_digest
    store = MemoryBlobStore()
    result = await restored(saved.backup, saved.zoo, store, only=("bucket",))
    assert result.replaced == {}
    assert any(digest in finding.resource for finding in result.findings)
    assert result.sweeping.reason
    await asyncio.to_thread(reads_back, saved, saved.zoo, store)
    with client_of(saved.zoo, store) as client:
        saved.files[saved.push(client, "team/m", weights=b"later")] = {"weights": b"later"}
        saved.reads_back(client)
        assert client.upkeep.check(full=True).findings == ()
        assert "restored" not in client.upkeep.sweeping().reason


@pytest.mark.parametrize("service", ["catalog", "artifact"])
async def test_a_lost_database_comes_back_beside_what_was_not_lost(saved: Saved, service: str) -> None:
    lose(saved, service)
    result = await restored(saved.backup, saved.zoo, saved.store, only=(service,))
    assert (result.findings, result.put, list(result.replaced)) == ((), 0, [service])
    await asyncio.to_thread(reads_back, saved, saved.zoo, saved.store)


async def test_an_older_index_learns_what_the_newer_bucket_has_quarantines_too(saved: Saved) -> None:
    with client_of(saved.zoo, saved.store) as client:
        later = saved.push(client, "team/m", weights=b"later")
        client.manage.quarantine("other/m@1", "bad")
    lose(saved, "artifact")
    assert (await restored(saved.backup, saved.zoo, saved.store, only=("artifact",))).findings == ()
    with client_of(saved.zoo, saved.store) as client:
        assert (client.pull(later) / "weights.json").read_bytes() == b"later"
    async with opened_targets(saved.zoo) as (*_, artifact), artifact.database.read() as connection:
        quarantined = "SELECT count(*) FROM quarantines"
        assert (await connection.exec_driver_sql(quarantined)).scalar_one() == 1


async def test_a_version_purged_since_is_there_again_after_the_older_backup(saved: Saved) -> None:
    with client_of(saved.zoo, saved.store) as client:
        client.manage.delete_model("other/m")
    for key in [key for key in saved.store._entries if blob_of(key)]:
        await saved.store.delete(key)  # swept, or lost
    await restored(saved.backup, saved.zoo, saved.store, force=("catalog", "artifact"))
    await asyncio.to_thread(reads_back, saved, saved.zoo, saved.store)


async def test_a_damaged_object_of_the_bucket_is_put_again(saved: Saved) -> None:
    key = next(key for key in saved.store._entries if blob_of(key))
    await saved.store.put(key, b"x" * len(await saved.store.get(key)))
    assert (await restored(saved.backup, saved.zoo, saved.store, only=("catalog",), force=("catalog",))).put == 1
    await asyncio.to_thread(reads_back, saved, saved.zoo, saved.store)


async def test_what_holds_data_is_not_replaced_unless_told_so(saved: Saved) -> None:
    before = saved.store._entries.copy()
    with pytest.raises(FailedPrecondition, match=r"catalog has 2 models, artifact has \d manifests") as refused:
        await restored(saved.backup, saved.zoo, saved.store)
    assert (refused.value.reason, saved.store._entries) == ("RESTORE_REFUSED", before)
    result = await restored(saved.backup, saved.zoo, saved.store, force=("catalog", "artifact"))
    assert (result.replaced["catalog"]["models"], result.put) == (2, 0)


async def test_nothing_is_written_from_a_damaged_backup(saved: Saved, tmp_path: Path) -> None:
    blob = next((saved.backup / "blobs").rglob("*/*"))
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    store = MemoryBlobStore()
    with pytest.raises(DataLoss, match=blob.name):
        await restored(saved.backup, tmp_path / "new", store)
    assert store._entries == {}


async def test_rows_of_an_unknown_release_are_refused_before_anything_is_written(saved: Saved, tmp_path: Path) -> None:
    record = RECORDS.dump_python(Folder(saved.backup).record(), mode="json")
    record["rows"][0]["revision"] = "9999"
    (saved.backup / "backup.json").write_bytes(record_bytes(RECORDS.validate_python(record)))
    store = MemoryBlobStore()
    with pytest.raises(FailedPrecondition, match="9999"):
        await restored(saved.backup, tmp_path / "new", store)
    assert store._entries == {}


async def test_nothing_is_swept_until_a_full_check_agreed_and_holders_pinned_again(saved: Saved) -> None:
    store = MemoryBlobStore()
    await restored(saved.backup, saved.zoo.parent / "new", store)
    async with opened_targets(saved.zoo.parent / "new") as targets:
        index = next(target.database for target in targets if target.source is ARTIFACT)
        upkeep = Upkeep(store, Storage(store), index)
        await age(index)
        with pytest.raises(FailedPrecondition, match=CATALOG):
            await swept(upkeep)
        await upkeep.state.confirm(CATALOG, (await upkeep.sweeping()).index_id)
        assert (await swept(upkeep)).counts.deleted_blobs == 0


async def test_a_backup_that_lacks_a_blob_is_restored_and_keeps_sweeping_off(saved: Saved) -> None:
    key = next(key for key in saved.store._entries if blob_of(key))
    await saved.store.delete(key)
    shutil.rmtree(saved.backup)
    made = await backed_up(saved.zoo, saved.store, saved.backup)
    assert made.record.lacking
    store = MemoryBlobStore()
    result = await restored(saved.backup, saved.zoo.parent / "new", store)
    assert {finding.resource for finding in result.findings} == {key}
    assert "fsck" in result.sweeping.reason
    async with opened_targets(saved.zoo.parent / "new") as (*_, artifact):
        upkeep = Upkeep(store, Storage(store), artifact.database)
        await upkeep.state.confirm(CATALOG, (await upkeep.sweeping()).index_id)
        with pytest.raises(FailedPrecondition, match="restored from a backup"):
            await swept(upkeep)
        assert (await upkeep.state.set_frozen(False, "")).reason == ""


async def test_a_broken_restore_goes_on_by_itself_another_backup_does_not(saved: Saved, tmp_path: Path) -> None:
    class Dying(MemoryBlobStore):
        async def put(self, key: str, data: bytes) -> None:
            if blob_of(key):
                raise ZooError("", "the machine is off")
            await super().put(key, data)

    dying, store, zoo = Dying(), MemoryBlobStore(), tmp_path / "new"
    with pytest.raises(ZooError, match="machine"):
        await restored(saved.backup, zoo, dying)
    store._entries = dying._entries
    assert json.loads(await store.get("restore/under-way"))
    await restored(saved.backup, zoo, store)
    await asyncio.to_thread(reads_back, saved, zoo, store)
    with pytest.raises(FailedPrecondition):
        await restored(saved.backup, zoo, store)
