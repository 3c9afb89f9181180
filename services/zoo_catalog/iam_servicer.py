"""zoo.iam.v1.IamService."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import grpc

from modelzoo.errors import InvalidArgument
from zoo.iam.v1 import iam_service_pb2 as pb
from zoo.iam.v1 import iam_service_pb2_grpc as rpc
from zoo.iam.v1 import key_pb2
from zoo_catalog.access import Access, AccessSnapshots
from zoo_catalog.grants import Grant, Grants
from zoo_catalog.keys import Key, Keys
from zoo_catalog.times import time_from_pb, time_to_pb
from zoo_server.call import current_principal
from zoo_server.paging import PageRequest
from zoo_server.principal import Role

__all__ = ["IamServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class IamServicer(rpc.IamServiceServicer):
    def __init__(self, keys: Keys, grants: Grants, access: AccessSnapshots) -> None:
        self._keys = keys
        self._grants = grants
        self._access = access

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.CreateKeyResponse:
        asked = request.key
        made = await self._keys.create(
            asked.subject,
            asked.description,
            expire_time_from_pb(asked),
            current_principal().subject,
            request.request_id,
        )
        return pb.CreateKeyResponse(key=key_to_pb(made.key), secret=made.secret)

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        page = await self._keys.list(PageRequest(request.page_size, request.page_token))
        return pb.ListKeysResponse(keys=map(key_to_pb, page.items), next_page_token=page.next_token)

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Context) -> pb.RevokeKeyResponse:
        key = await self._keys.revoke(request.name, current_principal().subject)
        return pb.RevokeKeyResponse(key=key_to_pb(key))

    async def CreateGrant(self, request: pb.CreateGrantRequest, context: Context) -> pb.CreateGrantResponse:
        asked = request.grant
        grant = await self._grants.create(
            asked.subject, asked.namespace, role_from_pb(asked), current_principal().subject
        )
        return pb.CreateGrantResponse(grant=grant_to_pb(grant))

    async def ListGrants(self, request: pb.ListGrantsRequest, context: Context) -> pb.ListGrantsResponse:
        page = await self._grants.list(request.namespace, PageRequest(request.page_size, request.page_token))
        return pb.ListGrantsResponse(grants=map(grant_to_pb, page.items), next_page_token=page.next_token)

    async def RevokeGrant(self, request: pb.RevokeGrantRequest, context: Context) -> pb.RevokeGrantResponse:
        await self._grants.revoke(request.subject, request.namespace, current_principal().subject)
        return pb.RevokeGrantResponse()

    async def GetPrincipal(self, request: pb.GetPrincipalRequest, context: Context) -> pb.GetPrincipalResponse:
        principal = current_principal()
        return pb.GetPrincipalResponse(
            subject=principal.subject, roles={name: role_to_pb(role) for name, role in principal.roles.items()}
        )

    async def WatchAccess(
        self, request: pb.WatchAccessRequest, context: Context
    ) -> AsyncIterator[pb.WatchAccessResponse]:
        async for access in self._access.watch():
            yield access_to_pb(access)


def role_to_pb(role: Role) -> key_pb2.Role.ValueType:
    return key_pb2.Role.Value(f"ROLE_{role.name}")


def role_from_pb(grant: key_pb2.Grant) -> Role:
    try:
        return Role(grant.role)
    except ValueError as error:
        raise InvalidArgument(
            "FIELD_INVALID",
            "grant.role is no role: choose one of ROLE_VIEWER to ROLE_ADMIN",
            field="grant.role",
            metadata={"field": "grant.role"},
        ) from error


def expire_time_from_pb(key: key_pb2.Key) -> datetime | None:
    return time_from_pb(key.expire_time, "key.expire_time") if key.HasField("expire_time") else None


def key_to_pb(key: Key) -> key_pb2.Key:
    return key_pb2.Key(
        name=key.name,
        subject=key.subject,
        description=key.description,
        create_time=time_to_pb(key.create_time),
        expire_time=time_to_pb(key.expire_time),
        revoke_time=time_to_pb(key.revoke_time),
    )


def grant_to_pb(grant: Grant) -> key_pb2.Grant:
    return key_pb2.Grant(
        subject=grant.subject,
        namespace=grant.namespace,
        role=role_to_pb(grant.role),
        create_time=time_to_pb(grant.create_time),
    )


def access_to_pb(access: Access) -> pb.WatchAccessResponse:
    keys = [
        pb.KeyState(
            name=key.name,
            secret_sha256=key.secret_sha256,
            subject=key.subject,
            expire_time=time_to_pb(key.expire_time),
            revoke_time=time_to_pb(key.revoke_time),
        )
        for key in access.keys
    ]
    return pb.WatchAccessResponse(keys=keys, grants=map(grant_to_pb, access.grants))
