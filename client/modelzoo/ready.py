"""Models and processors ready for use, by reference; needs the extra `torch`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from modelzoo.client import Client
    from modelzoo.records import PullResult

__all__ = ["load", "load_processor", "pulled"]


def load(ref: str, *, client: "Client | None" = None) -> "torch.nn.Module":
    """The version's model in eval mode, as transformers itself loads it, its tensors mapped from the local cache.

    Files that the cache lacks are pulled first. Without `client`, one is opened as `Client()` does. Raises what
    `Client.pull` raises; MODEL_UNSUPPORTED or MODEL_LOAD_FAILED where it is no model of transformers.
    """
    from modelzoo.loading import load_directory

    return load_directory(pulled(ref, client).path)


def load_processor(ref: str, *, client: "Client | None" = None) -> Any:
    """The version's tokenizer, image processor or feature extractor, whichever its files describe."""
    from modelzoo.loading import load_processor_directory

    return load_processor_directory(pulled(ref, client).path)


def pulled(ref: str, client: "Client | None") -> "PullResult":
    """The version's files in the local cache, through `client` or one that is opened for it."""
    from modelzoo.client import Client

    if client is not None:
        return client.download(ref)
    with Client() as own:
        return own.download(ref)
