"""On real servers: back up a zoo on SeaweedFS and PostgreSQL while it is written to, lose it, bring it back."""

import asyncio
import threading
from pathlib import Path

import pytest

from modelzoo.client import Client
from support.backups import client_of, database_urls, quiet, restored, start_training
from support.servers import S3Server
from support.zoo_in_process import zoo_in_process
from zoo_artifact.check import Kind
from zoo_backup.folder import Folder
from zoo_backup.make import make_backup
from zoo_backup.verify import verify_backup
from zoo_store.blobs import S3Credentials, open_blobs
from zoo_store.blobs_memory import MemoryBlobStore

LEAST_VERSIONS = 3


class Pusher(threading.Thread):
    """Publishes one version after the other until told to stop; `acknowledged` are those that it was told of."""

    def __init__(self, client: Client, folder: Path) -> None:
        super().__init__()
        self.acknowledged: dict[str, bytes] = {}
        self.enough, self.stopping = threading.Event(), threading.Event()
        self._client, self._folder = client, folder

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            number += 1
            (self._folder / "config.json").write_bytes(b"[%d]" % number)
            reference = self._client.push(self._folder, "team/m", create_namespace=True).reference
            self.acknowledged[reference] = b"[%d]" % number
            if number == LEAST_VERSIONS:
                self.enough.set()


async def test_a_zoo_that_is_pushed_to_while_it_is_backed_up_comes_back_whole(
    s3_server: S3Server, s3_url: str, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for name in ("zoo", "tree"):
        (tmp_path / name).mkdir()
    urls = {**database_urls(tmp_path / "zoo"), "catalog": postgresql_url}
    await start_training(tmp_path / "zoo")
    credentials = S3Credentials(s3_server.access_key, s3_server.secret_key)
    async with open_blobs(s3_url, credentials) as store:
        with (
            zoo_in_process(tmp_path / "zoo", store=store, catalog_url=postgresql_url) as door,
            Client(door.url, "admin-key") as client,
        ):
            pusher = Pusher(client, tmp_path / "tree")
            pusher.start()
            try:
                await asyncio.to_thread(pusher.enough.wait, 60)
                before = dict(pusher.acknowledged)
                made = await make_backup(urls, store, Folder(tmp_path / "backup"), quiet)
            finally:
                pusher.stopping.set()
                await asyncio.to_thread(pusher.join)
    assert made.record.lacking == ()
    assert verify_backup(Folder(tmp_path / "backup"), quiet).faults == ()
    bucket = MemoryBlobStore()  # PostgreSQL and SeaweedFS are lost; what comes is another engine and another store
    found = (await restored(tmp_path / "backup", tmp_path / "new", bucket)).findings
    assert {finding.kind for finding in found} <= {Kind.OBJECT_UNKNOWN}  # of a push that was read in its midst
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "other-cache"))
    with client_of(tmp_path / "new", bucket) as client:
        back = {str(version.reference): version for version in client.versions("team/m")}
        assert before.keys() <= back.keys()
        for reference in back:
            assert (client.pull(reference) / "config.json").read_bytes() == pusher.acknowledged[reference]
