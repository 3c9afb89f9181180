"""The sources that `zoo import` knows: each fills a folder with a model in transformers' form, and says where from.

$ZOO_TORCHVISION_URL and $HF_ENDPOINT name other places than the official ones.
"""

import hashlib
import os
import re
from pathlib import Path

from modelzoo.command.bars import progress_bar
from modelzoo.command.importing import Made, cache_folder
from modelzoo.command.terminal import note
from modelzoo.convert import gguf, torchvision
from modelzoo.convert.card import Origin
from modelzoo.convert.hub import HUB_URL, Hub, fetch_model
from modelzoo.convert.huggingface import assemble
from modelzoo.convert.labels import read_labels
from modelzoo.convert.published import TORCHVISION_URL, fetch_torchvision
from modelzoo.errors import InvalidArgument

__all__ = ["find_directory", "from_directory", "from_gguf", "from_hub", "from_torchvision"]

_ASSUMED = "Its 1,000 classes were assumed to be ImageNet's, in ImageNet's order."
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?", re.ASCII)


def from_torchvision(arch: str, file: str | None, labels: Path | None, folder: Path) -> Made:
    """The state dict in `file`, or the published one of `arch`; `labels` is a file with the names of the classes."""
    names = None if labels is None else read_labels(labels)
    if file is not None:
        checkpoint, fetched = Path(file), ""
    else:
        base_url = os.environ.get("ZOO_TORCHVISION_URL") or TORCHVISION_URL
        with progress_bar(f"fetching {arch}") as progress:
            checkpoint = fetch_torchvision(arch, cache_folder("downloads/torchvision"), progress, base_url=base_url)
        fetched = f"{base_url.rstrip('/')}/"
    note(f"converting {checkpoint.name}")
    origin = torchvision.convert(arch, checkpoint, folder, names)
    how = "Converted from torchvision's state dict: renamed tensors, unchanged values."
    if fetched:
        how += " torchvision's code is under BSD-3-Clause; its weights may have terms of the data behind them."
    elif origin == "imagenet":
        how += f" {_ASSUMED}"
        note(f"{_ASSUMED} --labels FILE names them otherwise.")
    elif origin == "numbers":
        note("nobody named the classes, so that they are LABEL_0, LABEL_1 and so on; --labels FILE names them")
    return Made(Origin(arch, f"{fetched}{checkpoint.name} sha256:{_sha256(checkpoint)}", how))


def find_directory(source: str) -> Path | None:
    """The directory that `source` names, or None where it can be a name on the Hub. Raises LOCAL_PATH_INVALID."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{source!a} is a file; name the directory that it lies in.")
    if not _HUB_NAME.fullmatch(source):
        raise InvalidArgument("LOCAL_PATH_INVALID", f"There is no directory {source!a}, and no model has such a name.")
    return None


def from_directory(directory: Path, folder: Path) -> Made:
    """A directory in Hugging Face layout."""
    return _assemble(directory, folder, directory.resolve().name, directory.resolve().name, "", ())


def from_hub(model: str, revision: str, folder: Path) -> Made:
    """A model of the Hub, fetched; the token is $HF_TOKEN or the one of `hf auth login`."""
    from huggingface_hub import get_token

    hub = Hub((os.environ.get("HF_ENDPOINT") or HUB_URL).rstrip("/"), get_token())
    with progress_bar(f"fetching {model}") as progress:
        found = fetch_model(hub, model, revision, cache_folder("downloads/hub"), progress)
    place = f"{hub.url}/{found.model}/tree/{found.commit}"
    return _assemble(found.folder, folder, found.model, place, found.licence, found.left_out)


def _assemble(source: Path, folder: Path, title: str, place: str, licence: str, not_fetched: tuple[str, ...]) -> Made:
    with progress_bar(f"reading {title}") as progress:
        found = assemble(source, folder, progress)
    digests = " ".join(f"{path.name} sha256:{_sha256(path)}" for path in found.weights[:1])
    more = f" and {len(found.weights) - 1} more" if len(found.weights) > 1 else ""
    how = "Weights converted from pickles, values unchanged." if found.was_pickled else "Weights byte for byte."
    return Made(Origin(title, f"{place} ({digests}{more})", how, licence), (*found.left_out, *not_fetched))


def from_gguf(file: Path, folder: Path) -> Made:
    """A GGUF file, made dense."""
    note(f"converting {file.name}")
    facts = gguf.convert(file, folder)
    how = f"Converted from GGUF to bfloat16, which adds no precision: most weights were stored as {facts.storage}."
    origin = f"{facts.origin} " if facts.origin else ""
    source = f"{origin}{file.name} sha256:{_sha256(file)}"
    return Made(Origin(facts.name or file.stem, source, how, facts.licence))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
