"""Models and processors ready for use, by reference; needs the extra `torch`."""

import weakref
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from modelzoo.adapter_base import base_of
from modelzoo.adapter_files import is_adapter, join_files

if TYPE_CHECKING:
    import torch

    from modelzoo.client import Client
    from modelzoo.records import PullResult

__all__ = ["Held", "held", "load", "load_processor"]


def load(ref: str, *, client: "Client | None" = None) -> "torch.nn.Module":
    """The version's model in eval mode, as transformers itself loads it, its tensors mapped from the local cache.

    Of a LoRA adapter (`modelzoo[merge]`) it is the base with the adapter added; only what that changes is not mapped.
    Files that the cache lacks are pulled first, and stay in it as long as the model lives. Without `client`, one is
    opened as `Client()` does. Raises what `Client.pull` raises; MODEL_UNSUPPORTED or MODEL_LOAD_FAILED where it is no
    model of transformers; ADAPTER_BASE_MISSING, ADAPTER_UNSUITABLE.
    """
    from modelzoo.loading import load_directory
    from modelzoo.lora import load_adapted

    with held(ref, client) as files:
        adapter = files.adapter
        model = load_directory(files.path) if adapter is None else load_adapted(files.path, adapter)
        files.keep_for(model)
    return model


def load_processor(ref: str, *, client: "Client | None" = None) -> Any:
    """The version's tokenizer, image processor or feature extractor, whichever its files describe; of an adapter, what
    stands beside it, and else its base's."""
    from modelzoo.loading import load_processor_directory

    with held(ref, client) as files:
        return load_processor_directory(files.path)


class Held:
    """A version's files, kept in the local cache until the block ends or an object dies.

    `path` has those of the model: the version's own, or, where it is an adapter, its base's. Then `adapter` is where
    it lies itself.
    """

    def __init__(self, result: "PullResult", path: Path, adapter: Path | None, stack: ExitStack) -> None:
        self.result = result
        self.path = path
        self.adapter = adapter
        self._stack = stack

    def keep_for(self, owner: object) -> None:
        """Let the files stay as long as `owner` lives, whose tensors are mapped from them."""
        weakref.finalize(owner, self._stack.pop_all().close)


@contextmanager
def held(ref: str, client: "Client | None") -> Generator[Held]:
    """The version's files in the local cache, through `client` or one that is opened for it; an adapter's with its
    base's. Raises what `Client.pull` and `modelzoo.adapter_base.base_of` raise."""
    from modelzoo.client import Client

    with ExitStack() as own:
        used = client or own.enter_context(Client())
        with ExitStack() as stack:
            result = stack.enter_context(used.hold(ref))
            if is_adapter(result.path):
                base = base_of(used, used.version(result.reference))
                model = stack.enter_context(used.hold(base.reference))
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="zoo-adapted-")))
                join_files(model.path, result.path, folder)
                yield Held(result, folder, result.path, stack)
            else:
                yield Held(result, result.path, None, stack)
