"""From a directory in transformers' form to a ready module, without a second copy of the weights.

The module is built on the meta device and its parameters are assigned from memory-mapped safetensors files, so that
loading costs pages as they are touched and nothing else; and building need not wait for the weights. Only safetensors
is read; code and pickles beside it are not. What config.json says about how to run (attention kernels from elsewhere,
code, patches) is dropped.

torch and transformers are imported when a function here is first called.
"""

import contextlib
import copy
import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo import architectures
from modelzoo.errors import FailedPrecondition, ZooError
from modelzoo.quiet import without_bar, without_report

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "label_tensors",
    "load_directory",
    "load_directory_for",
    "load_processor_directory",
    "read_json",
]

JSON_BYTES_MAX = 16 * 1024 * 1024
# Modules are built one by one in Python; a config that asks for more would keep a process busy for minutes.
REPEATS_MAX = 4096
NAMED_MAX = 5
WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
PREPROCESSOR, TOKENIZER_CONFIG = "preprocessor_config.json", "tokenizer_config.json"

# Without a vocabulary, transformers makes up one of special tokens and at most a placeholder for the space.
MADE_UP_MAX = 1
_VOCABULARIES = ("tokenizer.json", "vocab*", "*.model", "*.spm", "tekken.json")
NO_TOKENIZER = (
    "this version has no tokenizer: publish it with tokenizer.json, or with its vocabulary "
    "(vocab.txt, vocab.json and merges.txt, or tokenizer.model)"
)
_PREPROCESSED = ("pixel_values", "input_features", "input_values")

# They name code or kernels to fetch, or patch classes for the whole process.
_DROPPED = frozenset(
    {
        "_attn_implementation",
        "_attn_implementation_internal",
        "_commit_hash",
        "_experts_implementation",
        "_experts_implementation_internal",
        "attn_implementation",
        "auto_map",
        "custom_pipelines",
        "distributed_config",
        "experts_implementation",
        "fusion_config",
        "kernel_config",
        "transformers_weights",
    }
)
_REPEATED = re.compile(r"layers?$|depth|experts$|_blocks?$|repeats$")
_UNREADABLE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".gguf", ".onnx")


def load_directory(
    path: Path,
    dtype: "torch.dtype | None" = None,
    weights: Callable[[], Path] | None = None,
    change: "Callable[[nn.Module], nn.Module] | None" = None,
) -> "nn.Module":
    """The module that config.json names, in evaluation mode on the CPU, equal tensor by tensor to what the files hold.

    Its parameters lie in the mapped files, so these must not change; `dtype` other than the stored one copies them.
    With `weights`, `path` need not have them yet: the module is built, then that call waits for the directory that has,
    and what it raises is raised. With `change`, the module is what that makes of it in its stored dtype, turned into
    `dtype` after that.
    Raises MODEL_UNSUPPORTED where the format or architecture is not one that can be loaded without running foreign
    code, MODEL_LOAD_FAILED where files are missing, damaged or contradict each other.
    """
    import torch

    config = _read_config(path)
    found = _model_class(config)
    model, info = _filled(found, config, _Tensors(weights or (lambda: path)), dtype if change is None else None)
    absent = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    if absent:
        named = ", ".join(absent[:NAMED_MAX]) + (", ..." if len(absent) > NAMED_MAX else "")
        raise _failed(f"{len(absent)} tensors are missing or have another shape than config.json says: {named}")
    if change is not None:
        model = change(model)
        if dtype is not None:
            model, _ = _filled(found, model.config, model.state_dict(), dtype)
    _restore_generation_config(model, path)
    return cast(torch.nn.Module, model.eval())


def load_directory_for(
    path: Path,
    task_classes: Mapping[Any, Any],
    dtype: "torch.dtype",
    changes: Mapping[str, Any] | None = None,
    *,
    fresh_head: bool = False,
    fresh_labels: bool = False,
) -> "tuple[nn.Module, frozenset[str]]":
    """The directory's model as the class that `task_classes` (one of transformers' or ours, by config class) has for
    it, its config with `changes`, and the names of the tensors that are new: drawn at random, as they are not in the
    files or have another shape there, or, with `fresh_head`, lie outside of the body that models of its kind share, or,
    with `fresh_labels`, have as many rows as there are labels. All tensors are copies, which may change.

    Raises MODEL_UNSUPPORTED where there is no such class, and as `load_directory`.
    """
    import torch

    config = _read_config(path)
    found = _one_of(task_classes.get(type(config), None), config)
    if found is None:
        raise _unsupported(f"there is no network for this task around a {config.model_type}")
    config.update({**(changes or {}), "architectures": [found.__name__]})
    tensors: Mapping[str, torch.Tensor] = _Tensors(lambda: path)
    body = f"{found.base_model_prefix}."
    if fresh_head and any(name.startswith(body) for name in tensors):
        tensors = {name: tensor for name, tensor in tensors.items() if name.startswith(body)}
    if fresh_labels:
        of_labels = label_tensors(found, config)
        tensors = {name: tensor for name, tensor in tensors.items() if name not in of_labels}
    with without_report():
        model, info = _filled(found, config, tensors, dtype, ignore_mismatched_sizes=True)
    new = {*info["missing_keys"], *(str(key[0]) for key in info["mismatched_keys"])}
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.data.clone()
    _restore_generation_config(model, path)
    return cast(torch.nn.Module, model.eval()), frozenset(new)


def _one_of(classes: Any, config: Any) -> Any:
    """The class; of several the one that the config names, or else the first."""
    if not isinstance(classes, tuple):
        return classes
    several = cast(tuple[Any, ...], classes)
    names = config.architectures or ()
    return next((each for each in several if each.__name__ in names), several[0])


def label_tensors(model_class: Any, config: Any) -> set[str]:
    """The names of the tensors whose shape follows the number of labels, in models of this class and config."""
    import torch

    shapes: list[set[tuple[str, Any]]] = []
    for labels in (config.num_labels + 1, config.num_labels + 2):
        other = copy.deepcopy(config)
        other.num_labels = labels
        with torch.device("meta"):
            shapes.append({(name, tensor.shape) for name, tensor in model_class(other).state_dict().items()})
    return {name for name, _ in shapes[0] ^ shapes[1]}


def _filled(
    model_class: Any, config: Any, tensors: "Mapping[str, torch.Tensor]", dtype: Any, **options: bool
) -> tuple[Any, Any]:
    with _told_apart("the weights do not fit the architecture"), without_bar():
        return model_class.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype="auto" if dtype is None else dtype,
            output_loading_info=True,
            **options,
        )


def load_processor_directory(path: Path) -> Any:
    """What turns inputs into tensors for the model: its tokenizer, image processor, or the two together.

    Raises MODEL_LOAD_FAILED where a file that the model's inputs need is not there, or cannot be read.
    """
    from transformers import AutoProcessor, AutoTokenizer

    architectures.register()
    composed = any((path / name).is_file() for name in (PREPROCESSOR, "processor_config.json"))
    vocabulary = any(any(path.glob(pattern)) for pattern in _VOCABULARIES)
    model_class = _class_in_config(path)
    if not composed and getattr(model_class, "main_input_name", "") in _PREPROCESSED:
        raise _failed(f"this version has no {PREPROCESSOR}: import it with one")
    text = _reads_or_writes_text(model_class) if model_class else not composed
    # Tokenizers of bytes or characters have settings and no vocabulary.
    if text and not vocabulary and not (path / TOKENIZER_CONFIG).is_file():
        raise _failed(NO_TOKENIZER)
    loader: Any = AutoProcessor if composed else AutoTokenizer
    with _told_apart("the tokenizer or processor could not be read" if vocabulary or not text else NO_TOKENIZER):
        processor = loader.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        made_up = text and _is_made_up(getattr(processor, "tokenizer", processor))
    if made_up:
        raise _failed(NO_TOKENIZER)
    return processor


def read_json(path: Path) -> Any:
    """The content of a JSON file of a model; None where there is no such file. Raises MODEL_LOAD_FAILED."""
    try:
        if path.stat().st_size > JSON_BYTES_MAX:
            raise _failed(f"{path.name} is over {JSON_BYTES_MAX} bytes")
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise _failed(f"{path.name} is not JSON") from error


def _read_config(path: Path) -> Any:
    from transformers import CONFIG_MAPPING

    architectures.register()
    known: Any = CONFIG_MAPPING
    content = read_json(path / CONFIG)
    if content is None:
        raise _unsupported(f"there is no {CONFIG}; only models in transformers' form can be loaded")
    if not isinstance(content, dict):
        raise _failed(f"{CONFIG} is not an object")
    settings = cast(dict[str, Any], content)
    if "quantization_config" in settings:
        raise _unsupported("the weights are quantised; publish a version in float32, float16 or bfloat16")
    model_type = str(settings.get("model_type", ""))
    if model_type not in known:
        because = ", and its own code is never run" if "auto_map" in settings else ""
        raise _unsupported(f"its model_type {model_type[:80]!a} is not one that is known here{because}")
    with _told_apart(f"{CONFIG} is not valid for a {model_type}"):
        return known[model_type].from_dict(_cleaned(settings))


def _cleaned(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without those that reach beyond the model, on every level."""
    kept: dict[str, Any] = {}
    for key, value in settings.items():
        if key in _DROPPED:
            continue
        repeats = _total(value) if _REPEATED.search(key) else 0
        if repeats > REPEATS_MAX:
            raise _unsupported(f"{CONFIG} asks for {key} = {repeats}; at most {REPEATS_MAX} can be loaded")
        kept[key] = _cleaned(cast(dict[str, Any], value)) if isinstance(value, dict) else value
    return kept


def _total(value: Any) -> float:
    """A count, or the sum of a list of them (the stages of a network); 0 for what is neither."""
    counts: list[Any] = cast(list[Any], value) if isinstance(value, list) else [value]
    return sum(count for count in counts if isinstance(count, int | float))


def _model_class(config: Any) -> Any:
    from transformers import MODEL_MAPPING

    names: list[str] = [str(name) for name in config.architectures or ()]
    if not names:
        if type(config) not in MODEL_MAPPING:
            raise _unsupported(f"{CONFIG} names no architecture")
        return MODEL_MAPPING[type(config)]
    found = _class_named(names[0])
    if found is None:
        raise _unsupported(f"its architecture {names[0][:80]!a} is not one of transformers' or the zoo's own")
    if not isinstance(config, found.config_class):
        raise _failed(f"{CONFIG} names the architecture {names[0]}, which does not go with a {config.model_type}")
    return found


def _class_named(name: str) -> Any:
    """The model class of transformers' or the zoo's own; None where there is none of that name."""
    import transformers

    found = architectures.classes().get(name) or getattr(transformers, name, None)
    return found if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel) else None


def _class_in_config(path: Path) -> Any:
    """The model class that config.json names; None where it names none that is known. Raises MODEL_LOAD_FAILED."""
    config = read_json(path / CONFIG)
    names: Any = cast(dict[str, Any], config).get("architectures") if isinstance(config, dict) else None
    return _class_named(str(cast(list[Any], names)[0])) if isinstance(names, list) and names else None


def _reads_or_writes_text(model_class: Any) -> bool:
    if model_class.main_input_name == "input_ids":
        return "text" in model_class.input_modalities  # the tokens of ImageGPT are colours
    return model_class.can_generate()


def _is_made_up(tokenizer: Any) -> bool:
    """Whether the tokenizer knows next to nothing but its special tokens, so that every word would be unknown."""
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return len(set(tokenizer.get_vocab()) - special - set(tokenizer.all_special_tokens)) <= MADE_UP_MAX


class _Tensors(Mapping[str, "torch.Tensor"]):
    """Every tensor by name, mapped when it is first asked for: transformers builds the module before it asks."""

    def __init__(self, weights: Callable[[], Path]) -> None:
        self._weights = weights

    @cached_property
    def _tensors(self) -> "dict[str, torch.Tensor]":
        return _map_tensors(self._weights())

    def __getitem__(self, name: str) -> "torch.Tensor":
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _map_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """Every tensor of the safetensors files by name, backed by the mapped files."""
    from safetensors import torch as files

    tensors: dict[str, torch.Tensor] = {}
    for name in _weight_files(path):
        with _told_apart(f"{name} could not be read"):
            tensors |= cast(Any, files).load_file(path / name)
    return tensors


def _weight_files(path: Path) -> list[str]:
    index = read_json(path / INDEX)
    if index is not None:
        try:
            names = sorted({str(name) for name in index["weight_map"].values()})
        except (KeyError, TypeError, AttributeError) as error:
            raise _failed(f"{INDEX} has no weight_map") from error
        for name in names:
            if "/" in name or "\\" in name or not (path / name).is_file():
                raise _failed(f"{INDEX} names a file {name[:80]!a} that is not there")
        return names
    if (path / WEIGHTS).is_file():
        return [WEIGHTS]
    others = sorted(file.name for file in path.iterdir() if file.suffix in _UNREADABLE)
    if others:
        raise _unsupported(
            f"there is no {WEIGHTS}, and {others[0]} is not loaded: `zoo import` makes safetensors of it"
        )
    raise _unsupported(f"there is no {WEIGHTS}")


def _restore_generation_config(model: Any, path: Path) -> None:
    """Give the model the end tokens and defaults of generation_config.json, as loading by name would have."""
    from transformers import GenerationConfig

    content = read_json(path / "generation_config.json")
    if isinstance(content, dict) and model.can_generate():
        with _told_apart("generation_config.json is not valid"):
            model.generation_config = cast(Any, GenerationConfig).from_dict(_cleaned(cast(dict[str, Any], content)))


@contextlib.contextmanager
def _told_apart(what: str) -> Generator[None]:
    """Make whatever a library raises over a model's files into MODEL_LOAD_FAILED."""
    try:
        yield
    except ZooError:
        raise
    # The libraries raise every kind over foreign files.
    except Exception as error:
        raise _failed(f"{what}: {str(error)[:500]}") from error


def _unsupported(why: str) -> FailedPrecondition:
    return FailedPrecondition("MODEL_UNSUPPORTED", f"This model cannot be loaded: {why}.")


def _failed(why: str) -> FailedPrecondition:
    return FailedPrecondition("MODEL_LOAD_FAILED", f"The model's files could not be loaded: {why}.")
