"""Running the job that made a version again, and saying whether the same tensors come out: `zoo reproduce` and
`Client.reproduce`."""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound
from modelzoo.progress import Progress
from modelzoo.records import Version
from modelzoo.reference import parse
from modelzoo.training_job import TrainingJob
from modelzoo.training_records import Job, Promotion
from modelzoo.version_diff import TensorChange

if TYPE_CHECKING:
    from modelzoo.client import Client

__all__ = ["Recorded", "Reproduction", "TensorAgreement", "compare_runs", "find_recorded", "run_again"]

RECORD = "training.json"
SUFFIX = "-reproduced"
LABEL = "reproduces"


@dataclass(frozen=True, slots=True)
class Recorded:
    """How a version was trained: its job, and what the version itself says of it (empty: nothing)."""

    version: Version
    job: Job
    training: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TensorAgreement:
    """Whether both runs have the tensor bit for bit. `largest` is the largest difference of an element; None where they
    agree, and where there is none: one side lacks it, or it has another dtype or shape, or elements that are no
    numbers."""

    name: str
    agrees: bool
    largest: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What came of running it again: a version `reproduced` by `again`, and every tensor of both. `causes` say what is
    likely to have made the difference; none where there is none."""

    reference: str
    job: str
    reproduced: str
    again: str
    tensors: tuple[TensorAgreement, ...]
    causes: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return all(tensor.agrees for tensor in self.tensors)


def find_recorded(client: "Client", ref: str) -> Recorded:
    """The job that made the version, by its lineage, and training.json of its files.

    Raises TRAINING_NOT_RECORDED where no job made it, the job is not there any more, or base or data are not those that
    it was trained with.
    """
    version = client.version(ref)
    found = client.lineages.get(version.reference, direction="up", depth=1)
    names = sorted({edge.job for edge in found.edges if edge.child == 0 and edge.job})
    if not names:
        raise _not_recorded(version, "its lineage names no job: it was pushed, merged or imported, not trained here")
    try:
        job = client.jobs.get(names[0])
    except NotFound as error:
        raise _not_recorded(version, f"its job {names[0]} is not there any more, or hidden from you") from error
    training = _training_of(client, version)
    for role, reference in (("base", job.spec.base), ("dataset", job.spec.dataset)):
        said = cast(dict[str, Any], training.get(role) or {}).get("manifest_digest")
        if said is not None and client.version(reference).manifest_digest != said:
            raise _not_recorded(version, f"{reference}, its {role}, has other files than it was trained with")
    return Recorded(version, job, training)


def run_again(client: "Client", recorded: Recorded, to: str = "") -> TrainingJob:
    """A new job of the same base, data, recipe, parameters, budget and seed, labelled `reproduces`. It makes a version
    of `to`, by default the model's own name and `-reproduced`, moves no alias, and has no deadline."""
    output = parse(to or f"{recorded.version.model}{SUFFIX}")
    if output.selector is not None:
        raise InvalidArgument(
            "REFERENCE_INVALID", f"The zoo gives versions their numbers: train into {output.model}, without '@'."
        )
    spec = replace(recorded.job.spec, output=output.model, promotion=Promotion(), deadline=None)
    return client.jobs.open(client.jobs.create(spec, labels={LABEL: recorded.job.name}).name)


def compare_runs(
    client: "Client", recorded: Recorded, again: Job, reproduced: Version, progress: Progress | None = None
) -> Reproduction:
    """Every tensor of the version beside that of the same name of `reproduced`, which the final job `again` made."""
    first = recorded.version
    # How far they are apart needs numpy; whether they are needs nothing.
    norms = importlib.util.find_spec("numpy") is not None
    changed = {
        change.name: change
        for change in client.diff(first.reference, reproduced.reference, norms=norms, progress=progress).tensors
    }
    names = sorted({*changed, *(info.name for info in client.tensor_infos(first.reference))})
    tensors = tuple(_agreement(name, changed.get(name)) for name in names)
    causes: tuple[str, ...] = ()
    if changed:
        causes = tuple(_causes(recorded, again, _training_of(client, reproduced)))
    return Reproduction(first.reference, recorded.job.name, reproduced.reference, again.name, tensors, causes)


def _agreement(name: str, change: TensorChange | None) -> TensorAgreement:
    if change is None:
        return TensorAgreement(name, agrees=True, largest=None)
    before, after = change.before, change.after
    if before is None or after is None:
        why = "only the second run has it" if before is None else "only the first run has it"
    elif (before.dtype, before.shape) != (after.dtype, after.shape):
        why = f"{before.dtype} {list(before.shape)}, then {after.dtype} {list(after.shape)}"
    else:
        why = (
            "" if change.largest is not None else "it has elements that are no numbers, or numpy is not installed here"
        )
    return TensorAgreement(name, agrees=False, largest=change.largest, why=why)


def _causes(recorded: Recorded, again: Job, training: Mapping[str, Any]) -> Iterator[str]:
    """What is likely to have made the difference, the likeliest first."""
    first = recorded.training
    software = [cast(dict[str, str], each.get("software") or {}) for each in (first, training)]
    before = {name: said for name, said in software[0].items() if said}
    differing = [
        (name, said, software[1].get(name, "")) for name, said in before.items() if said != software[1].get(name)
    ]
    yield from (f"{name} {said} then, {now or 'not said'} now" for name, said, now in differing)
    alike = not differing
    for key, what in (("device", "device"), ("processor", "processor"), ("threads", "number of threads")):
        then, now = first.get(key), training.get(key)
        if then is not None and then != now:
            alike = False
            yield f"another {what}: {then} then, {now} now"
    settings = [cast(dict[str, Any], each.get("settings") or {}) for each in (first, training)]
    for name in sorted(name for name in settings[0] if settings[0][name] != settings[1].get(name)):
        alike = False
        yield f"another {name}: {settings[0][name]} then, {settings[1].get(name)} now"
    notes = [cast(list[str], each.get("notes") or []) for each in (first, training)]
    for when, said, other in (("then", *notes), ("now", *reversed(notes))):
        yield from (f"said only {when}: {note}" for note in said if note not in other)
    if first.get("seed") != training.get("seed"):
        alike = False
        yield f"another seed: {first.get('seed')} then, {training.get('seed')} now"
    if first.get("steps") != training.get("steps"):
        wall = "its budget of time ended at another step: " if again.spec.budget.wall_time_s is not None else ""
        yield f"{wall}{first.get('steps')} steps then, {training.get('steps')} now"
    if not before or "processor" not in first:
        yield "the version says little of where it was trained: trainers of earlier releases did not record it"
    elif alike and (training.get("device") != "cpu" or training.get("threads") != 1):
        where = "a GPU" if training.get("device") != "cpu" else f"{training.get('threads')} threads"
        yield f"sums on {where} come in no fixed order: on CPU with one thread they do"
    elif alike:
        yield "nothing that is recorded differs: the recipe itself may draw at random from elsewhere than its seed"


def _training_of(client: "Client", version: Version) -> Mapping[str, Any]:
    """training.json of the version; empty where it has none, or none that can be read."""
    try:
        content: Any = json.loads((client.download(version.reference, only=[RECORD]).path / RECORD).read_bytes())
    except (NotFound, ValueError):
        return {}
    return cast(dict[str, Any], content) if isinstance(content, dict) else {}


def _not_recorded(version: Version, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        "TRAINING_NOT_RECORDED",
        f"{version.reference} cannot be trained again as it was: {why}.",
        metadata={"reference": version.reference},
    )
