"""The numbers by which jobs are queued, leased and tried again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

__all__ = ["Policy", "backoff"]


@dataclass(frozen=True, slots=True)
class Policy:
    """A lease lapses `lease` after its last renewal, and a round of the reconciler comes every `round`.

    A namespace has at most `running_most` jobs RUNNING and `queued_most` QUEUED or PAUSED; 0: no limit. Namespaces
    share a resource class by `weights`, 1 where none is given. After its n-th failure a job waits about `backoff_first`
    times two to the n-1, at most `backoff_most`. So often in a row a lease that nobody renewed costs no attempt.
    """

    lease: timedelta = timedelta(seconds=30)
    round: timedelta = timedelta(seconds=10)
    running_most: int = 64
    queued_most: int = 20_000
    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    backoff_first: timedelta = timedelta(seconds=10)
    backoff_most: timedelta = timedelta(minutes=10)
    unrenewed_most: int = 5

    def weight(self, namespace_key: str) -> float:
        return self.weights.get(namespace_key, 1.0)


def backoff(policy: Policy, failures: int, draw: float) -> timedelta:
    """How long a job waits after its `failures`-th failure; `draw` from 0 to 1 spreads those that failed together."""
    # Beyond 2**30 nobody waits anyway.
    doubled = policy.backoff_first * 2 ** min(max(failures - 1, 0), 30)
    return min(doubled, policy.backoff_most) * (0.5 + draw)
