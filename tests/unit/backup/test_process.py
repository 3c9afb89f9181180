"""`zoo-backup` as a pod runs it: settings from the environment, SeaweedFS for the bucket."""

import os
import subprocess
import sys
from pathlib import Path

from support.backups import database_urls
from support.servers import S3Server
from unit.backup.conftest import Saved
from zoo_store.blobs import S3Credentials, open_blobs

PROGRAM = Path(sys.executable).with_name("zoo-backup")


def run(*arguments: object, env: dict[str, str] | None = None, rc: int = 0) -> str:
    """What it printed."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ZOO_", "AWS_"))}
    command = [PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, env={**own, **(env or {})}, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == rc, done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_the_program_makes_verifies_and_restores(
    saved: Saved, s3_server: S3Server, s3_url: str, tmp_path: Path
) -> None:
    async with open_blobs(s3_url, S3Credentials(s3_server.access_key, s3_server.secret_key)) as store:
        for key, entry in saved.store._entries.items():
            await store.put(key, entry.data)

    def settings(zoo: Path, blobs_url: str) -> dict[str, str]:
        urls = {f"ZOO_{name.upper()}_DATABASE_URL": url for name, url in database_urls(zoo).items()}
        keys = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
        return {**urls, **keys, "ZOO_BLOBS_URL": blobs_url}

    backup, new = tmp_path / "other", settings(tmp_path / "new", s3_url.replace("?", "-new?"))
    assert "2 manifests" in run("make", backup, env=settings(saved.zoo, s3_url))
    assert "every byte is what it was" in run("verify", backup)
    assert "0 findings" in run("restore", backup, env=new)
    assert "RESTORE_REFUSED" in run("restore", backup, env=new, rc=6)


def test_a_missing_setting_and_a_missing_backup_are_said(tmp_path: Path) -> None:
    assert "ZOO_TRAINING_DATABASE_URL is not set" in run("make", tmp_path, rc=6)
    assert "no backup that came to its end" in run("verify", tmp_path / "nowhere", rc=3)
