"""Publishes starters that the zoo does not have yet, in their current form."""

from collections.abc import Callable, Sequence
from pathlib import Path

from modelzoo.client import Client
from modelzoo.errors import NotFound
from modelzoo.progress import Progress
from zoo_starters.efficientnet_lite0 import EFFICIENTNET_LITE0
from zoo_starters.minilm import MINILM
from zoo_starters.smollm import SMOLLM2
from zoo_starters.starter import Starter, build
from zoo_starters.whisper import WHISPER

__all__ = ["STARTERS", "publish"]

STARTERS: Sequence[Starter] = (MINILM, SMOLLM2, EFFICIENTNET_LITE0, WHISPER)


def publish(
    client: Client, starter: Starter, work: Path, say: Callable[[str], None], progress: Progress | None = None
) -> str:
    """The reference of the starter's version, published now or before. `say` hears what takes long."""
    published = _published(client, starter)
    if published is not None:
        return published
    say(f"fetching and converting {starter.name}")
    folder = build(starter, work)
    say(f"pushing {starter.name}")
    return client.push(folder, starter.name, source=starter.source, progress=progress).reference


def _published(client: Client, starter: Starter) -> str | None:
    try:
        version = client.version(starter.name)
    except NotFound:
        return None
    return version.reference if version.source == starter.source else None
