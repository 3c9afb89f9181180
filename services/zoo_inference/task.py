"""Whether a model does what is asked of it."""

from modelzoo.errors import FailedPrecondition
from modelzoo.tasks.task import Task, task_of

__all__ = ["check_task", "task_mismatch", "unsupported"]

_METHODS = {
    Task.GENERATE: "Generate or StreamGenerate",
    Task.EMBED: "Embed",
    Task.CLASSIFY_TEXT: "ClassifyText",
    Task.CLASSIFY_IMAGE: "ClassifyImage",
    Task.DETECT_OBJECTS: "DetectObjects",
    Task.TRANSCRIBE: "Transcribe",
}


def check_task(reference: str, architecture: str, wanted: Task) -> None:
    """Raise TASK_MISMATCH or MODEL_UNSUPPORTED unless models of this architecture do what is wanted."""
    found = task_of(architecture)
    if found is wanted:
        return
    if found is None or found not in _METHODS:
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
