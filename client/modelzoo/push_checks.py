"""What a push looks at before anything is sent: whether the zoo would take these files, and whether they are meant."""

from functools import partial
from pathlib import Path

import grpc

from modelzoo import records
from modelzoo.calls import translated
from modelzoo.datasets import read_dataset
from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.gguf_header import check_gguf
from modelzoo.manifest import FORMATS
from modelzoo.sniff import danger_in
from modelzoo.tree import Tree
from zoo.artifact.v1 import artifact_service_pb2 as artifact_pb
from zoo.artifact.v1 import artifact_service_pb2_grpc as artifact_rpc
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc

__all__ = [
    "DATASET",
    "check_dataset",
    "check_files",
    "check_format",
    "check_kind",
    "check_loadable",
    "guess_format",
    "what_lacks",
]

DATASET, OPAQUE = "dataset", "opaque"
LOADABLE = ("adapter", "onnx", "transformers")  # formats that workers load
DATA_SUFFIXES = (".csv", ".jsonl", ".parquet")


def guess_format(tree: Tree) -> str:
    """The manifest format that the files' names speak for; `opaque` where they say nothing."""
    names = {entry.path for entry in tree.files}
    suffixes = {Path(name).suffix.lower() for name in names}
    if "adapter_config.json" in names and ".safetensors" in suffixes:
        return "adapter"
    if "config.json" in names and ".safetensors" in suffixes:
        return "transformers"
    if ".onnx" in suffixes:
        return "onnx"
    return "gguf" if ".gguf" in suffixes else OPAQUE


def what_lacks(tree: Tree) -> str | None:
    """What keeps every worker from loading these files as a model, in words; None where nothing is seen that does."""
    format = guess_format(tree)
    if format != OPAQUE:
        return "its weights are GGUF" if format == "gguf" else None
    names = {entry.path for entry in tree.files}
    if "config.json" in names:
        return "there are no *.safetensors beside config.json"
    has_weights = any(name.lower().endswith(".safetensors") for name in names)
    return "there is no config.json beside the safetensors" if has_weights else "there are no weights"


def check_format(format: str) -> None:
    """Raise MANIFEST_INVALID for a word that is no format."""
    if format in FORMATS:
        return
    meant = " Safetensors with a config.json are `transformers`." if format == "safetensors" else ""
    raise InvalidArgument("MANIFEST_INVALID", f"{format!a} is no format: use one of {', '.join(FORMATS)}.{meant}")


def check_kind(model: records.Model, format: str) -> None:
    """Raise KIND_MISMATCH where the catalog would: for a dataset under the name of a model, or the other way round."""
    kind = model.kind.lower()
    if (format == DATASET) == (kind == DATASET):
        return
    advice = "publish them under the name of a dataset" if format == DATASET else "publish with the format `dataset`"
    raise FailedPrecondition(
        "KIND_MISMATCH",
        f"'{model.name}' is a {kind}, and these files have the format {format}: {advice}.",
        metadata={"kind": kind},
    )


def check_loadable(catalog: rpc.CatalogServiceStub, model: records.Model, tree: Tree) -> None:
    """Of files that nobody gave a format: raise NOT_LOADABLE where no worker can load them, and the model has a READY
    version that workers load. `latest` would mean them from then on, and retention could delete what works.
    """
    lacking = what_lacks(tree)
    if lacking is None:
        return
    with translated():
        ready = catalog.ListVersions(pb.ListVersionsRequest(model=model.name, filter="state = READY")).versions
    working = next((f"{model.name}@{version.version}" for version in ready if version.facts.format in LOADABLE), None)
    if working is None:
        return
    is_data = any(entry.path.lower().endswith(DATA_SUFFIXES) for entry in tree.files)
    advice = "push a dataset under a name of its own (`--dataset`), or" if is_data else "complete them, or"
    raise FailedPrecondition(
        "NOT_LOADABLE",
        f"No worker can load these files as a model ({lacking}), and {working} is one: they would become the latest "
        f"version of '{model.name}'. Nothing was sent: {advice} give the format `{guess_format(tree)}` if they are "
        "meant to be there.",
        metadata={"version": working, "format": guess_format(tree)},
    )


def check_files(channel: grpc.Channel, tree: Tree, namespace: str, format: str) -> None:
    """As the artifact service will. Raises what `danger_in` answers, unless the format is `opaque` and the namespace
    takes such files; GGUF_INVALID; LOCAL_PATH_INVALID."""
    takes_danger: bool | None = None if format == OPAQUE else False
    for entry in tree.files:
        opener = partial(tree.source(entry.path).open, "rb")
        try:
            danger = danger_in(entry.path, opener)
            if danger is not None and takes_danger is None:
                takes_danger = _takes_opaque(channel, namespace)
            if danger is not None and not takes_danger:
                raise danger
            if entry.path.lower().endswith(".gguf"):
                with opener() as file:
                    check_gguf(entry.path, file, entry.size)
        except OSError as error:
            raise InvalidArgument("LOCAL_PATH_INVALID", f"{entry.path!a} cannot be read: {error.strerror}.") from error


def check_dataset(tree: Tree) -> None:
    """As the catalog will. Raises DATASET_INVALID and LOCAL_PATH_INVALID."""
    try:
        read_dataset({entry.path: entry.size for entry in tree.files}, lambda path: tree.source(path).open("rb"))
    except OSError as error:
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{error.filename!a} cannot be read: {error.strerror}.") from error
    except FailedPrecondition:
        return  # what reads Parquet is not installed here; the catalog has it


def _takes_opaque(channel: grpc.Channel, namespace: str) -> bool:
    stub = artifact_rpc.ArtifactServiceStub(channel)
    with translated():
        request = artifact_pb.GetNamespacePolicyRequest(namespace=namespace)
        return stub.GetNamespacePolicy(request).policy.allow_opaque
