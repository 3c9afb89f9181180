"""Whether a directory can be used as a model, found out by loading it, as a worker would."""

from dataclasses import dataclass
from pathlib import Path

from modelzoo.loading import load_directory, load_processor_directory

__all__ = ["Checked", "check_directory"]

# At least one of them is there where a model has a tokenizer or a processor.
_PREPARES = (
    *("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model"),
    *("tokenizer_config.json", "preprocessor_config.json", "processor_config.json"),
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was loaded. `parameters` counts shared ones once; `dtypes` as torch names them, most frequent first."""

    architecture: str
    parameters: int
    dtypes: tuple[str, ...]
    has_processor: bool


def check_directory(folder: Path) -> Checked:
    """Load the directory's model and its tokenizer or processor, and let go of them.

    Raises MODEL_UNSUPPORTED and MODEL_LOAD_FAILED, naming missing tensors, as `load_directory` does.
    """
    model = load_directory(folder)
    by_dtype: dict[str, int] = {}
    for parameter in model.parameters():
        name = str(parameter.dtype).removeprefix("torch.")
        by_dtype[name] = by_dtype.get(name, 0) + parameter.numel()
    dtypes = tuple(sorted(by_dtype, key=lambda name: -by_dtype[name]))
    return Checked(type(model).__name__, sum(by_dtype.values()), dtypes, _has_processor(folder))


def _has_processor(folder: Path) -> bool:
    # Asked for a model without files of one, transformers makes an empty tokenizer.
    if not any((folder / name).exists() for name in _PREPARES):
        return False
    load_processor_directory(folder)
    return True
