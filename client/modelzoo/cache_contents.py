"""What the node cache holds, for people; and taking out of it what they name."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from modelzoo.cache_folder import CacheFolder
from modelzoo.errors import NotFound
from modelzoo.manifest import Manifest
from modelzoo.reference import parse

__all__ = ["CacheContents", "CachedModel", "Cleaned", "Contents"]


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A version whose files are here, under the references that it was asked for by."""

    digest: str
    names: tuple[str, ...]
    file_count: int
    files_here: int
    size_bytes: int
    last_use: datetime | None
    in_use: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """`used_bytes` are those of all files, each once, and of what is coming in; of these, `unnamed_bytes` belong to no
    version that is listed."""

    root: Path
    budget_bytes: int
    used_bytes: int
    unnamed_bytes: int
    models: tuple[CachedModel, ...]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Files that left, or would have, and the bytes that this freed; `in_use` were to leave and stayed."""

    files: int
    freed_bytes: int
    in_use: int
    dry_run: bool


class CacheContents:
    """Looks at a node cache and cleans it, beside whoever uses it."""

    def __init__(self, root: Path, budget_bytes: int) -> None:
        self._folder = CacheFolder(root)
        self._budget_bytes = budget_bytes

    def listing(self) -> Contents:
        """Everything that is here, the versions used last first."""
        sizes = self._sizes()
        manifests = list(self._folder.snapshots())
        models = [self._model(manifest, sizes) for manifest in manifests if not self._is_part(manifest, manifests)]
        named = {file.sha256 for manifest in manifests for file in manifest.files}
        used_bytes = self._folder.used_bytes(without_part="")
        never = datetime.min.replace(tzinfo=UTC)
        return Contents(
            root=self._folder.root,
            budget_bytes=self._budget_bytes,
            used_bytes=used_bytes,
            unnamed_bytes=used_bytes - sum(size for sha256, size in sizes.items() if sha256 in named),
            models=tuple(sorted(models, key=lambda model: model.last_use or never, reverse=True)),
        )

    def clean_all(self, *, dry_run: bool) -> Cleaned:
        """Remove all that is not in use."""
        return self._clean(list(self._folder.least_recent()), dry_run, lambda freed_bytes: False)

    def clean_older(self, age_s: float, *, dry_run: bool) -> Cleaned:
        """Remove files that were not used for so long."""
        eldest = time.time() - age_s
        old = [sha256 for sha256 in self._folder.least_recent() if self._last_use_s(sha256) < eldest]
        return self._clean(old, dry_run, lambda freed_bytes: False)

    def clean_to(self, size_bytes: int, *, dry_run: bool) -> Cleaned:
        """Remove what was used longest ago until no more than so many bytes are left."""
        over = self._folder.used_bytes(without_part="") - size_bytes
        return self._clean(list(self._folder.least_recent()), dry_run, lambda freed_bytes: freed_bytes >= over)

    def clean_model(self, ref: str, *, dry_run: bool) -> Cleaned:
        """Remove the version of that reference, or all of the model's if it names none, and the files that no other
        version here has. CACHE_ENTRY_NOT_FOUND."""
        going = [manifest for manifest in self._folder.snapshots() if self._is_called(manifest, ref)]
        if not going:
            raise NotFound(
                "CACHE_ENTRY_NOT_FOUND", f"The cache has nothing of {ref}: `zoo cache list` says what it has."
            )
        leaving = {manifest.digest() for manifest in going}
        staying = {f.sha256 for m in self._folder.snapshots() if m.digest() not in leaving for f in m.files}
        files = {file.sha256 for manifest in going for file in manifest.files} - staying
        cleaned = self._clean(sorted(files & set(self._folder.files())), dry_run, lambda freed_bytes: False)
        if not dry_run:
            for manifest in going:
                self._folder.evict_snapshot(manifest)
        return cleaned

    def _clean(self, candidates: list[str], dry_run: bool, is_enough: Callable[[int], bool]) -> Cleaned:
        files = freed_bytes = in_use = 0
        sizes = self._sizes()
        for sha256 in candidates:
            if is_enough(freed_bytes):
                break
            if dry_run:
                freed, gone = sizes.get(sha256, self._part_bytes(sha256)), not self._folder.is_in_use(sha256)
            else:
                freed = self._folder.evict(sha256)
                gone = freed > 0 or not self._folder.content(sha256).exists()
            files, in_use = files + gone, in_use + (not gone)
            freed_bytes += freed if gone else 0
        return Cleaned(files, freed_bytes, in_use, dry_run)

    def _model(self, manifest: Manifest, sizes: dict[str, int]) -> CachedModel:
        digest = manifest.digest()
        here = [file.sha256 for file in manifest.files if file.sha256 in sizes]
        last_use_s = max((self._last_use_s(sha256) for sha256 in here), default=0.0)
        return CachedModel(
            digest=digest,
            names=tuple(self._folder.names(digest)),
            file_count=len(manifest.files),
            files_here=len(here),
            size_bytes=sum(sizes[sha256] for sha256 in set(here)),
            last_use=datetime.fromtimestamp(last_use_s, UTC) if last_use_s else None,
            in_use=self._folder.is_snapshot_in_use(digest),
        )

    def _is_part(self, manifest: Manifest, others: list[Manifest]) -> bool:
        """Whether it is what came first of another version (`arriving`), and nobody called it by a name."""
        files = set(manifest.files)
        return not self._folder.names(manifest.digest()) and any(files < set(other.files) for other in others)

    def _is_called(self, manifest: Manifest, ref: str) -> bool:
        wanted = parse(ref)
        if str(wanted.selector or "") == f"sha256:{manifest.digest()}":
            return True
        names = self._folder.names(manifest.digest())
        return any(str(wanted) == (name if wanted.selector else parse(name).model) for name in names)

    def _sizes(self) -> dict[str, int]:
        return dict(self._existing("files"))

    def _existing(self, folder: str) -> Iterator[tuple[str, int]]:
        for path in (self._folder.root / folder).iterdir():
            try:
                yield path.name, path.stat().st_size
            except FileNotFoundError:
                continue

    def _part_bytes(self, sha256: str) -> int:
        return dict(self._existing("parts")).get(sha256, 0)

    def _last_use_s(self, sha256: str) -> float:
        """When the file was last used, or the part last written; now, for what is just leaving."""
        for path in (self._folder.record(sha256), self._folder.part(sha256)):
            try:
                return path.stat().st_mtime
            except FileNotFoundError:
                continue
        return time.time()
