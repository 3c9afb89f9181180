"""zoo.catalog.v1.CatalogService."""

from typing import Any

import grpc

from modelzoo.datasets import DatasetFacts
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.catalog.v1 import model_pb2
from zoo_catalog.aliases import Alias, Aliases, Target
from zoo_catalog.edges import check_parents
from zoo_catalog.facts import Facts
from zoo_catalog.lineage_servicer import parent_from_pb
from zoo_catalog.models import Model, Models
from zoo_catalog.namespaces import Namespace, Namespaces
from zoo_catalog.publish import Publisher
from zoo_catalog.search import Count, Counts, Search, Wanted
from zoo_catalog.times import time_to_pb
from zoo_catalog.versions import Version, Versions
from zoo_server.call import current_principal
from zoo_server.paging import PageRequest

__all__ = ["CatalogServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class CatalogServicer(rpc.CatalogServiceServicer):
    def __init__(
        self,
        namespaces: Namespaces,
        models: Models,
        search: Search,
        versions: Versions,
        publisher: Publisher,
        aliases: Aliases,
    ) -> None:
        self._namespaces = namespaces
        self._models = models
        self._search = search
        self._versions = versions
        self._publisher = publisher
        self._aliases = aliases

    async def CreateNamespace(self, request: pb.CreateNamespaceRequest, context: Context) -> pb.CreateNamespaceResponse:
        asked = request.namespace
        made = await self._namespaces.create(asked.name, asked.description, current_principal().subject)
        return pb.CreateNamespaceResponse(namespace=namespace_to_pb(made))

    async def GetNamespace(self, request: pb.GetNamespaceRequest, context: Context) -> pb.GetNamespaceResponse:
        return pb.GetNamespaceResponse(namespace=namespace_to_pb(await self._namespaces.get(request.name)))

    async def ListNamespaces(self, request: pb.ListNamespacesRequest, context: Context) -> pb.ListNamespacesResponse:
        page = await self._namespaces.list(current_principal(), page_from_pb(request))
        return pb.ListNamespacesResponse(namespaces=map(namespace_to_pb, page.items), next_page_token=page.next_token)

    async def CreateModel(self, request: pb.CreateModelRequest, context: Context) -> pb.CreateModelResponse:
        asked = request.model
        model = await self._models.create(
            asked.name, asked.description, current_principal().subject, request.request_id
        )
        return pb.CreateModelResponse(model=model_to_pb(model))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        return pb.GetModelResponse(model=model_to_pb(await self._models.get(request.name)))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        wanted = Wanted(request.namespace, request.filter, request.query)
        page = await self._search.list(current_principal(), wanted, request.order_by, page_from_pb(request))
        return pb.ListModelsResponse(models=map(model_to_pb, page.items), next_page_token=page.next_token)

    async def CountModels(self, request: pb.CountModelsRequest, context: Context) -> pb.CountModelsResponse:
        wanted = Wanted(request.namespace, request.filter, request.query)
        return counts_to_pb(await self._search.count(current_principal(), wanted))

    async def CreateVersion(self, request: pb.CreateVersionRequest, context: Context) -> pb.CreateVersionResponse:
        parents = tuple(map(parent_from_pb, request.parents))
        check_parents(parents, current_principal())
        version = await self._publisher.publish(
            request.model,
            request.manifest_digest,
            request.source,
            current_principal().subject,
            request.request_id,
            parents,
        )
        return pb.CreateVersionResponse(version=version_to_pb(version))

    async def GetVersion(self, request: pb.GetVersionRequest, context: Context) -> pb.GetVersionResponse:
        return pb.GetVersionResponse(version=version_to_pb(await self._versions.resolve(request.reference)))

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        page = await self._versions.list(request.model, page_from_pb(request))
        return pb.ListVersionsResponse(versions=map(version_to_pb, page.items), next_page_token=page.next_token)

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.SetAliasResponse:
        asked = request.alias
        alias = await self._aliases.set(
            asked.model, asked.alias, targets_from_pb(asked), request.etag, current_principal().subject
        )
        return pb.SetAliasResponse(alias=alias_to_pb(alias))

    async def GetAlias(self, request: pb.GetAliasRequest, context: Context) -> pb.GetAliasResponse:
        return pb.GetAliasResponse(alias=alias_to_pb(await self._aliases.get(request.model, request.alias)))

    async def ListAliases(self, request: pb.ListAliasesRequest, context: Context) -> pb.ListAliasesResponse:
        page = await self._aliases.list(request.model, page_from_pb(request))
        return pb.ListAliasesResponse(aliases=map(alias_to_pb, page.items), next_page_token=page.next_token)

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Context) -> pb.DeleteAliasResponse:
        await self._aliases.delete(request.model, request.alias, request.etag, current_principal().subject)
        return pb.DeleteAliasResponse()


def page_from_pb(
    request: pb.ListNamespacesRequest | pb.ListModelsRequest | pb.ListVersionsRequest | pb.ListAliasesRequest,
) -> PageRequest:
    return PageRequest(request.page_size, request.page_token)


def namespace_to_pb(namespace: Namespace) -> model_pb2.Namespace:
    return model_pb2.Namespace(
        name=namespace.name, description=namespace.description, create_time=time_to_pb(namespace.create_time)
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
    )


def counts_to_pb(counts: Counts) -> pb.CountModelsResponse:
    return pb.CountModelsResponse(
        total=counts.total,
        tasks=map(count_to_pb, counts.tasks),
        architectures=map(count_to_pb, counts.architectures),
        licences=map(count_to_pb, counts.licences),
        namespaces=map(count_to_pb, counts.namespaces),
    )


def count_to_pb(count: Count) -> pb.ModelCount:
    return pb.ModelCount(value=count.value, models=count.models)


def version_to_pb(version: Version) -> model_pb2.Version:
    return model_pb2.Version(
        model=version.model,
        version=version.number,
        manifest_digest=version.manifest_digest,
        state=model_pb2.VersionState.Value(f"VERSION_STATE_{version.state.name}"),
        facts=facts_to_pb(version.facts),
        source=version.source,
        create_time=time_to_pb(version.create_time),
        creator=version.creator,
    )


def facts_to_pb(facts: Facts) -> model_pb2.Facts:
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
        dataset=None if facts.dataset is None else dataset_to_pb(facts.dataset),
    )


def dataset_to_pb(dataset: DatasetFacts) -> model_pb2.DatasetFacts:
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


def alias_to_pb(alias: Alias) -> model_pb2.Alias:
    targets = [model_pb2.AliasTarget(version=target.version, weight=target.weight) for target in alias.targets]
    return model_pb2.Alias(
        model=alias.model, alias=alias.name, targets=targets, update_time=time_to_pb(alias.update_time), etag=alias.etag
    )


def targets_from_pb(alias: model_pb2.Alias) -> tuple[Target, ...]:
    return tuple(Target(target.version, target.weight) for target in alias.targets)
