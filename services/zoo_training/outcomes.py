"""What becomes of a job when an attempt at it ends. A pure function."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from zoo_training.job import JobState, Wanted
from zoo_training.policy import Policy, backoff

__all__ = ["Attempt", "Ending", "Outcome", "ending"]


class Outcome(Enum):
    """By the names of zoo.training.v1.Outcome; LAPSED is what the service itself sees."""

    TRAINED = "TRAINED"
    FAILED = "FAILED"
    HOPELESS = "HOPELESS"
    YIELDED = "YIELDED"
    STOPPED = "STOPPED"
    LAPSED = "LAPSED"


COUNTING = frozenset({Outcome.FAILED, Outcome.HOPELESS, Outcome.LAPSED})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One that ends. `tries` are those that count, with this one; `unrenewed` are leases in a row that lapsed without
    a renewal, before this one."""

    wanted: Wanted
    tries: int
    max_attempts: int
    renewals: int
    unrenewed: int


@dataclass(frozen=True, slots=True)
class Ending:
    """The job's next state; if that is QUEUED, how long it waits there. `counts`: the attempt is one of its tries."""

    state: JobState
    reason: str
    message: str
    counts: bool
    wait: timedelta = timedelta(0)


def ending(attempt: Attempt, outcome: Outcome, reason: str, message: str, policy: Policy, draw: float) -> Ending:
    """What is next. TRAINED is one only where the job was cancelled before; else its result is published.

    Cancelling wins over whatever else happened. Pausing holds what would be tried again.
    """
    # Nobody has seen the lease: its answer was lost. But whoever kills its trainer at once is not tried for ever.
    unseen = outcome is Outcome.LAPSED and not attempt.renewals and attempt.unrenewed < policy.unrenewed_most
    counts = outcome in COUNTING and not unseen
    if attempt.wanted is Wanted.CANCEL:
        return Ending(JobState.CANCELLED, "", "", counts)
    if outcome is Outcome.TRAINED:
        raise AssertionError("what is trained is published")
    if outcome is Outcome.HOPELESS:
        return Ending(JobState.FAILED, reason, message, counts)
    if counts and attempt.tries >= attempt.max_attempts:
        last = f"{reason}: {message}" if message else reason
        tried = f"all {attempt.max_attempts} attempts failed; the last: {last}"
        return Ending(JobState.FAILED, "ATTEMPTS_EXHAUSTED", tried, counts)
    if attempt.wanted is Wanted.PAUSE:
        return Ending(JobState.PAUSED, reason, message, counts)
    wait = backoff(policy, attempt.tries, draw) if counts else timedelta(0)
    return Ending(JobState.QUEUED, reason, message, counts, wait)
