"""What an exception of a training means for its job: whether to try again, why it ended, and what to do."""

import errno
from dataclasses import dataclass

from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound, ZooError
from zoo.training.v1 import trainer_service_pb2 as pb

__all__ = ["Failure", "failure_of", "is_out_of_memory"]

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# What torch and the libraries below it say where an allocation fails; most have no class for it.
_MEMORY_WORDS = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "bad_alloc",
    "could not create a memory",
)


@dataclass(frozen=True, slots=True)
class Failure:
    """As ReleaseJobRequest has it."""

    outcome: pb.Outcome.ValueType
    reason: str
    message: str


def failure_of(error: BaseException) -> Failure:
    if is_out_of_memory(error):
        return Failure(
            pb.OUTCOME_FAILED,
            "OUT_OF_MEMORY",
            "Memory ended with one example at a time. Choose a smaller base, shorter inputs, gradient_checkpointing, "
            "or trainers with more memory.",
        )
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return Failure(
            pb.OUTCOME_FAILED, "DISK_FULL", "The trainer's disk is full: free some, or give it a larger one."
        )
    if isinstance(error, InvalidArgument | FailedPrecondition | NotFound) and error.reason:
        return Failure(pb.OUTCOME_HOPELESS, error.reason, error.message)
    if isinstance(error, ZooError):
        return Failure(pb.OUTCOME_FAILED, error.reason or "TRAINER_CRASHED", error.message)
    return Failure(
        pb.OUTCOME_FAILED,
        "TRAINER_CRASHED",
        f"The training ended with {type(error).__name__}: {str(error)[:2000]}. The job's log has all of it.",
    )


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _MEMORY_WORDS)
