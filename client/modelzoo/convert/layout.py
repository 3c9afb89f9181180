"""Which files of a directory in the Hub's layout make a model: its weights in one form, and what describes it."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from modelzoo.errors import InvalidArgument

__all__ = ["Layout", "Weights", "find_layout"]

# In the order in which transformers looks for them.
_FORMS = (
    ("model.safetensors", False, False),
    ("model.safetensors.index.json", True, False),
    ("pytorch_model.bin", False, True),
    ("pytorch_model.bin.index.json", True, True),
)
# Configurations, vocabularies, templates, words for people. Weights, pickles and programs have other endings.
_DESCRIBES = re.compile(
    r".*\.(?:json|txt|md|model|spm|bpe|vocab|tiktoken|jinja)|(?:LICEN[SC]E|NOTICE|COPYING)[^/]*", re.I
)
_INDEX = re.compile(r".*\.index(?:\.[^/]*)?\.json")
# Of a whole training run, or of other libraries' weights.
_FOREIGN = frozenset({"trainer_state.json", "all_results.json", "train_results.json", "eval_results.json"})
TEMPLATES = "additional_chat_templates"
SHARDS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Weights:
    """The files with tensors, by name; `index` maps tensors to them where they are several."""

    files: tuple[str, ...]
    index: str | None
    is_pickled: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """What is taken, what is left out. `describing` has no weights and no index."""

    weights: Weights
    describing: tuple[str, ...]
    dropped: tuple[str, ...]


def find_layout(names: Iterable[str], read_json: Callable[[str], Any]) -> Layout:
    """The layout of a directory with files of these relative names; `read_json` gives the content of one of them.

    Safetensors are preferred to pickles. Of the directories inside, those of sentence-transformers' modules and of chat
    templates count. Raises CHECKPOINT_UNSUPPORTED where there are no weights in transformers' form, or an index names
    files that are not there.
    """
    present = sorted(names)
    weights = _find_weights(present, read_json)
    folders = _module_folders(present, read_json) | {TEMPLATES}
    describing = tuple(name for name in present if _describes(name, folders))
    taken = {*describing, *weights.files, weights.index}
    return Layout(weights, describing, tuple(name for name in present if name not in taken))


def _find_weights(present: list[str], read_json: Callable[[str], Any]) -> Weights:
    for name, is_index, is_pickled in _FORMS:
        if name in present:
            files = _shards(name, present, read_json) if is_index else (name,)
            return Weights(files, name if is_index else None, is_pickled)
    if "adapter_config.json" in present:
        raise _unsupported("It holds an adapter, not a model: publish it with `zoo push`")
    looked_for = ", ".join(name for name, _, _ in _FORMS)
    raise _unsupported(f"It has no weights in transformers' form; looked for {looked_for}")


def _shards(index: str, present: list[str], read_json: Callable[[str], Any]) -> tuple[str, ...]:
    try:
        files = sorted({str(name) for name in read_json(index)["weight_map"].values()})
    except (KeyError, TypeError, AttributeError) as error:
        raise _unsupported(f"{index} has no weight_map") from error
    missing = [name for name in files if name not in present or "/" in name]
    if missing or not files or len(files) > SHARDS_MAX:
        raise _unsupported(f"{index} names {len(files)} files, of which {len(missing)} are missing: {missing[:3]}")
    return tuple(files)


def _module_folders(present: list[str], read_json: Callable[[str], Any]) -> set[str]:
    """The directories that modules.json of sentence-transformers names."""
    if "modules.json" not in present:
        return set()
    try:
        return {str(module["path"]) for module in read_json("modules.json")} - {""}
    except (KeyError, TypeError) as error:
        raise _unsupported("modules.json is no list of modules with a path") from error


def _describes(name: str, folders: set[str]) -> bool:
    folder, _, file = name.rpartition("/")
    if folder and folder not in folders:
        return False
    return bool(_DESCRIBES.fullmatch(file)) and not _INDEX.fullmatch(file) and file not in _FOREIGN


def _unsupported(why: str) -> InvalidArgument:
    return InvalidArgument("CHECKPOINT_UNSUPPORTED", f"The model cannot be imported. {why}.")
