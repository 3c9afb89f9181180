"""Publishes starters that the zoo does not have yet, in their current form."""

from collections.abc import Callable, Sequence
from pathlib import Path

from modelzoo.client import Client
from modelzoo.errors import NotFound
from modelzoo.progress import Progress
from zoo_starters.alexnet_digits import ALEXNET_DIGITS
from zoo_starters.bert_mini_wordnet import BERT_MINI_WORDNET
from zoo_starters.dfine_mini_digits import DFINE_MINI_DIGITS
from zoo_starters.efficientnet_lite0 import EFFICIENTNET_LITE0
from zoo_starters.gpt2_mini import GPT2_MINI
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


def publish(
    client: Client,
    starter: Starter,
    work: Path,
    say: Callable[[str], None],
    progress: Progress | None = None,
    *,
    steps: int | None = None,
) -> str:
    """The reference of the starter's version, published now or before. `say` hears what takes long.

    With `steps`, a stand-in trained for so many will do, where the zoo has not the real one.
    """
    source = starter.source if steps is None else f"{starter.source}, a stand-in of {steps} steps"
    published = _published(client, starter.name, {starter.source, source})
    if published is not None:
        return published
    say(f"making {starter.name}, unless it was made before")
    folder = build(starter, work, steps)
    say(f"pushing {starter.name}")
    return client.push(folder, starter.name, source=source, progress=progress).reference


def _published(client: Client, name: str, sources: set[str]) -> str | None:
    try:
        version = client.version(name)
    except NotFound:
        return None
    return version.reference if version.source in sources else None
