"""zoo.catalog.v1.CatalogService."""

from dataclasses import dataclass
from typing import Any

import grpc

from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo_catalog.aliases import Aliases
from zoo_catalog.deletion import Deletions
from zoo_catalog.edges import check_parents
from zoo_catalog.edits import MetricEdit, VersionEdits
from zoo_catalog.edits_from_pb import (
    kind_from_pb,
    model_edit,
    namespace_edit,
    namespace_from_pb,
    serving_from_pb,
    targets_from_pb,
    version_edit,
)
from zoo_catalog.lineage_servicer import parent_from_pb
from zoo_catalog.messages import alias_to_pb, counts_to_pb, model_to_pb, namespace_to_pb, version_to_pb
from zoo_catalog.models import Models
from zoo_catalog.namespace_edits import NamespaceEdits
from zoo_catalog.namespaces import Namespaces
from zoo_catalog.publish import Publisher
from zoo_catalog.purge import Purger
from zoo_catalog.quarantine import Quarantine
from zoo_catalog.rules import QUOTAS
from zoo_catalog.search import Search, Wanted
from zoo_catalog.version_search import VersionSearch, WantedVersions
from zoo_catalog.versions import Versions
from zoo_server.authorization import enforce
from zoo_server.call import current_principal
from zoo_server.paging import PageRequest

__all__ = ["CatalogParts", "CatalogServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class CatalogParts:
    """What the service is made of."""

    namespaces: Namespaces
    namespace_edits: NamespaceEdits
    models: Models
    search: Search
    versions: Versions
    version_search: VersionSearch
    publisher: Publisher
    edits: VersionEdits
    deletions: Deletions
    purger: Purger
    quarantine: Quarantine
    aliases: Aliases


class CatalogServicer(rpc.CatalogServiceServicer):
    def __init__(self, parts: CatalogParts) -> None:
        self._parts = parts

    # Namespaces

    async def CreateNamespace(self, request: pb.CreateNamespaceRequest, context: Context) -> pb.CreateNamespaceResponse:
        asked = namespace_from_pb(request.namespace)
        made = await self._parts.namespace_edits.create(asked, _subject(), request.request_id)
        return pb.CreateNamespaceResponse(namespace=namespace_to_pb(made))

    async def GetNamespace(self, request: pb.GetNamespaceRequest, context: Context) -> pb.GetNamespaceResponse:
        namespace = await self._parts.namespaces.get(request.name)
        used_bytes = await self._parts.namespaces.used_bytes(request.name)
        return pb.GetNamespaceResponse(namespace=namespace_to_pb(namespace), used_bytes=used_bytes)

    async def ListNamespaces(self, request: pb.ListNamespacesRequest, context: Context) -> pb.ListNamespacesResponse:
        page = await self._parts.namespaces.list(current_principal(), page_from_pb(request))
        return pb.ListNamespacesResponse(namespaces=map(namespace_to_pb, page.items), next_page_token=page.next_token)

    async def UpdateNamespace(self, request: pb.UpdateNamespaceRequest, context: Context) -> pb.UpdateNamespaceResponse:
        asked, edit = request.namespace, namespace_edit(request)
        if edit.quota_bytes is not None:
            enforce(QUOTAS, current_principal(), request)
        changed = await self._parts.namespace_edits.update(asked.name, edit, asked.etag, _subject())
        return pb.UpdateNamespaceResponse(namespace=namespace_to_pb(changed))

    async def DeleteNamespace(self, request: pb.DeleteNamespaceRequest, context: Context) -> pb.DeleteNamespaceResponse:
        await self._parts.namespaces.delete(request.name, request.etag, _subject())
        return pb.DeleteNamespaceResponse()

    # Models

    async def CreateModel(self, request: pb.CreateModelRequest, context: Context) -> pb.CreateModelResponse:
        asked = request.model
        model = await self._parts.models.create(
            asked.name,
            asked.description,
            _subject(),
            request.request_id,
            owner=asked.owner,
            gated=asked.gated,
            kind=kind_from_pb(asked),
        )
        return pb.CreateModelResponse(model=model_to_pb(model))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        return pb.GetModelResponse(model=model_to_pb(await self._parts.models.get(request.name)))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        wanted = Wanted(request.namespace, request.filter, request.query, request.show_deleted)
        page = await self._parts.search.list(current_principal(), wanted, request.order_by, page_from_pb(request))
        return pb.ListModelsResponse(models=map(model_to_pb, page.items), next_page_token=page.next_token)

    async def CountModels(self, request: pb.CountModelsRequest, context: Context) -> pb.CountModelsResponse:
        wanted = Wanted(request.namespace, request.filter, request.query)
        return counts_to_pb(await self._parts.search.count(current_principal(), wanted))

    async def UpdateModel(self, request: pb.UpdateModelRequest, context: Context) -> pb.UpdateModelResponse:
        asked = request.model
        changed = await self._parts.models.update(asked.name, model_edit(request), asked.etag, _subject())
        return pb.UpdateModelResponse(model=model_to_pb(changed))

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> pb.DeleteModelResponse:
        model = await self._parts.deletions.delete_model(request.name, request.etag, _subject())
        return pb.DeleteModelResponse(model=model_to_pb(model))

    async def UndeleteModel(self, request: pb.UndeleteModelRequest, context: Context) -> pb.UndeleteModelResponse:
        model = await self._parts.deletions.undelete_model(request.name, _subject())
        return pb.UndeleteModelResponse(model=model_to_pb(model))

    # Versions

    async def CreateVersion(self, request: pb.CreateVersionRequest, context: Context) -> pb.CreateVersionResponse:
        parents = tuple(map(parent_from_pb, request.parents))
        check_parents(parents, current_principal())
        version = await self._parts.publisher.publish(
            request.model,
            request.manifest_digest,
            request.source,
            _subject(),
            request.request_id,
            parents,
        )
        return pb.CreateVersionResponse(version=version_to_pb(version))

    async def GetVersion(self, request: pb.GetVersionRequest, context: Context) -> pb.GetVersionResponse:
        version = await self._parts.versions.resolve(request.reference, current_principal())
        card = await self._parts.versions.card(version) if request.with_card else ""
        return pb.GetVersionResponse(version=version_to_pb(version), card=card)

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        wanted = WantedVersions(request.model, request.filter, request.show_deleted)
        page = await self._parts.version_search.list(
            current_principal(), wanted, request.order_by, page_from_pb(request)
        )
        return pb.ListVersionsResponse(versions=map(version_to_pb, page.items), next_page_token=page.next_token)

    async def UpdateVersion(self, request: pb.UpdateVersionRequest, context: Context) -> pb.UpdateVersionResponse:
        asked = request.version
        edit = version_edit(request)
        changed = await self._parts.edits.update(asked.model, asked.version, edit, asked.etag, _subject())
        return pb.UpdateVersionResponse(version=version_to_pb(changed))

    async def DeleteVersion(self, request: pb.DeleteVersionRequest, context: Context) -> pb.DeleteVersionResponse:
        version = await self._parts.deletions.delete_version(request.model, request.version, request.etag, _subject())
        return pb.DeleteVersionResponse(version=version_to_pb(version))

    async def UndeleteVersion(self, request: pb.UndeleteVersionRequest, context: Context) -> pb.UndeleteVersionResponse:
        version = await self._parts.deletions.undelete_version(request.model, request.version, _subject())
        return pb.UndeleteVersionResponse(version=version_to_pb(version))

    async def PurgeVersion(self, request: pb.PurgeVersionRequest, context: Context) -> pb.PurgeVersionResponse:
        version = await self._parts.purger.purge_version(request.model, request.version, _subject())
        return pb.PurgeVersionResponse(version=version_to_pb(version))

    async def SetMetrics(self, request: pb.SetMetricsRequest, context: Context) -> pb.SetMetricsResponse:
        edit = MetricEdit(request.dataset, request.split, dict(request.values))
        version = await self._parts.edits.set_metrics(request.reference, edit, _subject())
        return pb.SetMetricsResponse(version=version_to_pb(version))

    async def QuarantineVersion(
        self, request: pb.QuarantineVersionRequest, context: Context
    ) -> pb.QuarantineVersionResponse:
        moved = await self._parts.quarantine.put(request.reference, request.reason, _subject())
        return pb.QuarantineVersionResponse(versions=map(version_to_pb, moved))

    async def ReleaseVersion(self, request: pb.ReleaseVersionRequest, context: Context) -> pb.ReleaseVersionResponse:
        moved = await self._parts.quarantine.release(request.reference, _subject())
        return pb.ReleaseVersionResponse(versions=map(version_to_pb, moved))

    # Aliases

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.SetAliasResponse:
        asked = request.alias
        alias = await self._parts.aliases.set(
            asked.model, asked.alias, targets_from_pb(asked), request.etag, _subject(), serving_from_pb(asked)
        )
        return pb.SetAliasResponse(alias=alias_to_pb(alias))

    async def GetAlias(self, request: pb.GetAliasRequest, context: Context) -> pb.GetAliasResponse:
        return pb.GetAliasResponse(alias=alias_to_pb(await self._parts.aliases.get(request.model, request.alias)))

    async def ListAliases(self, request: pb.ListAliasesRequest, context: Context) -> pb.ListAliasesResponse:
        page = await self._parts.aliases.list(request.model, page_from_pb(request))
        return pb.ListAliasesResponse(aliases=map(alias_to_pb, page.items), next_page_token=page.next_token)

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Context) -> pb.DeleteAliasResponse:
        await self._parts.aliases.delete(request.model, request.alias, request.etag, _subject())
        return pb.DeleteAliasResponse()


def page_from_pb(
    request: pb.ListNamespacesRequest | pb.ListModelsRequest | pb.ListVersionsRequest | pb.ListAliasesRequest,
) -> PageRequest:
    return PageRequest(request.page_size, request.page_token)


def _subject() -> str:
    return current_principal().subject
