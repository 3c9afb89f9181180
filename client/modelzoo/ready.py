"""Models and processors ready for use, by reference; needs the extra `torch`."""

import weakref
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from modelzoo.client import Client
    from modelzoo.records import PullResult

__all__ = ["Held", "held", "load", "load_processor"]


def load(ref: str, *, client: "Client | None" = None) -> "torch.nn.Module":
    """The version's model in eval mode, as transformers itself loads it, its tensors mapped from the local cache.

    Files that the cache lacks are pulled first, and stay in it as long as the model lives. Without `client`, one is
    opened as `Client()` does. Raises what `Client.pull` raises; MODEL_UNSUPPORTED or MODEL_LOAD_FAILED where it is no
    model of transformers.
    """
    from modelzoo.loading import load_directory

    with held(ref, client) as files:
        model = load_directory(files.result.path)
        files.keep_for(model)
    return model


def load_processor(ref: str, *, client: "Client | None" = None) -> Any:
    """The version's tokenizer, image processor or feature extractor, whichever its files describe."""
    from modelzoo.loading import load_processor_directory

    with held(ref, client) as files:
        return load_processor_directory(files.result.path)


class Held:
    """A version's files, kept in the local cache until the block ends or an object dies."""

    def __init__(self, result: "PullResult", stack: ExitStack) -> None:
        self.result = result
        self._stack = stack

    def keep_for(self, owner: object) -> None:
        """Let the files stay as long as `owner` lives, whose tensors are mapped from them."""
        weakref.finalize(owner, self._stack.pop_all().close)


@contextmanager
def held(ref: str, client: "Client | None") -> Generator[Held]:
    """The version's files in the local cache, through `client` or one that is opened for it."""
    from modelzoo.client import Client

    with ExitStack() as own:
        used = client or own.enter_context(Client())
        with ExitStack() as stack:
            yield Held(stack.enter_context(used.hold(ref)), stack)
