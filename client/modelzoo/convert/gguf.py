"""GGUF files into directories in transformers' form: bfloat16 safetensors, config and tokenizer.

The format (github.com/ggml-org/ggml, docs/gguf.md) begins with `GGUF` and a version; its metadata name the architecture
and hold the tokenizer. Everything beyond the first bytes is read in a process of its own.
"""

from dataclasses import dataclass
from pathlib import Path

from modelzoo.convert.child import run_child
from modelzoo.errors import InvalidArgument

__all__ = ["GgufFacts", "convert"]

MAGIC = b"GGUF"
# A 98 MB file of Q4_1 takes 20 s of two cores (measured); ten times that and the imports.
TIMEOUT_BASE_S = 600.0
TIMEOUT_BYTES_PER_S = 500_000
PROCESS = "modelzoo.convert.gguf_process"


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What the file's metadata say of itself, '' where they say nothing, and how most of its weights were stored."""

    name: str
    licence: str
    origin: str
    storage: str


def convert(file: Path, folder: Path) -> GgufFacts:
    """Write config, bfloat16 weights and tokenizer of the GGUF `file` into the directory `folder`, which is there.

    Raises LOCAL_PATH_INVALID where the file cannot be read; CHECKPOINT_UNSUPPORTED where it is no GGUF file, is cut
    off, lacks tensors of its architecture, or has an architecture that transformers does not convert.
    """
    try:
        with file.open("rb") as content:
            magic = content.read(len(MAGIC))
    except OSError as error:
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{str(file)!a} cannot be read: {error.strerror}.") from error
    if magic != MAGIC:
        raise InvalidArgument("CHECKPOINT_UNSUPPORTED", f"{file.name!a} is not a GGUF file: it begins otherwise.")
    timeout_s = TIMEOUT_BASE_S + file.stat().st_size / TIMEOUT_BYTES_PER_S
    return GgufFacts(**run_child(PROCESS, str(file.resolve()), str(folder.resolve()), timeout_s=timeout_s))
