"""What lies in the node cache's folder, how it is linked, and how it is taken out again.

    files/<sha256>               whole, verified, read-only; synced, or being synced by whoever fetched it
    parts/<sha256>               coming in
    fetching/<sha256>            empty; locked by whoever writes the part
    records/<sha256>             the stamp of the verified file; mtime: last use
    snapshots/<manifest>/        manifest.json, names (a reference a line), and files/ with a hard link for every file
    headers/                     of safetensors files: `header_cache`
    scrub                        how far reading everything again has come: `cache_scrub`

Every lock is the operating system's, on one of these files, and goes when its holder dies:
- `files/x` shared: in use. Alone: being evicted.
- `fetching/x` alone: being fetched, by one process at a time. Not on the part: that becomes the file, and whoever waits
  to fetch it would go on waiting, for all who use it.
- `records/x` alone: being verified, linked or unlinked (linking changes the ctime that the record holds).
- `snapshots/m/manifest.json` shared: in use, so none of its files is evicted. Alone: being removed.
- `snapshots/m/build.lock` alone: links being made.
Locks are taken in the order snapshot, build, fetching, file, record. Whoever evicts only tries.
"""

import os
import shutil
import stat
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelzoo.cache_lock import Lock, locked, open_locked
from modelzoo.cache_record import Stamp, open_record
from modelzoo.errors import InvalidArgument, ZooError
from modelzoo.manifest import Manifest

__all__ = ["CacheFolder"]

LEFTOVER_S = 24 * 3600.0  # how long what a dead writer left may serve a next attempt
DISCARDED = "discarded-"


class CacheFolder:
    """The folder, made if it is not there. Raises LOCAL_PATH_INVALID where it cannot be written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._manifests: dict[str, Manifest] = {}
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("files", "parts", "fetching", "records", "snapshots"):
                (root / name).mkdir(mode=0o700, exist_ok=True)
            self._sweep()
        except OSError as error:
            raise InvalidArgument(
                "LOCAL_PATH_INVALID",
                f"The cache folder {str(root)!a} cannot be used ({error.strerror}): set ZOO_CACHE to another.",
            ) from error

    def content(self, sha256: str) -> Path:
        return self.root / "files" / sha256

    def part(self, sha256: str) -> Path:
        return self.root / "parts" / sha256

    def fetching(self, sha256: str) -> Path:
        return self.root / "fetching" / sha256

    def record(self, sha256: str) -> Path:
        return self.root / "records" / sha256

    def snapshot(self, digest: str) -> Path:
        return self.root / "snapshots" / digest

    def snapshots(self) -> Iterator[Manifest]:
        """The manifests of all snapshots; one that cannot be read is passed over."""
        for digest in sorted(os.listdir(self.root / "snapshots")):
            if digest.startswith(DISCARDED):
                continue
            if digest not in self._manifests:
                with suppress(OSError, ZooError):
                    data = (self.snapshot(digest) / "manifest.json").read_bytes()
                    self._manifests[digest] = Manifest.from_bytes(data)
            if digest in self._manifests:
                yield self._manifests[digest]

    def register(self, manifest: Manifest, name: str = "") -> int:
        """Make the snapshot known as in use until the descriptor is closed: none of its files is evicted then."""
        folder = self.snapshot(manifest.digest())
        listing = folder / "manifest.json"
        while True:
            with suppress(FileNotFoundError):  # it was evicted between two of these lines
                with suppress(FileExistsError):
                    os.mkdir(folder, 0o700)
                if not listing.exists():
                    _create(listing, manifest.to_bytes())
                descriptor = open_locked(listing, os.O_RDONLY, Lock.SHARED)
                if name:
                    self._add_name(folder, name)
                return descriptor

    def names(self, digest: str) -> list[str]:
        """What people have called the snapshot, in order; nothing where nobody said."""
        try:
            return sorted(set((self.snapshot(digest) / "names").read_text(encoding="utf-8").split()))
        except (OSError, ValueError):
            return []

    def files(self) -> list[str]:
        """The SHA-256 of every whole file, in order."""
        return sorted(os.listdir(self.root / "files"))

    def is_snapshot_in_use(self, digest: str) -> bool:
        """Whether somebody holds the snapshot now."""
        return self._is_locked(self.snapshot(digest) / "manifest.json")

    def is_in_use(self, sha256: str) -> bool:
        """Whether somebody fetches the file now, or holds it, by itself or by a snapshot that shows it."""
        shown = (m for m in self.snapshots() if any(file.sha256 == sha256 for file in m.files))
        held = any(map(self._is_locked, (self.content(sha256), self.fetching(sha256))))
        return held or any(self.is_snapshot_in_use(m.digest()) for m in shown)

    def used_bytes(self, *, without_part: str) -> int:
        """The bytes that files and parts take, except for the part of that SHA-256."""
        return sum(
            status.st_size
            for folder in ("files", "parts")
            for path, status in _list(self.root / folder)
            if not (folder == "parts" and path.name == without_part)
        )

    def least_recent(self) -> Iterator[str]:
        """The SHA-256 of every part, then of every file, those used longest ago first."""
        parts = sorted(_list(self.root / "parts"), key=lambda item: item[1].st_mtime_ns)
        used = {path.name: status.st_mtime_ns for path, status in _list(self.root / "records")}
        files = sorted((path.name for path, _ in _list(self.root / "files")), key=lambda sha256: used.get(sha256, 0))
        yield from (path.name for path, _ in parts)
        yield from files

    def evict(self, sha256: str) -> int:
        """Remove the file, or the part, of that SHA-256 and the snapshots that show it; 0 if any of it is in use.

        Returns the bytes that became free.
        """
        if freed := self._evict_part(sha256):
            return freed
        content = self.content(sha256)
        with suppress(FileNotFoundError, BlockingIOError), locked(content, os.O_RDONLY, Lock.ALONE_NOW) as descriptor:
            # Snapshots are looked for now: each is made known before its files are held.
            if self._evict_snapshots(sha256):
                content.unlink()
                self.record(sha256).unlink(missing_ok=True)
                return os.fstat(descriptor).st_size
        return 0

    def link(self, sha256: str, target: Path) -> None:
        """Make `target` a name of the file, in one step, unless it is one already."""
        content = self.content(sha256)
        with suppress(FileNotFoundError):
            if os.path.samestat(target.lstat(), content.lstat()):
                return
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.root / "snapshots" / (DISCARDED + uuid.uuid4().hex)
        with self._keeping_trust(sha256):
            os.link(content, fresh)
            os.replace(fresh, target)

    @staticmethod
    def _is_locked(path: Path) -> bool:
        try:
            with locked(path, os.O_RDONLY, Lock.ALONE_NOW):
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True

    def _add_name(self, folder: Path, name: str) -> None:
        # For people only, so a disk that is full takes nothing from whoever needs the files.
        with suppress(OSError):
            if name not in self.names(folder.name):
                with (folder / "names").open("a", encoding="utf-8") as names:
                    names.write(f"{name}\n")

    def _evict_part(self, sha256: str) -> int:
        part, fetching = self.part(sha256), self.fetching(sha256)
        if not part.exists():
            return 0
        with suppress(FileNotFoundError, BlockingIOError), locked(fetching, os.O_RDWR | os.O_CREAT, Lock.ALONE_NOW):
            size = part.stat().st_size
            part.unlink()
            fetching.unlink()
            return size
        return 0

    def _evict_snapshots(self, sha256: str) -> bool:
        for manifest in list(self.snapshots()):
            if any(file.sha256 == sha256 for file in manifest.files) and not self.evict_snapshot(manifest):
                return False
        return True

    def evict_snapshot(self, manifest: Manifest) -> bool:
        """Remove the snapshot, not its files; False if it is in use."""
        folder = self.snapshot(manifest.digest())
        discarded = folder.with_name(DISCARDED + uuid.uuid4().hex)
        try:
            with locked(folder / "manifest.json", os.O_RDONLY, Lock.ALONE_NOW):
                folder.rename(discarded)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        for file in manifest.files:
            if not self.content(file.sha256).exists():
                continue
            with self._keeping_trust(file.sha256):
                (discarded / "files" / file.path).unlink(missing_ok=True)
        shutil.rmtree(discarded, ignore_errors=True)
        return True

    @contextmanager
    def _keeping_trust(self, sha256: str) -> Generator[None]:
        """A block that changes the number of the file's names, and with it the ctime, but not its bytes."""
        content = self.content(sha256)
        with open_record(self.record(sha256)) as record:
            trusted = content.exists() and record.says(Stamp.of(content.lstat()))
            yield
            if trusted:
                record.restamp(Stamp.of(content.lstat()))

    def _sweep(self) -> None:
        """Remove what dead processes left: half-removed snapshots, and the rest once it is old."""
        eldest = time.time() - LEFTOVER_S
        for path, status in _list(self.root / "parts"):
            if status.st_mtime < eldest:
                self._evict_part(path.name)
        for path, status in _list(self.root / "snapshots"):
            if not path.name.startswith(DISCARDED):
                continue
            # Their links hold the bytes of files that were evicted. Whoever is just removing one does not mind.
            if stat.S_ISDIR(status.st_mode):
                shutil.rmtree(path, ignore_errors=True)
            elif status.st_mtime < eldest:
                path.unlink(missing_ok=True)


def _create(path: Path, data: bytes) -> None:
    """Create the file with all of its content, unless there is one: by a link, because locks are on the first."""
    fresh = path.with_name(f".{uuid.uuid4().hex}")
    with fresh.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink()


def _list(folder: Path) -> list[tuple[Path, os.stat_result]]:
    found: list[tuple[Path, os.stat_result]] = []
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):
            found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
    return found
