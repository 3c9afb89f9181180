"""Publishing versions: numbers, pins, facts, retries, races, and a service behind that fails."""

import asyncio
import json
import struct

import pytest
from sqlalchemy import func, select

from modelzoo.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from support.catalog_service import CatalogService, refused
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import model_pb2
from zoo_catalog.schema import changes, versions
from zoo_server.principal import Role

README = b"---\nlicense: mit\npipeline_tag: text-generation\ntags: [chat, small]\n---\n# Tiny\n"


def safetensors(**tensors: tuple[str, list[int], int]) -> bytes:
    """Tensors as name=(dtype, shape, size in bytes)."""
    header, at = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


async def ready(zoo: CatalogService, **files: bytes) -> str:
    """A model `team/bert` without versions, and a manifest for it."""
    await zoo.namespace("team")
    await zoo.admin.model("team/bert")
    return zoo.artifact.put("team", files or {"a": b"a"})


async def count(zoo: CatalogService, table: object) -> int:
    async with zoo.database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()  # type: ignore[arg-type]


async def test_versions_are_numbered_from_one_and_keep_what_was_said(zoo: CatalogService) -> None:
    digest = await ready(zoo)
    first = await zoo.admin.publish("team/bert", digest, source="https://example.org/bert")
    second = await zoo.admin.publish("TEAM/BERT", digest)
    assert (first.model, first.version, second.version) == ("team/bert", 1, 2)
    assert (first.manifest_digest, first.source, first.creator) == (digest, "https://example.org/bert", "admin")
    assert first.state == model_pb2.VERSION_STATE_READY
    assert await zoo.admin.get("team/bert@1") == first


async def test_facts_are_read_from_the_bytes(zoo: CatalogService) -> None:
    files = {
        "config.json": json.dumps({"architectures": ["GPT2LMHeadModel"], "n_positions": 1024}).encode(),
        "tokenizer_config.json": json.dumps({"chat_template": "{{ messages }}", "model_max_length": 512}).encode(),
        "model-1.safetensors": safetensors(a=("F32", [2, 3], 24), b=("BF16", [4], 8)),
        "model-2.safetensors": safetensors(c=("F32", [5], 20)),
    }
    facts = (await zoo.admin.publish("team/bert", await ready(zoo, **files))).facts
    assert (facts.architecture, facts.task, facts.parameters) == ("GPT2LMHeadModel", "text-generation", 15)
    assert dict(facts.dtype_bytes) == {"F32": 44, "BF16": 8}
    assert (facts.context_length, facts.chat_template, facts.format) == (512, True, "transformers")
    assert (facts.file_count, facts.size_bytes) == (4, sum(map(len, files.values())))


async def test_buffers_are_no_parameters_though_their_bytes_count(zoo: CatalogService) -> None:
    kept = {"bn.weight": ("F32", [4], 16), "running_mean.weight": ("F32", [2], 8)}
    buffers = {
        "bn.running_mean": ("F32", [4], 16),
        "bn.running_var": ("F32", [4], 16),
        "bn.num_batches_tracked": ("I64", [], 8),
        "position_ids": ("I64", [1, 8], 64),
    }
    files = {"config.json": b"{}", "model.safetensors": safetensors(**kept, **buffers)}
    facts = (await zoo.admin.publish("team/bert", await ready(zoo, **files))).facts
    assert facts.parameters == 6
    assert dict(facts.dtype_bytes) == {"F32": 56, "I64": 72}


async def test_the_model_says_what_its_newest_version_says(zoo: CatalogService) -> None:
    before = await ready(zoo)
    old = (await zoo.admin.catalog.GetModel(pb.GetModelRequest(name="team/bert"))).model
    await zoo.admin.publish("team/bert", zoo.artifact.put("team", {"README.md": README}))
    model = (await zoo.admin.catalog.GetModel(pb.GetModelRequest(name="team/bert"))).model
    assert (model.task, model.licence, list(model.tags)) == ("text-generation", "mit", ["chat", "small"])
    assert (model.card, model.latest_version) == ("# Tiny\n", 1)
    assert model.etag != old.etag
    await zoo.admin.publish("team/bert", before)
    model = (await zoo.admin.catalog.GetModel(pb.GetModelRequest(name="team/bert"))).model
    assert (model.task, model.licence, model.card, model.latest_version) == ("", "", "", 2)


async def test_files_that_are_broken_add_no_facts_and_stop_nothing(zoo: CatalogService) -> None:
    files = {
        "config.json": b"[" * 100_000,
        "tokenizer_config.json": b'"text"',
        "README.md": b"---\nlicense: [\n---\ntext",
        "model.safetensors": struct.pack("<Q", 2**63) + b"{}",
        "short.safetensors": b"abc",
        "empty.safetensors": b"",
    }
    version = await zoo.admin.publish("team/bert", await ready(zoo, **files))
    assert (version.facts.architecture, version.facts.parameters, version.facts.file_count) == ("", 0, 6)
    model = (await zoo.admin.catalog.GetModel(pb.GetModelRequest(name="team/bert"))).model
    assert model.card == "---\nlicense: [\n---\ntext"


async def test_facts_that_no_field_can_hold_are_left_out(zoo: CatalogService) -> None:
    config = (
        b'{"architectures": ["a\\ud800\\u0000"], "n_ctx": 1e999, "n_positions": true, "id2label": {"0": "\\udc00"}}'
    )
    version = await zoo.admin.publish("team/bert", await ready(zoo, **{"config.json": config}))
    assert version.facts.architecture == "a?"
    assert (version.facts.context_length, list(version.facts.labels)) == (0, ["?"])


async def test_publishing_pins_under_one_name_for_all_tries(zoo: CatalogService) -> None:
    digest = await ready(zoo)
    await zoo.admin.publish("team/bert", digest)
    await zoo.admin.publish("TEAM/bert", digest)
    assert zoo.artifact.pins == {("team", digest, "catalog:team/bert")}
    assert zoo.artifact.calls[:3] == ["GetManifest", "Pin", "GetManifest"]


async def test_a_manifest_of_another_namespace_is_not_found(zoo: CatalogService) -> None:
    await ready(zoo)
    with refused(NotFound, "MANIFEST_NOT_FOUND"):
        await zoo.admin.publish("team/bert", zoo.artifact.put("other", {"b": b"b"}))
    assert await count(zoo, versions) == 0


async def test_an_unknown_model_is_refused_before_anything_is_pinned(zoo: CatalogService) -> None:
    digest = await ready(zoo)
    with refused(NotFound, "MODEL_NOT_FOUND"):
        await zoo.admin.publish("team/none", digest)
    assert zoo.artifact.calls == []


async def test_a_digest_or_name_that_is_none_is_refused(zoo: CatalogService) -> None:
    digest = await ready(zoo)
    for wrong in ("", "sha256:" + digest, digest.upper(), digest[1:], "../" + digest[3:]):
        with refused(InvalidArgument, "FIELD_INVALID"):
            await zoo.admin.publish("team/bert", wrong)
    with refused(InvalidArgument, "REFERENCE_INVALID"):
        await zoo.admin.publish("team/bert@latest", digest)


async def test_an_invoker_cannot_publish(zoo: CatalogService) -> None:
    digest = await ready(zoo)
    invoker = await zoo.caller("app", {"team": Role.INVOKER})
    with refused(PermissionDenied, "ROLE_MISSING"):
        await invoker.publish("team/bert", digest)
    stranger = await zoo.caller("stranger", {})
    with refused(NotFound, "MODEL_NOT_FOUND"):
        await stranger.publish("team/bert", digest)


async def test_a_retry_returns_the_first_version_without_asking_anybody(zoo: CatalogService) -> None:
    digest = await ready(zoo)
    first = await zoo.admin.publish("team/bert", digest, request_id="r1")
    zoo.artifact.failing = Unavailable("STORAGE_UNAVAILABLE", "gone")
    assert await zoo.admin.publish("Team/Bert", digest, request_id="r1") == first


async def test_a_request_id_cannot_be_used_for_another_version(zoo: CatalogService) -> None:
    digest = await ready(zoo)
    await zoo.admin.publish("team/bert", digest, request_id="r1")
    with refused(AlreadyExists, "REQUEST_ID_REUSED"):
        await zoo.admin.publish("team/bert", digest, request_id="r1", source="elsewhere")


async def test_fifty_at_once_with_one_request_id_make_one_version(zoo: CatalogService) -> None:
    digest = await ready(zoo)
    before = await count(zoo, changes)
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(zoo.admin.publish("team/bert", digest, request_id="r1")) for _ in range(50)]
    assert {task.result().version for task in tries} == {1}
    assert await count(zoo, versions) == 1
    assert await count(zoo, changes) - before == 1


async def test_fifty_at_once_with_their_own_ids_make_fifty_versions_without_gaps(zoo: CatalogService) -> None:
    digest = await ready(zoo)
    before = await count(zoo, changes)
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(zoo.admin.publish("team/bert", digest, request_id=f"r{n}")) for n in range(50)]
    assert sorted(task.result().version for task in tries) == list(range(1, 51))
    assert await count(zoo, changes) - before == 50
    assert (await zoo.admin.get("team/bert")).version == 50


async def test_without_the_artifact_service_publishing_is_unavailable(zoo: CatalogService) -> None:
    digest = await ready(zoo)
    zoo.artifact.failing = Unavailable("STORAGE_UNAVAILABLE", "the object store does not answer")
    with refused(Unavailable, "DEPENDENCY_UNAVAILABLE") as refusal:
        await zoo.admin.publish("team/bert", digest)
    assert refusal.error is not None
    assert refusal.error.retry_after_s
    assert await count(zoo, versions) == 0


async def test_damaged_bytes_are_not_published(zoo: CatalogService) -> None:
    digest = await ready(zoo)
    zoo.artifact.failing = DataLoss("BLOB_CORRUPT", "stored bytes are damaged: push them again")
    with refused(DataLoss, "BLOB_CORRUPT"):
        await zoo.admin.publish("team/bert", digest)
    assert await count(zoo, versions) == 0


async def reviews(zoo: CatalogService) -> None:
    dataset = model_pb2.Model(name="team/reviews", kind=model_pb2.MODEL_KIND_DATASET)
    await zoo.admin.catalog.CreateModel(pb.CreateModelRequest(model=dataset))


@pytest.mark.parametrize(("model", "format"), [("team/reviews", "transformers"), ("team/bert", "dataset")])
async def test_a_name_is_of_models_or_of_datasets(zoo: CatalogService, model: str, format: str) -> None:
    await zoo.published("team/bert")
    await reviews(zoo)
    digest = zoo.artifact.put("team", {"train.jsonl": b'{"a": 1}'}, format=format)
    with refused(FailedPrecondition, "KIND_MISMATCH"):
        await zoo.admin.publish(model, digest)


async def test_of_a_dataset_splits_columns_and_rows_are_read(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await reviews(zoo)
    files = {"train.jsonl": b'{"text": "a", "label": "x"}\n' * 3, "test.jsonl": b'{"text": "b", "label": "y"}\n'}
    published = await zoo.admin.publish("team/reviews", zoo.artifact.put("team", files, format="dataset"))
    dataset = (await zoo.admin.get("team/reviews")).facts.dataset
    assert dataset == published.facts.dataset
    assert [(split.name, split.rows, dict(split.labels)) for split in dataset.splits] == [
        ("test", 1, {"y": 1}),
        ("train", 3, {"x": 3}),
    ]
    assert [(feature.name, feature.type) for feature in dataset.features] == [("text", "string"), ("label", "string")]


async def test_a_dataset_that_cannot_be_read_is_no_version(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await reviews(zoo)
    digest = zoo.artifact.put("team", {"train.jsonl": b"{}\nx\n"}, format="dataset")
    with refused(InvalidArgument, "DATASET_INVALID") as refusal:
        await zoo.admin.publish("team/reviews", digest)
    assert "train.jsonl, line 2" in refusal.message


async def test_a_version_that_is_no_dataset_has_no_facts_of_one(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    assert not (await zoo.admin.get("team/bert")).facts.HasField("dataset")
