"""Adapters that a worker runs: as their merged versions would be, for those who may use both, while both may be run."""

import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelzoo.errors import FailedPrecondition
from modelzoo.lora import merge_lora
from support.catalog_service import CatalogService, running_catalog
from support.inference_worker import LocalModels, WorkerRig, inference_worker
from support.published import CHAT
from support.tiny_adapters import lora_of
from support.tiny_models import tiny_llama
from zoo.catalog.v1 import catalog_service_pb2 as catalog_pb
from zoo.catalog.v1 import edge_pb2
from zoo.catalog.v1 import lineage_service_pb2 as lineage_pb
from zoo.inference.v1 import generation_pb2 as pb
from zoo_inference.catalog import GrpcCatalog, Version
from zoo_inference.patrol import Patrol
from zoo_inference.signed import SignedCatalog, SigningPolicy
from zoo_server.peers import open_peer
from zoo_server.principal import Principal, Role

BASE, FIRST, SECOND, MERGED = "home/base", "acme/first", "acme/second", "acme/merged"
BOTH = {"acme": Role.INVOKER, "home": Role.VIEWER}
GREEDY: Mapping[str, Any] = {"prompt": "hello", "max_tokens": 12}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    base = tiny_llama(root / "base")
    first, second = (lora_of(base, root / str(seed), seed=seed) for seed in (1, 2))
    merge_lora(base, first, root / "merged")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (base / name).exists():
            (root / "merged" / name).write_bytes((base / name).read_bytes())
    return {BASE: base, FIRST: first, SECOND: second, MERGED: root / "merged"}


@pytest.fixture
def models(directories: dict[str, Path]) -> LocalModels:
    return LocalModels(directories, bases={FIRST: BASE, SECOND: BASE})


@pytest.fixture
async def rig(models: LocalModels) -> AsyncIterator[WorkerRig]:
    async with inference_worker(models) as rig:
        yield rig


async def test_an_adapter_answers_as_its_merged_version_and_names_its_base(rig: WorkerRig) -> None:
    ada = rig.calls(**BOTH)
    first, second = await ada.generate(FIRST, **GREEDY), await ada.generate(SECOND, **GREEDY)
    merged = await ada.generate(MERGED, **GREEDY)
    assert first.text == merged.text != second.text
    assert (first.finish.reference, first.finish.manifest_digest) == ("acme/first@1", f"{1:064x}")
    assert first.finish.base == pb.Finish(base={"reference": "home/base@1", "manifest_digest": f"{0:064x}"}).base
    assert not merged.finish.HasField("base")
    said = {each.reference: each.base_manifest_digest for each in rig.worker.describe("here").models}
    assert said == {"acme/first@1": f"{0:064x}", "acme/second@1": f"{0:064x}", "acme/merged@1": ""}
    assert sorted(rig.models.held) == sorted([FIRST, BASE, SECOND, BASE, MERGED])


async def test_who_may_not_use_the_base_gets_nothing_of_it_by_an_adapter(rig: WorkerRig) -> None:
    stranger, ada = rig.calls(acme=Role.PUBLISHER), rig.calls(**BOTH)
    refusal = await stranger.refusal(stranger.generate(FIRST, **GREEDY))
    assert refusal.reason == "ADAPTER_BASE_MISSING"
    assert "home" not in refusal.message
    rig.models.gated.add(BASE)
    refusal = await ada.refusal(ada.generate(SECOND, **GREEDY))
    assert (refusal.reason, refusal.metadata["model"]) == ("ACCESS_NOT_GRANTED", BASE)
    assert rig.worker.residency.residents == []  # refused before anything is loaded
    rig.models.granted.add((BASE, "user:ada"))
    publisher = rig.calls(acme=Role.INVOKER, home=Role.PUBLISHER)
    assert (await publisher.generate(FIRST, **GREEDY)).text


async def test_the_same_adapter_of_another_base_is_another_model_and_the_patrol_sees_a_new_base(
    directories: dict[str, Path], tmp_path: Path
) -> None:
    models = LocalModels({**directories, "acme/other": tiny_llama(tmp_path / "other", seed=5)}, bases={FIRST: BASE})
    async with inference_worker(models) as rig:
        ada = rig.calls(**BOTH)
        before = await ada.generate(FIRST, **GREEDY)
        models.bases[FIRST] = "acme/other"
        await Patrol(models, rig.worker.residency).look()
        assert rig.worker.residency.residents == []
        version = await models.version(FIRST)
        assert version.key != replace(version, base=await models.version(BASE)).key
        async with rig.worker.residency.use(version):
            assert [each.version.base for each in rig.worker.residency.residents] == [version.base]
        assert before.text


async def test_an_adapter_that_does_not_fit_is_refused_and_the_worker_goes_on(
    models: LocalModels, rig: WorkerRig, tmp_path: Path
) -> None:
    bad = shutil.copytree(models.directories[FIRST], tmp_path / "bad")
    (bad / "adapter_config.json").write_text('{"peft_type": "LOHA"}')
    models.directories = {**models.directories, "acme/bad": bad}
    models.bases["acme/bad"] = BASE
    ada = rig.calls(**BOTH)
    refusal = await ada.refusal(ada.generate("acme/bad", **GREEDY))
    assert (type(refusal), refusal.reason) == (FailedPrecondition, "ADAPTER_UNSUITABLE")
    assert (await ada.generate(FIRST, **GREEDY)).text


class Unsigned:
    """Signatures that are nowhere, and asked for in one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    async def policy(self, namespace: str) -> SigningPolicy:
        return SigningPolicy((), namespace == self.namespace, "1")

    async def of(self, version: Version) -> list[Any]:
        return []

    async def manifest(self, version: Version) -> Any:
        raise AssertionError("nothing is there to compare with")


@pytest.mark.parametrize(("namespace", "named"), [("acme", "acme/first@1"), ("home", "home/base@1")])
async def test_both_are_signed_where_their_namespaces_say_so(models: LocalModels, namespace: str, named: str) -> None:
    with pytest.raises(FailedPrecondition, match=named) as caught:
        await SignedCatalog(models, Unsigned(namespace)).version(FIRST)
    assert caught.value.reason == "SIGNATURE_REQUIRED"


class AsWorker:
    def __init__(self, zoo: CatalogService) -> None:
        self._zoo = zoo

    def own_token(self) -> str:
        return self._zoo.gateway.sign(Principal("service:worker", {"*": Role.VIEWER}))


async def test_the_catalog_says_which_base_and_why_there_is_none(tmp_path: Path) -> None:
    async with running_catalog(tmp_path) as zoo:
        await zoo.published("acme/base", 2)
        channel = await zoo.stack.enter_async_context(open_peer(zoo.address, AsWorker(zoo)))  # type: ignore[arg-type]
        catalog = GrpcCatalog(channel)
        for name, parents in {"lora": ["acme/base@1"], "orphan": [], "torn": ["acme/base@1", "acme/base@2"]}.items():
            await adapter(zoo, f"acme/{name}", *parents)
        await adapter(zoo, "acme/second", "acme/lora@1")
        await zoo.admin.model("acme/chat")
        await zoo.admin.publish("acme/chat", zoo.artifact.put("acme", CHAT))
        await adapter(zoo, "acme/tuned", "acme/chat@1")
        tuned, chat = await catalog.version("acme/tuned"), await catalog.version("acme/chat")
        # What a worker goes by when it chooses the task and the room.
        assert (tuned.architecture, tuned.dtype_bytes) == (chat.architecture, chat.dtype_bytes) != ("", {})
        found = await catalog.version("acme/lora")
        assert (found.reference, found.base) == ("acme/lora@1", await catalog.version("acme/base@1"))
        for reference, reason, says in (
            ("acme/orphan", "ADAPTER_BASE_MISSING", "names no base"),
            ("acme/torn", "ADAPTER_BASE_MISSING", "several bases"),
            ("acme/second", "ADAPTER_UNSUITABLE", "adapter of an adapter"),
        ):
            with pytest.raises(FailedPrecondition, match=says) as caught:
                await catalog.version(reference)
            assert caught.value.reason == reason
        await zoo.admin.quarantine("acme/base@1")
        with pytest.raises(FailedPrecondition, match="is quarantined and must not be run") as caught:
            await catalog.version("acme/lora")
        assert caught.value.reason == "ADAPTER_BASE_MISSING"
        await zoo.admin.release("acme/base@1")
        await zoo.admin.catalog.DeleteVersion(catalog_pb.DeleteVersionRequest(model="acme/base", version=1))
        with pytest.raises(FailedPrecondition, match="is deleted and must not be run") as caught:
            await catalog.version("acme/lora")
        assert caught.value.reason == "ADAPTER_BASE_MISSING"


async def adapter(zoo: CatalogService, model: str, *parents: str) -> None:
    await zoo.admin.model(model)
    digest = zoo.artifact.put("acme", {"adapter_config.json": b"{}", "note": model.encode()}, "adapter")
    version = await zoo.admin.publish(model, digest)
    for parent in parents:
        edge = edge_pb2.Edge(child=f"{model}@{version.version}", parent=parent, kind=edge_pb2.EDGE_KIND_ADAPTER)
        await zoo.admin.lineage.CreateEdge(lineage_pb.CreateEdgeRequest(edge=edge))
