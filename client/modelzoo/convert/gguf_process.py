"""The process that converts a GGUF file: `python -m modelzoo.convert.gguf_process FILE FOLDER`."""

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, cast

from modelzoo.convert.child import answer_parent
from modelzoo.errors import InvalidArgument

NAME = "model.gguf"
SHOWN_MAX = 5
# Metadata that are no model of their own in transformers' table of architectures.
_NOT_ARCHITECTURES = frozenset({"general", "tokenizer"})


def main() -> None:
    file, folder = Path(sys.argv[1]), Path(sys.argv[2])
    answer_parent(lambda: _convert(file, folder))


def _convert(file: Path, folder: Path) -> dict[str, str]:
    facts = _read_facts(file)
    with tempfile.TemporaryDirectory() as alone:
        # By itself, so that no file beside it is taken for its config or tokenizer.
        (Path(alone) / NAME).symlink_to(file)
        try:
            _write_dense(Path(alone), folder)
        except InvalidArgument:
            raise
        # The library raises every kind over foreign files.
        except Exception as error:
            raise _unsupported(f"could not be converted: {str(error)[:500]}") from error
    return facts


def _read_facts(file: Path) -> dict[str, str]:
    from gguf import GGUFReader
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    try:
        reader = cast(Any, GGUFReader)(file)
    # numpy reads beyond the end with whatever error the view of the moment has.
    except Exception as error:
        raise _unsupported(f"is damaged or cut off: {str(error)[:500]}") from error
    fields = reader.fields

    def text(key: str) -> str:
        value = fields[key].contents() if key in fields else ""
        return value.strip() if isinstance(value, str) else ""

    known = sorted(set(GGUF_SUPPORTED_ARCHITECTURES) - _NOT_ARCHITECTURES)
    architecture = text("general.architecture")
    if architecture.replace("-", "_") not in known and architecture not in ("qwen2moe", "qwen3moe", "t5encoder"):
        raise _unsupported(f"has the architecture {architecture[:80]!a}; transformers converts {', '.join(known)}")
    if "split.count" in fields and int(fields["split.count"].contents()) > 1:
        raise _unsupported("is one part of several; join them first (`llama-gguf-split --merge`)")
    by_size: Counter[str] = Counter()
    for tensor in reader.tensors:
        by_size[tensor.tensor_type.name] += int(tensor.n_bytes)
    return {
        "name": text("general.name"),
        "licence": text("general.license"),
        "origin": text("general.source.url") or text("general.base_model.0.repo_url"),
        "storage": by_size.most_common(1)[0][0] if by_size else "",
    }


def _write_dense(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = cast(Any, AutoConfig).from_pretrained(source, gguf_file=NAME)
    model, info = _model_class(config).from_pretrained(
        source,
        gguf_file=NAME,
        quantization_config=GgufConfig(gguf_file=NAME, dequantize=True),
        dtype=torch.bfloat16,
        output_loading_info=True,
    )
    # Left alone, they would keep the random values that a new model begins with.
    absent = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    if absent:
        named = ", ".join(absent[:SHOWN_MAX]) + (", ..." if len(absent) > SHOWN_MAX else "")
        raise _unsupported(f"lacks {len(absent)} tensors of its architecture, or has them in another shape: {named}")
    tokenizer = cast(Any, AutoTokenizer).from_pretrained(source, gguf_file=NAME)
    model.config.name_or_path = ""
    tokenizer.name_or_path = ""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for written in folder.iterdir():
        written.chmod(0o644)


def _model_class(config: Any) -> Any:
    import transformers
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    if config.architectures:
        return getattr(transformers, config.architectures[0])
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def _unsupported(why: str) -> InvalidArgument:
    return InvalidArgument("CHECKPOINT_UNSUPPORTED", f"The GGUF file {why}.")


if __name__ == "__main__":
    main()
