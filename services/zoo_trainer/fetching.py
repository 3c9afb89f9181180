"""Brings what an attempt needs into the node cache, and keeps it there as long as the attempt lasts."""

import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelzoo.cache import NodeCache
from modelzoo.errors import DataLoss, NotFound
from modelzoo.pull import hold
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_server.peers import open_sync_peer
from zoo_trainer.credential import PrincipalFile

__all__ = ["NOTHING", "Fetched", "Fetches", "GivenUp", "PulledSources"]


class GivenUp(Exception):
    """Fetching ended because nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Directories that nobody may write to; `checkpoint` is None where there is none, or none that can be read, and
    `lost` says why."""

    base: Path
    dataset: Path
    checkpoint: Path | None
    lost: str = ""


NOTHING = Fetched(Path(), Path(), None)


class Fetches(Protocol):
    """Where files of attempts come from."""

    def hold(
        self, lease: pb.Lease, principal: PrincipalFile, stopped: threading.Event
    ) -> AbstractContextManager[Fetched]:
        """The files of the lease's base, dataset and checkpoint, for the length of a block.

        Blocks. Raises what pulling raises, and GivenUp soon after `stopped` is set.
        """
        ...


class PulledSources:
    """The artifact service, by way of the node cache, as the job's principal."""

    def __init__(self, artifact: str, cache: NodeCache) -> None:
        self._artifact = artifact
        self._cache = cache

    @contextmanager
    def hold(self, lease: pb.Lease, principal: PrincipalFile, stopped: threading.Event) -> Generator[Fetched]:
        with ExitStack() as stack:
            channel = stack.enter_context(open_sync_peer(self._artifact, principal))
            progress = _Watching(stopped)

            def held(namespace: str, digest: str, name: str) -> Path:
                return stack.enter_context(hold(channel, self._cache, namespace, digest, progress, name=name))

            base, dataset = (
                held(each.reference.partition("/")[0], each.manifest_digest, each.reference)
                for each in (lease.base, lease.dataset)
            )
            digest = lease.job.checkpoint.manifest_digest
            checkpoint, lost = None, ""
            if digest:
                try:
                    checkpoint = held(lease.job.spec.output.partition("/")[0], digest, f"{lease.job.name}/checkpoint")
                except (NotFound, DataLoss) as error:
                    lost = error.message
            yield Fetched(base, dataset, checkpoint, lost)


class _Watching:
    """A Progress that ends the work when it is not wanted any more."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped

    def start(self, total_bytes: int) -> None:
        self._check()

    def skip(self, count_bytes: int) -> None:
        self._check()

    def advance(self, count_bytes: int) -> None:
        self._check()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise GivenUp
