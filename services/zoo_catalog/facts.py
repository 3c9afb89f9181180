"""What the catalog knows of a version because it read it in the bytes: nobody is asked, so nobody can be wrong.

Read are config.json, the tokenizer's settings, sentence-transformers' modules, the card, and every safetensors header.
A file that is broken or too large adds no facts and stops nothing; bytes that cannot be read stop the publication, and
so does a dataset whose rows cannot be.
"""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from modelzoo.datasets import DatasetFacts, Feature, Split, read_dataset
from modelzoo.errors import InvalidArgument
from modelzoo.manifest import File, Manifest
from modelzoo.safetensors_header import HEADER_BYTES_MAX, Header, parse_header
from zoo_catalog.artifacts import Artifacts
from zoo_catalog.card import CARD_BYTES_MAX, EMPTY_CARD, Card, parse_card
from zoo_catalog.stored_file import StoredName, open_stored

__all__ = ["Facts", "facts_from_json", "read_facts"]

JSON_BYTES_MAX = 16 * 1024 * 1024
LENGTH_FIELD_BYTES = 8
LABELS_MOST = 10_000
WORD_CHARACTERS_MAX = 200

CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "max_target_positions",
)
# What modules keep beside their parameters and save with them: the statistics of batch normalisation, and positions.
BUFFERS = frozenset({"running_mean", "running_var", "num_batches_tracked", "position_ids"})

# transformers writes 10**30 for "no limit".
CONTEXT_MOST = 100_000_000

# The Hub's pipeline tags by how transformers names its model classes; the first ending that fits decides.
TASKS = (
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForQuestionAnswering", "question-answering"),
    ("ForMaskedLM", "fill-mask"),
    ("ForCausalLM", "text-generation"),
    ("LMHeadModel", "text-generation"),
    ("ForImageClassification", "image-classification"),
    ("ForObjectDetection", "object-detection"),
    ("ForCTC", "automatic-speech-recognition"),
    ("WhisperForConditionalGeneration", "automatic-speech-recognition"),
    ("ForSpeechSeq2Seq", "automatic-speech-recognition"),
    ("ForConditionalGeneration", "text2text-generation"),
    ("CLIPModel", "zero-shot-image-classification"),
    ("ForPreTraining", "feature-extraction"),
    ("Model", "feature-extraction"),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """`context_length` in tokens, 0 where unknown; `dtype_bytes` by safetensors dtype; sizes in bytes."""

    architecture: str = ""
    task: str = ""
    parameters: int = 0
    dtype_bytes: Mapping[str, int] = field(default_factory=dict[str, int])
    context_length: int = 0
    labels: tuple[str, ...] = ()
    size_bytes: int = 0
    file_count: int = 0
    format: str = ""
    chat_template: bool = False
    dataset: DatasetFacts | None = None
    licence: str = ""
    tags: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


def facts_from_json(content: Mapping[str, Any]) -> Facts:
    """The facts of which `asdict` made this; those that an older release did not know are as if unknown."""
    known: dict[str, Any] = {name: _tupled(value) for name, value in content.items()}
    if dataset := known.get("dataset"):
        splits = tuple(Split(**split) for split in dataset["splits"])
        features = tuple(Feature(**feature) for feature in dataset["features"])
        known["dataset"] = DatasetFacts(dataset["format"], splits, features)
    return Facts(**known)


def _tupled(value: Any) -> Any:
    return tuple(cast(list[Any], value)) if isinstance(value, list) else value


async def read_facts(
    artifacts: Artifacts, namespace: str, manifest_digest: str, manifest: Manifest
) -> tuple[Facts, Card]:
    """The facts and the card of a manifest. Raises what `Artifacts` raises, and DATASET_INVALID."""
    reader = _Reader(artifacts, namespace, manifest_digest, manifest)
    config = await reader.json("config.json")
    tokenizer = await reader.json("tokenizer_config.json")
    sentence = await reader.json("sentence_bert_config.json")
    card = await reader.card()
    parameters, dtype_bytes = await reader.tensors()
    architecture = _architecture(config)
    facts = Facts(
        architecture=architecture,
        task=card.task or _task(architecture, sentence_transformers=manifest.file("modules.json") is not None),
        parameters=parameters,
        dtype_bytes=dtype_bytes,
        context_length=_context_length(config, tokenizer, sentence),
        labels=_labels(config),
        size_bytes=manifest.size_bytes,
        file_count=len(manifest.files),
        format=manifest.format,
        chat_template=manifest.file("chat_template.jinja") is not None or bool(tokenizer.get("chat_template")),
        dataset=await reader.dataset() if manifest.format == "dataset" else None,
        licence=card.licence,
        tags=card.tags,
        datasets=card.datasets,
        base_models=card.base_models,
        languages=card.languages,
    )
    return facts, card


class _Reader:
    """Reads files of one manifest."""

    def __init__(self, artifacts: Artifacts, namespace: str, manifest_digest: str, manifest: Manifest) -> None:
        self._artifacts = artifacts
        self._namespace = namespace
        self._digest = manifest_digest
        self._manifest = manifest

    async def json(self, path: str) -> dict[str, Any]:
        """The object in the file; empty where there is no such file, or none that can be read."""
        file = self._manifest.file(path)
        if file is None or file.size > JSON_BYTES_MAX:
            return {}
        data = await self._read(file, file.size)
        return await asyncio.to_thread(_json_object, data)

    async def card(self) -> Card:
        file = self._manifest.file("README.md")
        if file is None:
            return EMPTY_CARD
        return await asyncio.to_thread(parse_card, await self._read(file, min(file.size, CARD_BYTES_MAX)))

    async def tensors(self) -> tuple[int, dict[str, int]]:
        """Number of parameters, and bytes by dtype, over all safetensors files.

        Tensors whose last name component is one of BUFFERS are no parameters, as torch counts them; their bytes count.
        """
        parameters = 0
        dtype_bytes: Counter[str] = Counter()
        for file in self._manifest.files:
            if file.path.endswith(".safetensors") and (header := await self._header(file)):
                for tensor in header.tensors:
                    if tensor.name.rpartition(".")[2] not in BUFFERS:
                        parameters += math.prod(tensor.shape)
                    dtype_bytes[tensor.dtype] += tensor.size_bytes
        return parameters, dict(sorted(dtype_bytes.items()))

    async def dataset(self) -> DatasetFacts:
        loop = asyncio.get_running_loop()

        sizes = {file.path: file.size for file in self._manifest.files}

        def open_file(path: str) -> BinaryIO:
            name = StoredName(self._namespace, self._digest, path)
            return open_stored(self._artifacts, name, sizes[path], loop)

        return await asyncio.to_thread(read_dataset, sizes, open_file)

    async def _header(self, file: File) -> Header | None:
        """None for a file that only its name makes one; the artifact service refuses those in transformers form."""
        if file.size < LENGTH_FIELD_BYTES:
            return None
        length = int.from_bytes(await self._read(file, LENGTH_FIELD_BYTES), "little")
        if length > min(HEADER_BYTES_MAX, file.size - LENGTH_FIELD_BYTES):
            return None
        data = await self._read(file, LENGTH_FIELD_BYTES + length)
        try:
            return await asyncio.to_thread(parse_header, data, file.size)
        except InvalidArgument:
            return None

    async def _read(self, file: File, length_bytes: int) -> bytes:
        if length_bytes == 0:
            return b""
        return await self._artifacts.read(self._namespace, self._digest, file.path, length_bytes)


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _architecture(config: dict[str, Any]) -> str:
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures:
        return _word(cast(list[Any], architectures)[0])
    return _word(config.get("model_type"))


def _task(architecture: str, *, sentence_transformers: bool) -> str:
    if sentence_transformers:
        return "sentence-similarity"
    return next((task for ending, task in TASKS if architecture.endswith(ending)), "")


def _context_length(config: dict[str, Any], tokenizer: dict[str, Any], sentence: dict[str, Any]) -> int:
    """The smallest that a file states: RoBERTa's config counts positions that its tokenizer knows to be unusable."""
    # Models of several kinds of input keep the text's part apart.
    inner = config.get("text_config")
    text = cast(dict[str, Any], inner) if isinstance(inner, dict) else {}
    positions = next((n for part in (config, text) for key in CONTEXT_KEYS if (n := _count(part.get(key)))), 0)
    stated = (positions, _count(tokenizer.get("model_max_length")), _count(sentence.get("max_seq_length")))
    return min((n for n in stated if n), default=0)


def _count(value: Any) -> int:
    return value if type(value) is int and 0 < value <= CONTEXT_MOST else 0


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    """Names by index, where there is one for each index from 0 on."""
    names = config.get("id2label")
    if not isinstance(names, dict):
        return ()
    by_index = {str(index): _word(name) for index, name in cast(dict[Any, Any], names).items()}
    labels = tuple(by_index.get(str(index), "") for index in range(len(by_index)))
    return labels if len(labels) <= LABELS_MOST and all(labels) else ()


def _word(value: Any) -> str:
    """JSON's escapes can write what UTF-8 cannot, and what no database takes."""
    if not isinstance(value, str):
        return ""
    return value.encode(errors="replace").decode().replace("\0", "")[:WORD_CHARACTERS_MAX]
