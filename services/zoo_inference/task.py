"""What a model can do here, by its architecture."""

from enum import Enum
from functools import cache

from modelzoo.errors import FailedPrecondition

__all__ = ["Task", "check_task", "task_mismatch", "task_of", "unsupported"]


class Task(Enum):
    """The values are the Hub's pipeline tags, as the catalog has them."""

    GENERATE = "text-generation"
    EMBED = "sentence-similarity"


_METHODS = {Task.GENERATE: "Generate or StreamGenerate", Task.EMBED: "Embed"}


def task_of(architecture: str) -> Task | None:
    """None for an architecture that no worker runs."""
    generating, encoding = _architectures()
    if architecture in generating:
        return Task.GENERATE
    return Task.EMBED if architecture in encoding else None


def check_task(reference: str, architecture: str, wanted: Task) -> None:
    """Raise TASK_MISMATCH or MODEL_UNSUPPORTED unless models of this architecture do what is wanted."""
    found = task_of(architecture)
    if found is wanted:
        return
    if found is None:
        raise unsupported(reference, architecture)
    raise task_mismatch(reference, found, wanted)


def task_mismatch(reference: str, found: Task, wanted: Task) -> FailedPrecondition:
    return FailedPrecondition(
        "TASK_MISMATCH",
        f"{reference} does {found.value}, not {wanted.value}: call {_METHODS[found]}",
        metadata={"task": found.value},
    )


def unsupported(reference: str, architecture: str) -> FailedPrecondition:
    return FailedPrecondition(
        "MODEL_UNSUPPORTED",
        f"{reference} is a {architecture[:80]!a}, which no worker runs: pull it and run it locally",
    )


@cache
def _architectures() -> tuple[frozenset[str], frozenset[str]]:
    """Class names of causal language models, and of encoders of text."""
    from transformers.models.auto import modeling_auto as names

    encoders = set(names.MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    bare = {cls for kind, cls in names.MODEL_MAPPING_NAMES.items() if kind in encoders and isinstance(cls, str)}
    masked = set(names.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values())
    generating = set(names.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    return frozenset(generating - masked), frozenset(bare | masked)
