"""The node cache: every file once for all processes of a node, found by its SHA-256. `cache_folder` has the layout.

POSIX only. The folder must be on a local disk: its locks, hard links and time stamps are what it relies on.
"""

import errno
import logging
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelzoo.cache_folder import CacheFolder
from modelzoo.cache_lock import Lock, is_named, locked, open_locked
from modelzoo.cache_part import Fetch, PartialFile, sha256_of
from modelzoo.cache_record import Record, Stamp, open_record
from modelzoo.errors import DataLoss, ResourceExhausted
from modelzoo.manifest import File, Manifest
from modelzoo.progress import Progress

__all__ = ["Fetch", "NodeCache", "PartialFile"]

SYNC_LATER_BYTES = 8 * 1024 * 1024  # a file of so many is in use before it is synced: that takes its time
COUNT_EVERY = 64  # the budget may be exceeded by one part in so many between two counts of what is there
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

_log = logging.getLogger(__name__)


class NodeCache:
    """Files that stay on this node while `budget_bytes` allow, the least recently used leaving first.

    A file is given out only if its bytes were verified: when they came in, and again when anything about the file
    says that it was touched since. What is held is never evicted. Safe for several threads and processes.
    """

    def __init__(self, root: Path, budget_bytes: int) -> None:
        self._folder = CacheFolder(root)
        self._budget_bytes = budget_bytes
        self._uncounted_bytes = budget_bytes
        self.healed_count = 0
        """Files found damaged, removed and so fetched again."""

    @contextmanager
    def hold(self, file: File, fetch: Fetch) -> Generator[Path]:
        """The path of the verified file, for the length of the block; do not write to it.

        If it is not here, `fetch` brings it, once for all processes that ask: the others wait. If `fetch` raises, or
        its process dies, what came in serves the next attempt. Raises what `fetch` raises; DISK_FULL where disk or
        budget have no room even without all that is not in use; BLOB_CORRUPT, STREAM_INTERRUPTED as PartialFile says.
        """
        descriptor = self._open(file, fetch)
        try:
            yield self._folder.content(file.sha256)
        finally:
            os.close(descriptor)

    @property
    def root(self) -> Path:
        """The cache's folder."""
        return self._folder.root

    def has(self, file: File) -> bool:
        """Whether the file is here; its bytes are not looked at."""
        return self._folder.content(file.sha256).exists()

    @contextmanager
    def hold_if_here(self, file: File) -> Generator[Path | None]:
        """As `hold` where the file is here, else None: nothing is fetched."""
        try:
            descriptor = open_locked(self._folder.content(file.sha256), os.O_RDONLY, Lock.SHARED)
        except FileNotFoundError:
            yield None
            return
        try:
            yield self._folder.content(file.sha256) if self._is_sound(file.sha256, descriptor) else None
        finally:
            os.close(descriptor)

    @contextmanager
    def snapshot(self, manifest: Manifest, fetch: Fetch, name: str = "") -> Generator[Path]:
        """A directory with the manifest's files under their names, complete and verified, for the length of the block.

        It takes no room beside the files. `fetch` is called for each file that is not here, as by `hold`. `name` is
        what people call the version.
        """
        folder = self._folder.snapshot(manifest.digest())
        in_use = self._folder.register(manifest, name)
        try:
            with locked(folder / "build.lock", os.O_RDWR | os.O_CREAT, Lock.ALONE):
                done, building = folder / "files", folder / "building"
                names = done if done.exists() else building
                for file in manifest.files:
                    with self.hold(file, fetch), _full_disk_named(f"a name for {file.path!a}"):
                        self._folder.link(file.sha256, names / file.path)
                if names is building:
                    building.rename(done)
            yield done
        finally:
            os.close(in_use)

    def scrub(self, progress: Progress | None = None) -> Iterator[str]:
        """Read every file again; remove those that are damaged, whatever their stamps say, and give their SHA-256.

        What was removed is fetched again when it is next asked for.
        """
        sizes = {sha256: self._folder.content(sha256).stat().st_size for sha256 in self._folder.files()}
        if progress:
            progress.start(sum(sizes.values()))
        for sha256 in sizes:
            if not self.check(sha256, progress):
                yield sha256

    def files(self) -> list[str]:
        """The SHA-256 of every whole file, in order."""
        return self._folder.files()

    def check(self, sha256: str, progress: Progress | None = None) -> bool:
        """Read the file again; if it is damaged, remove it. True where it is sound, or gone.

        What `progress` raises ends it.
        """
        content = self._folder.content(sha256)
        with suppress(FileNotFoundError), locked(content, os.O_RDONLY, Lock.SHARED) as descriptor:
            sound = sha256_of(descriptor, progress.advance if progress else None) == sha256
            # Files that nobody maps leave the page cache to those that somebody does.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            if sound:
                return True
            with open_record(self._folder.record(sha256)) as record:
                if is_named(content, descriptor):
                    self._discard(content, record)
            return False
        return True

    def _open(self, file: File, fetch: Fetch) -> int:
        content = self._folder.content(file.sha256)
        while True:
            try:
                descriptor = open_locked(content, os.O_RDONLY, Lock.SHARED)
            except FileNotFoundError:
                self._bring(file, fetch)
                continue
            try:
                if self._is_sound(file.sha256, descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _is_sound(self, sha256: str, descriptor: int) -> bool:
        """Whether the file's bytes are right; if they are not, it is removed."""
        content = self._folder.content(sha256)
        with open_record(self._folder.record(sha256)) as record:
            if not is_named(content, descriptor):
                return False
            stamp = Stamp.of(os.fstat(descriptor))
            if not record.says(stamp):
                if sha256_of(descriptor) != sha256:
                    self._discard(content, record)
                    return False
                record.write(stamp)
            record.touch()
            return True

    def _discard(self, content: Path, record: Record) -> None:
        _log.warning("the cache removed %s: it was damaged on disk", content.name)
        content.unlink()
        record.remove()
        self.healed_count += 1

    def _bring(self, file: File, fetch: Fetch) -> None:
        """Fetch the file and publish it, or wait for whoever is doing so."""
        fetching, content = self._folder.fetching(file.sha256), self._folder.content(file.sha256)
        with locked(fetching, os.O_RDWR | os.O_CREAT, Lock.ALONE):
            try:
                if not content.exists():
                    self._fetch(file, fetch, self._folder.part(file.sha256), content)
            finally:
                fetching.unlink()

    def _fetch(self, file: File, fetch: Fetch, part: Path, content: Path) -> None:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with _full_disk_named(f"{file.path!a} ({file.size} bytes)"):
                self._make_room(file)
                partial = PartialFile(file, descriptor)
                self._allocate(descriptor, file.size)
                self._reuse(partial)
                with partial.followed():
                    fetch(partial)
                is_synced = file.size < SYNC_LATER_BYTES
                if is_synced:
                    os.fsync(descriptor)
            if not partial.is_right():
                part.unlink()
                raise DataLoss(
                    "BLOB_CORRUPT",
                    f"The blobs of {file.path!a} do not make the SHA-256 that its manifest states: push it again.",
                )
            with open_record(self._folder.record(file.sha256)) as record:
                part.rename(content)
                os.fchmod(descriptor, 0o400)
                if is_synced:
                    _sync_folder(content.parent)
                record.write(Stamp.of(os.fstat(descriptor)), is_synced=is_synced)
                record.touch()
            if not is_synced:
                self._sync_later(file.sha256, os.dup(descriptor))
        except ResourceExhausted as error:
            if error.reason == "DISK_FULL":
                part.unlink()
            raise
        finally:
            os.close(descriptor)

    def _sync_later(self, sha256: str, descriptor: int) -> None:
        """Sync the file beside whoever uses it already; not a daemon, so that the process ends after it."""

        def sync() -> None:
            try:
                os.fsync(descriptor)
                _sync_folder(self._folder.root / "files")
                with open_record(self._folder.record(sha256)) as record:
                    if record.says(stamp := Stamp.of(os.fstat(descriptor))):
                        record.write(stamp)
            except OSError as error:
                # Not trusted beyond this boot, then; and read again by the next scrub.
                _log.warning("the cache could not sync %s: %s", sha256, error)
            finally:
                os.close(descriptor)

        threading.Thread(target=sync, name="zoo-sync").start()

    def _make_room(self, file: File) -> None:
        self._uncounted_bytes += file.size
        if self._uncounted_bytes <= self._budget_bytes // COUNT_EVERY:
            return
        self._uncounted_bytes = 0
        over = self._folder.used_bytes(without_part=file.sha256) + file.size - self._budget_bytes
        for sha256 in self._folder.least_recent() if over > 0 else ():
            over -= self._folder.evict(sha256)
            if over <= 0:
                return
        if over > 0:
            raise _full(
                f"The cache's budget of {self._budget_bytes} bytes has no room for {file.path!a} ({file.size} bytes) "
                "beside what is in use: raise ZOO_CACHE_BYTES"
            )

    def _allocate(self, descriptor: int, size: int) -> None:
        """Take the disk's room now rather than fail in mid-download, evicting as long as that helps."""
        os.ftruncate(descriptor, size)
        candidates = self._folder.least_recent()
        while size:
            try:
                os.posix_fallocate(descriptor, 0, size)
                return
            except OSError as error:
                if error.errno not in _DISK_FULL or not any(map(self._folder.evict, candidates)):
                    raise

    def _reuse(self, partial: PartialFile) -> None:
        """Take the blobs that lie in other files of the cache, such as those of the version before."""
        wanted: dict[str, list[int]] = {}
        for offset, blob in partial.missing():
            wanted.setdefault(blob.digest, []).append(offset)
        for manifest in self._folder.snapshots() if wanted else ():
            for file in manifest.files:
                places = [(offset, blob) for offset, blob in file.placed_blobs() if blob.digest in wanted]
                if not places:
                    continue
                content = self._folder.content(file.sha256)
                with suppress(FileNotFoundError), locked(content, os.O_RDONLY, Lock.SHARED) as descriptor:
                    for offset, blob in places:
                        data = os.pread(descriptor, blob.size, offset)
                        for target in wanted.pop(blob.digest, ()):
                            with suppress(DataLoss):  # damaged there: then it is fetched
                                partial.put(target, blob, data)


@contextmanager
def _full_disk_named(what: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise _full(f"The disk of the cache has no room for {what}: free some, or set ZOO_CACHE to another") from error


def _full(message: str) -> ResourceExhausted:
    return ResourceExhausted("DISK_FULL", f"{message}.")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
