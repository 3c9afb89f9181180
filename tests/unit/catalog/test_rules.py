"""Every method of both services, without a credential, with too low a role, and with roles elsewhere."""

from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory

from modelzoo.errors import NotFound, PermissionDenied, Unauthenticated, from_rpc_error
from support.catalog_service import CatalogService, refused
from zoo_catalog.rules import RULES, SERVICES
from zoo_server.authorization import Needs
from zoo_server.principal import Principal, Role

METHODS = [
    (f"/{service}/{method.name}", method)
    for service in SERVICES
    for method in descriptor_pool.Default().FindServiceByName(service).methods
]
# Enough of every request that nothing but the rule refuses it.
FIELDS: dict[str, Any] = {
    "namespace": {"name": "team"},
    "name": "team/bert",
    "model": "team/bert",
    "reference": "team/bert",
    "alias": {"model": "team/bert", "alias": "prod", "targets": [{"version": 1}]},
    "manifest_digest": "0" * 64,
    "key": {"subject": "app"},
    "grant": {"subject": "app", "namespace": "team", "role": 1},
    "subject": "app",
    "version": 1,
    "dataset": "glue",
    "values": {"accuracy": 1.0},
    "decision": 2,
    "reason": "why not",
    "bundle": b"{}",
    "public_key": "-----BEGIN",
    "edge": {"child": "team/bert", "parent": "team/bert", "kind": 1},
    "child": "team/bert",
    "parent": "team/bert",
    "kind": 1,
}
OTHERWISE: dict[str, dict[str, Any]] = {
    "GetNamespace": {"name": "team"},
    "CreateModel": {"model": {"name": "team/bert"}},
    "GetAlias": {"alias": "prod"},
    "DeleteAlias": {"alias": "prod"},
    "RevokeKey": {"name": "key_0123456789abcdef"},
    "ListModels": {"namespace": "team"},
    "CountModels": {"namespace": "team"},
    "ListGrants": {"namespace": "team"},
    "RevokeGrant": {"namespace": "team"},
    "DeleteNamespace": {"name": "team"},
    "SetTrustedSigners": {"namespace": "team"},
    "ListTrustedSigners": {"namespace": "team"},
    "UpdateModel": {"model": {"name": "team/bert", "description": "x"}},
    "UpdateVersion": {"version": {"model": "team/bert", "version": 1, "state_reason": "x"}},
}


async def call(zoo: CatalogService, path: str, method: Any, principal: Principal | None) -> None:
    request_class = message_factory.GetMessageClass(method.input_type)
    fields = FIELDS | OTHERWISE.get(method.name, {})
    request = request_class(
        **{name: value for name, value in fields.items() if name in method.input_type.fields_by_name}
    )
    metadata = [("zoo-principal", zoo.gateway.sign(principal))] if principal else []
    async with grpc.aio.insecure_channel(zoo.address) as channel:
        if method.server_streaming:
            await channel.unary_stream(path, request_class.SerializeToString)(request, metadata=metadata).read()
        else:
            await channel.unary_unary(path, request_class.SerializeToString)(request, metadata=metadata)


def test_every_method_has_a_rule() -> None:
    assert {path for path, _ in METHODS} == set(RULES)


@pytest.mark.parametrize(("path", "method"), METHODS, ids=[path for path, _ in METHODS])
async def test_no_method_serves_without_a_credential(zoo: CatalogService, path: str, method: Any) -> None:
    with refused(Unauthenticated, "CREDENTIAL_MISSING"):
        await call(zoo, path, method, None)


RULED = [(path, method) for path, method in METHODS if isinstance(RULES[path], Needs)]


@pytest.mark.parametrize(("path", "method"), RULED, ids=[path for path, _ in RULED])
async def test_no_method_serves_who_has_no_role_there(zoo: CatalogService, path: str, method: Any) -> None:
    await zoo.published("team/bert")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(zoo, path, method, Principal("app", {"other": Role.ADMIN}))
    error = from_rpc_error(caught.value)
    assert type(error) in (NotFound, PermissionDenied)
    assert error.reason in ("MODEL_NOT_FOUND", "NAMESPACE_NOT_FOUND", "ROLE_MISSING")


@pytest.mark.parametrize(("path", "method"), RULED, ids=[path for path, _ in RULED])
async def test_no_method_serves_who_has_too_low_a_role(zoo: CatalogService, path: str, method: Any) -> None:
    await zoo.published("team/bert")
    rule = RULES[path]
    assert isinstance(rule, Needs)
    if rule.role is Role.VIEWER:
        return  # nobody has less than that, but nothing: the test above
    lower = Principal("app", {"team": Role(rule.role - 1), "*": Role(rule.role - 1)})
    with refused(PermissionDenied, "ROLE_MISSING"):
        await call(zoo, path, method, lower)
