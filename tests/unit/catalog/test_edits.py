"""What changes of models, versions and aliases after they are made: owners, labels, metrics, serving settings."""

import math
from typing import Any

from modelzoo.errors import Aborted, FailedPrecondition, InvalidArgument
from support.catalog_service import CatalogService, refused
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import model_pb2
from zoo_server.principal import Role


async def edit_model(zoo: CatalogService, *paths: str, **fields: Any) -> model_pb2.Model:
    request = pb.UpdateModelRequest(model={"name": "team/bert", **fields}, update_mask={"paths": paths})
    return (await zoo.admin.catalog.UpdateModel(request)).model


async def edit_version(zoo: CatalogService, *paths: str, **fields: Any) -> model_pb2.Version:
    version = {"model": "team/bert", "version": 1, **fields}
    request = pb.UpdateVersionRequest(version=version, update_mask={"paths": paths})
    return (await zoo.admin.catalog.UpdateVersion(request)).version


async def measure(zoo: CatalogService, reference: str, split: str = "", **values: float) -> model_pb2.Version:
    request = pb.SetMetricsRequest(reference=reference, dataset="glue/sst2", split=split, values=values)
    return (await zoo.admin.catalog.SetMetrics(request)).version


async def test_a_model_belongs_to_its_creator_until_said_otherwise(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    publisher = await zoo.caller("team:search", {"team": Role.PUBLISHER})
    made = await publisher.model("team/bert")
    assert (made.owner, made.gated, made.kind) == ("team:search", False, model_pb2.MODEL_KIND_MODEL)
    changed = await edit_model(zoo, owner="team:vision", gated=True)
    assert (changed.owner, changed.gated, changed.etag != made.etag) == ("team:vision", True, True)
    assert (await edit_model(zoo, "gated")).gated is False
    with refused(Aborted, "ETAG_MISMATCH"):
        await edit_model(zoo, etag=made.etag, description="late")
    with refused(InvalidArgument, "FIELD_INVALID"):
        await edit_model(zoo, "kind", kind=model_pb2.MODEL_KIND_DATASET)


async def test_a_dataset_is_a_model_of_that_kind(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    request = pb.CreateModelRequest(model={"name": "team/words", "kind": "MODEL_KIND_DATASET", "owner": "team:data"})
    made = (await zoo.admin.catalog.CreateModel(request)).model
    assert (made.kind, made.owner) == (model_pb2.MODEL_KIND_DATASET, "team:data")


async def test_labels_are_set_one_by_one_or_all_at_once(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    first = await edit_version(zoo, labels={"stage": "test", "team/run.id": "7"})
    assert dict(first.labels) == {"stage": "test", "team/run.id": "7"}
    changed = await edit_version(zoo, "labels.stage", "labels.team/run.id", labels={"stage": "done", "new": "ignored"})
    assert dict(changed.labels) == {"stage": "done"}
    assert dict((await edit_version(zoo, "labels", labels={"a": "b"})).labels) == {"a": "b"}
    with refused(Aborted, "ETAG_MISMATCH"):
        await edit_version(zoo, etag=first.etag, labels={"c": "d"})


async def test_labels_out_of_bounds_are_refused(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    for labels in ({"-a": "b"}, {"a b": "c"}, {"a": "b" * 257}, {"a" * 257: "b"}, {f"l{n}": "" for n in range(65)}):
        with refused(InvalidArgument, "FIELD_INVALID"):
            await edit_version(zoo, labels=labels)


async def test_labels_that_become_too_many_are_refused(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    await edit_version(zoo, labels={f"l{n}": "" for n in range(64)})
    with refused(InvalidArgument, "FIELD_INVALID"):
        await edit_version(zoo, "labels.more", labels={"more": "x"})


async def test_a_deprecation_has_a_reason_and_can_be_taken_back(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    deprecated = model_pb2.VERSION_STATE_DEPRECATED
    changed = await edit_version(zoo, state=deprecated, state_reason="use 2")
    assert (changed.state, changed.state_reason) == (deprecated, "use 2")
    assert (await edit_version(zoo, "state_reason", state_reason="use 3")).state == deprecated
    ready = await edit_version(zoo, "state", state=model_pb2.VERSION_STATE_READY)
    assert (ready.state, ready.state_reason) == (model_pb2.VERSION_STATE_READY, "")
    for state in (model_pb2.VERSION_STATE_QUARANTINED, model_pb2.VERSION_STATE_DELETED):
        with refused(FailedPrecondition, "VERSION_STATE_INVALID"):
            await edit_version(zoo, state=state)


async def test_metrics_of_the_same_name_are_replaced_and_others_stay(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    await measure(zoo, "team/bert@1", "test", accuracy=0.9, f1=0.8)
    await measure(zoo, "team/bert", "train", accuracy=0.99)
    version = await measure(zoo, "team/bert", "test", accuracy=0.91)
    found = [(metric.split, metric.name, metric.value) for metric in version.metrics]
    assert found == [("test", "accuracy", 0.91), ("test", "f1", 0.8), ("train", "accuracy", 0.99)]
    assert (await zoo.admin.get("team/bert@1")).metrics == version.metrics


async def test_metrics_that_are_no_numbers_or_of_no_one_version_are_refused(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    for value in (math.nan, math.inf, -math.inf):
        with refused(InvalidArgument, "FIELD_INVALID"):
            await measure(zoo, "team/bert", accuracy=value)
    await zoo.admin.set_alias("team/bert", "both", {1: 1, 2: 1})
    with refused(InvalidArgument, "REFERENCE_INVALID"):
        await measure(zoo, "team/bert@both", accuracy=1)
    with refused(InvalidArgument, "FIELD_INVALID"):
        await measure(zoo, "team/bert")


async def test_the_cards_results_are_metrics_and_its_words_facts(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await zoo.admin.model("team/bert")
    readme = b"""---
license: mit
language: [en, de]
datasets: glue
base_model: google/bert
model-index:
- name: bert
  results:
  - dataset: {name: SST-2, type: glue, split: test}
    metrics:
    - {type: accuracy, value: 0.93}
    - {type: odd, value: .nan}
    - {type: text, value: high}
---
# Bert
"""
    version = await zoo.admin.publish("team/bert", zoo.artifact.put("team", {"README.md": readme}))
    [metric] = version.metrics
    assert (metric.dataset, metric.split, metric.name, metric.value) == ("glue", "test", "accuracy", 0.93)
    facts = version.facts
    assert (facts.licence, list(facts.languages)) == ("mit", ["en", "de"])
    assert (list(facts.datasets), list(facts.base_models)) == (["glue"], ["google/bert"])


async def test_how_an_alias_is_served_is_kept_when_it_moves(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    serving = {
        "min_workers": 1,
        "max_workers": 4,
        "resource_class": "gpu",
        "pinned": True,
        "options": {"dtype": "bf16"},
    }
    alias = {"model": "team/bert", "alias": "prod", "targets": [{"version": 1}], "serving": serving}
    made = (await zoo.admin.catalog.SetAlias(pb.SetAliasRequest(alias=alias))).alias
    moved = await zoo.admin.set_alias("team/bert", "prod", {2: 1})
    assert made.serving == moved.serving == model_pb2.ServingSettings(**serving)
    assert (await zoo.admin.catalog.GetAlias(pb.GetAliasRequest(model="team/bert", alias="prod"))).alias == moved
    for wrong in ({"min_workers": 2, "max_workers": 1}, {"min_workers": -1}, {"resource_class": "A b"}):
        with refused(InvalidArgument, "FIELD_INVALID"):
            await zoo.admin.catalog.SetAlias(pb.SetAliasRequest(alias={**alias, "serving": wrong}))
