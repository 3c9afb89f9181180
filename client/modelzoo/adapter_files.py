"""The files of an adapter and of its base, as those of one model."""

from collections.abc import Iterator
from pathlib import Path

from modelzoo.lora import ADAPTER_WEIGHTS
from modelzoo.lora_config import ADAPTER_CONFIG

__all__ = ["is_adapter", "join_files", "of_inputs"]

# What turns inputs into tensors. Beside an adapter such files go before the base's: training may have taught the
# tokenizer words.
OF_INPUTS = (
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "normalizer.json"),
    *("*.model", "*.spm", "preprocessor_config.json", "processor_config.json", "chat_template*"),
    "generation_config.json",
)


def is_adapter(directory: Path) -> bool:
    """Whether it has an adapter, and no model of its own."""
    present = {path.name for path in directory.iterdir()}
    return present >= {ADAPTER_CONFIG, ADAPTER_WEIGHTS} and "config.json" not in present


def of_inputs(directory: Path) -> Iterator[Path]:
    """Its files that turn inputs into tensors, and settings of generation."""
    for pattern in OF_INPUTS:
        yield from (path for path in sorted(directory.glob(pattern)) if path.is_file())


def join_files(base: Path, adapter: Path, folder: Path) -> None:
    """Leave links to all of the base's files in the empty folder; where the adapter has files that turn inputs into
    tensors, those are the adapter's."""
    for path in of_inputs(adapter):
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path)
    for path in base.iterdir():
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path)
