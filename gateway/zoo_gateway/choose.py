"""Which worker a call goes to: a ranking that every gateway computes alike, and the load that each one sees.

`rank` is rendezvous hashing (Thaler and Ravishankar 1998): a model's first worker stays the same when others come or
go. Whoever holds the model already comes before the ranking; among several holders the less loaded of two drawn at
random wins (Mitzenmacher 2001), so that gateways that look at the same stale figures do not all choose the same one.
"""

import functools
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from modelzoo.errors import Unavailable
from modelzoo.reference import Alias, Digest, Reference, Version, parse
from zoo_gateway.workers import Worker
from zoo_store.presence import Declined, LoadedModel

__all__ = ["Chooser", "holds", "rank"]

# The first choice and those that Envoy tries if nothing listens there.
HOSTS_MOST = 3
RETRY_AFTER_S = 2.0


def rank(workers: Iterable[Worker], model: str) -> list[Worker]:
    """Workers in the order in which they should hold the model `namespace/name`; the same for everyone who asks."""
    key = model.casefold()
    return sorted(workers, key=lambda w: hashlib.blake2b(f"{key}|{w.said.name}".encode(), digest_size=8).digest())


def holds(worker: Worker, reference: Reference) -> bool:
    """Whether the worker has, or is loading, a version that the reference may mean."""
    return any(_may_mean(reference, model) for model in worker.said.models)


def declines(worker: Worker, reference: Reference) -> bool:
    """Whether the worker said that it cannot hold a version that the reference may mean."""
    return any(_may_mean(reference, declined) for declined in worker.said.declined)


class Chooser:
    """Chooses among the workers of the picture, counting its own choices since their loads were last reported."""

    def __init__(self, workers: Callable[[], Sequence[Worker]], rng: random.Random | None = None) -> None:
        self._workers = workers
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._chosen: Counter[str] = Counter()

    def reported(self) -> None:
        """The loads in the picture are new, and include what was chosen before."""
        self._chosen.clear()

    def choose(self, model: str) -> list[str]:
        """Addresses for a call that names this reference ("" where it names none), best first, at most HOSTS_MOST.

        Raises REFERENCE_INVALID, or Unavailable WORKER_UNAVAILABLE where nobody takes calls.
        """
        reference = parse(model) if model else None
        takers = [w for w in self._workers() if not w.said.draining]
        if not takers:
            raise Unavailable(
                "WORKER_UNAVAILABLE", "no worker serves at present: retry in a moment", retry_after_s=RETRY_AFTER_S
            )
        ranked = rank(takers, reference.model if reference else "")
        holders = [w for w in ranked if reference and holds(w, reference)]
        first = self._lighter_of_two([w for w in holders if w.confirmed and self._has_room(w)])
        unable = [w for w in ranked if reference and declines(w, reference)]
        # Stable: within each class the ranking stands.
        rest = sorted(ranked, key=lambda w: (not w.confirmed, w in unable, not self._has_room(w), w not in holders))
        order = [*first, *(w for w in rest if w not in first)][:HOSTS_MOST]
        self._chosen[order[0].said.address] += 1
        return [worker.said.address for worker in order]

    def _lighter_of_two(self, workers: list[Worker]) -> list[Worker]:
        drawn = self._rng.sample(workers, min(2, len(workers)))
        return [min(drawn, key=self._load)] if drawn else []

    def _load(self, worker: Worker) -> int:
        return worker.said.running + worker.said.queued + self._chosen[worker.said.address]

    def _has_room(self, worker: Worker) -> bool:
        return self._load(worker) < worker.said.capacity


def _may_mean(reference: Reference, model: LoadedModel | Declined) -> bool:
    loaded = _parsed(model.reference)
    if loaded.model.casefold() != reference.model.casefold():
        return False
    match reference.selector:
        case Version(number):
            return loaded.selector == Version(number)
        case Digest(sha256):
            return model.manifest_digest == sha256
        case Alias() | None:
            return True


# The same few references are compared in every call.
_parsed = functools.lru_cache(maxsize=4096)(parse)
