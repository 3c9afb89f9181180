"""A self-hosted model zoo: publish pretrained models once, use them everywhere.

    import modelzoo

    with modelzoo.Client() as zoo:
        for piece in zoo.generate("zoo/smollm2-135m-instruct", "What is the capital of France?"):
            print(piece, end="", flush=True)

        zoo.classify_image("zoo/efficientnet-lite0", "china.jpg").labels[0]  # computed by a worker

    pipe = modelzoo.pipeline("zoo/efficientnet-lite0")  # computed here; needs the extra `torch`
    pipe("china.jpg")
    model = modelzoo.load("zoo/all-minilm-l6-v2")  # a torch.nn.Module in eval mode
    rows = modelzoo.tensors("zoo/all-minilm-l6-v2", "embeddings.word*", slice(0, 10))  # these rows' bytes alone

Importing this package loads neither torch nor grpc; each name below is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelzoo.async_client import AsyncClient
    from modelzoo.client import Client
    from modelzoo.errors import ZooError
    from modelzoo.pipelines import pipeline
    from modelzoo.ready import load, load_processor
    from modelzoo.reference import Reference
    from modelzoo.tensor_reading import tensors

__all__ = ["AsyncClient", "Client", "Reference", "ZooError", "load", "load_processor", "pipeline", "tensors"]

_HOME = {
    "AsyncClient": "modelzoo.async_client",
    "Client": "modelzoo.client",
    "Reference": "modelzoo.reference",
    "ZooError": "modelzoo.errors",
    "load": "modelzoo.ready",
    "load_processor": "modelzoo.ready",
    "pipeline": "modelzoo.pipelines",
    "tensors": "modelzoo.tensor_reading",
}


def __getattr__(name: str) -> object:
    if name == "errors":
        return importlib.import_module("modelzoo.errors")
    if name not in _HOME:
        raise AttributeError(f"module 'modelzoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "errors"})
