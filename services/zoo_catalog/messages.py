"""Records as messages of zoo.catalog.v1."""

from modelzoo.datasets import DatasetFacts
from zoo.catalog.v1 import access_request_pb2, catalog_service_pb2, model_pb2
from zoo_catalog.aliases import Alias, Serving
from zoo_catalog.facts import Facts
from zoo_catalog.gates import AccessRequest
from zoo_catalog.metrics import Metric
from zoo_catalog.models import Model
from zoo_catalog.namespaces import Namespace
from zoo_catalog.policy import Policy
from zoo_catalog.search import Count, Counts
from zoo_catalog.times import time_to_pb
from zoo_catalog.versions import Version

__all__ = ["access_request_to_pb", "alias_to_pb", "counts_to_pb", "model_to_pb", "namespace_to_pb", "version_to_pb"]


def namespace_to_pb(namespace: Namespace) -> model_pb2.Namespace:
    return model_pb2.Namespace(
        name=namespace.name,
        description=namespace.description,
        create_time=time_to_pb(namespace.create_time),
        policy=_policy_to_pb(namespace.policy),
        quota_bytes=namespace.quota_bytes,
        update_time=time_to_pb(namespace.update_time),
        etag=namespace.etag,
    )


def _policy_to_pb(policy: Policy) -> model_pb2.NamespacePolicy:
    return model_pb2.NamespacePolicy(
        allow_opaque=policy.allow_opaque,
        undelete_days=policy.undelete_days,
        keep_versions=policy.keep_versions,
        keep_checkpoints=policy.keep_checkpoints,
    )


def model_to_pb(model: Model) -> model_pb2.Model:
    return model_pb2.Model(
        name=model.name,
        task=model.task,
        description=model.description,
        licence=model.licence,
        tags=model.tags,
        card=model.card,
        create_time=time_to_pb(model.create_time),
        update_time=time_to_pb(model.update_time),
        latest_version=model.latest_version,
        etag=model.etag,
        architecture=model.architecture,
        parameters=model.parameters,
        size_bytes=model.size_bytes,
        owner=model.owner,
        gated=model.gated,
        kind=model_pb2.ModelKind.Value(f"MODEL_KIND_{model.kind.value}"),
        delete_time=time_to_pb(model.delete_time),
        purge_time=time_to_pb(model.purge_time),
    )


def counts_to_pb(counts: Counts) -> catalog_service_pb2.CountModelsResponse:
    return catalog_service_pb2.CountModelsResponse(
        total=counts.total,
        tasks=map(_count_to_pb, counts.tasks),
        architectures=map(_count_to_pb, counts.architectures),
        licences=map(_count_to_pb, counts.licences),
        namespaces=map(_count_to_pb, counts.namespaces),
    )


def _count_to_pb(count: Count) -> catalog_service_pb2.ModelCount:
    return catalog_service_pb2.ModelCount(value=count.value, models=count.models)


def version_to_pb(version: Version) -> model_pb2.Version:
    return model_pb2.Version(
        model=version.model,
        version=version.number,
        manifest_digest=version.manifest_digest,
        state=model_pb2.VersionState.Value(f"VERSION_STATE_{version.state.name}"),
        facts=_facts_to_pb(version.facts),
        source=version.source,
        create_time=time_to_pb(version.create_time),
        creator=version.creator,
        on_behalf_of=version.on_behalf_of,
        labels=version.labels,
        state_reason=version.state_reason,
        metrics=map(_metric_to_pb, version.metrics),
        etag=version.etag,
        update_time=time_to_pb(version.update_time),
        delete_time=time_to_pb(version.delete_time),
        purge_time=time_to_pb(version.purge_time),
        gated=version.gated,
    )


def _facts_to_pb(facts: Facts) -> model_pb2.Facts:
    return model_pb2.Facts(
        architecture=facts.architecture,
        task=facts.task,
        parameters=facts.parameters,
        dtype_bytes=facts.dtype_bytes,
        context_length=facts.context_length,
        labels=facts.labels,
        size_bytes=facts.size_bytes,
        file_count=facts.file_count,
        format=facts.format,
        chat_template=facts.chat_template,
        licence=facts.licence,
        tags=facts.tags,
        datasets=facts.datasets,
        base_models=facts.base_models,
        languages=facts.languages,
        dataset=None if facts.dataset is None else _dataset_to_pb(facts.dataset),
    )


def _dataset_to_pb(dataset: DatasetFacts) -> model_pb2.DatasetFacts:
    return model_pb2.DatasetFacts(
        format=dataset.format,
        splits=[
            model_pb2.Split(
                name=split.name, rows=split.rows, size_bytes=split.size_bytes, files=split.files, labels=split.labels
            )
            for split in dataset.splits
        ],
        features=[
            model_pb2.Feature(name=feature.name, type=feature.type, optional=feature.optional)
            for feature in dataset.features
        ],
    )


def _metric_to_pb(metric: Metric) -> model_pb2.Metric:
    return model_pb2.Metric(
        dataset=metric.dataset,
        split=metric.split,
        name=metric.name,
        value=metric.value,
        update_time=time_to_pb(metric.update_time),
    )


def alias_to_pb(alias: Alias) -> model_pb2.Alias:
    return model_pb2.Alias(
        model=alias.model,
        alias=alias.name,
        targets=[model_pb2.AliasTarget(version=target.version, weight=target.weight) for target in alias.targets],
        update_time=time_to_pb(alias.update_time),
        etag=alias.etag,
        serving=None if alias.serving is None else _serving_to_pb(alias.serving),
    )


def _serving_to_pb(serving: Serving) -> model_pb2.ServingSettings:
    return model_pb2.ServingSettings(
        min_workers=serving.min_workers,
        max_workers=serving.max_workers,
        resource_class=serving.resource_class,
        pinned=serving.pinned,
        options=serving.options,
    )


def access_request_to_pb(request: AccessRequest) -> access_request_pb2.AccessRequest:
    return access_request_pb2.AccessRequest(
        model=request.model,
        subject=request.subject,
        reason=request.reason,
        state=access_request_pb2.AccessState.Value(f"ACCESS_STATE_{request.state.value}"),
        decider=request.decider,
        decision_reason=request.decision_reason,
        create_time=time_to_pb(request.create_time),
        update_time=time_to_pb(request.update_time),
        etag=request.etag,
    )
