"""What aliases mean, known without asking: a picture of a few models that the log of changes keeps current."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from modelzoo import records
from modelzoo.change_log import ChangeStream
from modelzoo.errors import NotFound, ZooError
from modelzoo.reference import Alias, Digest, Reference, Version, parse

__all__ = ["STALE_MOST_S", "Following"]

STALE_MOST_S = 30.0
BEGIN_AGAIN_S = 2.0
_USABLE = ("READY", "DEPRECATED")


class Following:
    """Answers references of the followed models from memory, as `Client.version` would.

    A thread watches the changes of these models and looks at a model again when one comes: a moved alias is known here
    a moment later (a second later where another replica of the catalog moved it). `staleness_s` says how old the
    picture may be; the zoo confirms it every 5 seconds. Where it is older than `stale_most_s`, before it is there, and
    for what is not in it (other models, other versions than an alias's or the latest), `version` makes a call.

    For any number of threads. Close it, or use it in a `with`.
    """

    def __init__(
        self,
        models: Iterable[str],
        *,
        watch: Callable[[list[str]], ChangeStream],
        version: Callable[[str], records.Version],
        aliases: Callable[[str], Iterator[records.Alias]],
        stale_most_s: float = STALE_MOST_S,
    ) -> None:
        self.stale_most_s = stale_most_s
        self._models = sorted({parse(model).model.casefold() for model in models})
        self._watch = watch
        self._version = version
        self._aliases = aliases
        self._pictures: dict[str, _Picture] = {}
        self._confirmed: float | None = None
        self._known = threading.Event()
        self._closed = threading.Event()
        self._stream = watch(self._models)
        self._thread = threading.Thread(target=self._follow, name="zoo-following", daemon=True)
        self._thread.start()

    def version(self, ref: str) -> records.Version:
        """The version that the reference means; one by weight where an alias has several. Raises as Client.version."""
        reference = parse(ref)
        if self.staleness_s <= self.stale_most_s:
            picture = self._pictures.get(reference.model.casefold())
            found = picture.find(reference) if picture else None
            if found is not None:
                return found
        return self._version(ref)

    @property
    def staleness_s(self) -> float:
        """Seconds since the zoo said that nothing else has changed; infinite before it first did."""
        confirmed = self._confirmed
        return float("inf") if confirmed is None else time.monotonic() - confirmed

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the picture is there; whether it is."""
        return self._known.wait(timeout_s)

    def close(self) -> None:
        """Follow no more; what is asked afterwards is answered by calls. Closing twice is harmless."""
        self._closed.set()
        self._stream.close()
        self._thread.join()
        self._confirmed = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _follow(self) -> None:
        while not self._closed.is_set():
            # Whatever it is that cannot be gone on from, such as a cursor that a restored catalog does not know: the
            # picture ages, calls say what is wrong, and a new one is begun.
            with suppress(ZooError, StopIteration):
                self._keep_current(self._stream)
            if not self._closed.wait(BEGIN_AGAIN_S):
                self._stream = self._watch(self._models)

    def _keep_current(self, stream: ChangeStream) -> None:
        changed = set(self._models)
        while True:
            change = stream.receive()
            received = time.monotonic()
            if change is not None:
                changed |= {model for model in self._models if change.resource.casefold().startswith(model)}
                continue
            for model in sorted(changed):
                self._pictures[model] = self._look(model)
                changed.discard(model)
            self._confirmed = received
            self._known.set()

    def _look(self, model: str) -> "_Picture":
        """The model as it is now; without anything where there is no such model."""
        with suppress(NotFound):
            targets = {alias.alias: alias.targets for alias in self._aliases(model)}
            numbers = {target.version for alias in targets.values() for target in alias}
            versions = {number: self._version(f"{model}@{number}") for number in numbers}
            latest = None
            with suppress(NotFound):
                latest = self._version(model)
                versions[latest.version] = latest
            return _Picture(latest, versions, targets)
        return _Picture()


@dataclass(frozen=True, slots=True)
class _Picture:
    latest: records.Version | None = None
    versions: Mapping[int, records.Version] = field(default_factory=dict[int, records.Version])
    targets: Mapping[str, tuple[records.AliasTarget, ...]] = field(
        default_factory=dict[str, tuple[records.AliasTarget, ...]]
    )

    def find(self, reference: Reference) -> records.Version | None:
        """What it means, as far as the picture says."""
        match reference.selector:
            case None:
                return self.latest
            case Version(number):
                return self.versions.get(number)
            case Alias(name):
                usable = [
                    t for t in self.targets.get(name, ()) if t.weight and self.versions[t.version].state in _USABLE
                ]
                if not usable:
                    return None
                [target] = random.choices(usable, [t.weight for t in usable])  # noqa: S311 - shares of traffic
                return self.versions[target.version]
            case Digest(sha256):
                known = [v for v in self.versions.values() if v.manifest_digest == sha256 and v.state in _USABLE]
                return max(known, key=lambda version: version.version, default=None)
