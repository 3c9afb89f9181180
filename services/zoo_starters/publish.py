"""Publishes starters that the zoo does not have yet, in their current form."""

from collections.abc import Callable, Sequence
from pathlib import Path

from modelzoo.client import Client
from modelzoo.errors import AlreadyExists, NotFound
from modelzoo.progress import Progress
from modelzoo.training_job import TrainingJob
from modelzoo.training_records import Budget, JobSpec
from zoo_starters.alexnet_digits import ALEXNET_DIGITS
from zoo_starters.bert_mini_wordnet import BERT_MINI_WORDNET
from zoo_starters.dfine_mini_digits import DFINE_MINI_DIGITS
from zoo_starters.efficientnet_lite0 import EFFICIENTNET_LITE0
from zoo_starters.gpt2_mini import GPT2_MINI
from zoo_starters.learned import Learned
from zoo_starters.minilm import MINILM
from zoo_starters.resnet18_digits import RESNET18_DIGITS
from zoo_starters.smollm import SMOLLM2
from zoo_starters.starter import Starter, build
from zoo_starters.whisper import WHISPER

__all__ = ["STARTERS", "publish"]

STARTERS: Sequence[Starter] = (
    MINILM,
    SMOLLM2,
    EFFICIENTNET_LITE0,
    WHISPER,
    ALEXNET_DIGITS,
    RESNET18_DIGITS,
    BERT_MINI_WORDNET,
    GPT2_MINI,
    DFINE_MINI_DIGITS,
)


# Of a job: which starter it trains, in which form. Another base or dataset is another form.
LABEL = "starter"
_IN_VAIN = ("FAILED", "CANCELLED")
_USABLE = ("READY", "DEPRECATED")


def publish(
    client: Client,
    starter: Starter,
    work: Path,
    say: Callable[[str], None],
    progress: Progress | None = None,
    *,
    steps: int | None = None,
    follow: Callable[[TrainingJob], object] = lambda job: None,
) -> str:
    """The reference of the starter's version, published now or before. `say` hears what takes long, `follow` gets the
    job that trains it, while one does. Raises what `TrainingJob.result` does where that job ends in vain.

    With `steps`, a stand-in trained for so many will do, where the zoo has not the real one.
    """
    if isinstance(starter.make, Learned):
        job = _job_of(client, starter)
        if job is not None and job.record.state == "SUCCEEDED":
            return job.record.result
        if steps is None:
            job = job or _start(client, starter, starter.make, work, say, progress)
            follow(job)
            return job.result().reference
    source = starter.source if steps is None else f"{starter.source}, a stand-in of {steps} steps"
    published = _published(client, starter.name, {starter.source, source})
    if published is not None:
        return published
    say(f"making {starter.name}, unless it was made before")
    folder = build(starter, work, steps)
    say(f"pushing {starter.name}")
    return client.push(folder, starter.name, format=starter.format, source=source, progress=progress).reference


def _job_of(client: Client, starter: Starter) -> TrainingJob | None:
    """The newest job that trains the starter in its current form, or has done so, if its version is still there."""
    query = f'labels.{LABEL} = "{_label(starter)}"'
    namespace = starter.name.partition("/")[0]
    for job in client.jobs.list(namespace, filter=query):
        if job.state not in _IN_VAIN and (not job.is_final or _is_there(client, job.result)):
            return client.jobs.open(job.name)
    return None


def _is_there(client: Client, reference: str) -> bool:
    try:
        return client.version(reference).state in _USABLE
    except NotFound:
        return False


def _start(
    client: Client,
    starter: Starter,
    learned: Learned,
    work: Path,
    say: Callable[[str], None],
    progress: Progress | None,
) -> TrainingJob:
    base, dataset = (publish(client, each, work, say, progress) for each in (learned.base, learned.dataset))
    spec = JobSpec(
        base=base,
        dataset=dataset,
        output=starter.name,
        recipe=learned.recipe,
        parameters=learned.parameters,
        budget=Budget(steps=learned.steps),
        seed=learned.seed,
    )
    try:
        client.manage.create_model(starter.name, description=learned.description)
    except AlreadyExists:
        client.manage.update_model(starter.name, description=learned.description)
    return client.jobs.open(client.jobs.create(spec, labels={LABEL: _label(starter)}).name)


def _label(starter: Starter) -> str:
    return f"{starter.name.partition('/')[2]}-{starter.recipe}"


def _published(client: Client, name: str, sources: set[str]) -> str | None:
    try:
        version = client.version(name)
    except NotFound:
        return None
    return version.reference if version.source in sources else None
