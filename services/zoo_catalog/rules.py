"""Who may call what of the catalog. Seeing needs VIEWER, publishing PUBLISHER, granting ADMIN, in the namespace named.

Whoever has no role at all in a namespace is answered as if what it names did not exist.
"""

from collections.abc import Callable
from typing import Any

from modelzoo.errors import NotFound
from modelzoo.reference import parse
from zoo_catalog.names import model_not_found, namespace_not_found, namespace_of, parse_model
from zoo_server.authorization import Needs, Open, Rule, Rules
from zoo_server.principal import EVERYWHERE, Role

__all__ = ["ACCESS", "CATALOG", "CHANGES", "IAM", "LINEAGE", "QUOTAS", "RULES", "SERVICES", "SIGNATURES"]

ACCESS = "zoo.catalog.v1.AccessService"
CATALOG = "zoo.catalog.v1.CatalogService"
CHANGES = "zoo.catalog.v1.ChangeService"
LINEAGE = "zoo.catalog.v1.LineageService"
IAM = "zoo.iam.v1.IamService"
SIGNATURES = "zoo.catalog.v1.SignatureService"
SERVICES = (ACCESS, CATALOG, CHANGES, LINEAGE, SIGNATURES, IAM)


def _in_model(role: Role, model: Callable[[Any], str]) -> Rule:
    """`role` in the namespace of the model; `model` reads `namespace/name` from the message."""

    def hidden(message: Any) -> NotFound:
        return model_not_found(model(message))

    return Needs(role, lambda message: (namespace_of(model(message)),), hidden)


def _in_namespace(role: Role, namespace: Callable[[Any], str]) -> Rule:
    def hidden(message: Any) -> NotFound:
        return namespace_not_found(namespace(message))

    return Needs(role, lambda message: (namespace(message),), hidden)


_OF_THE_CLUSTER = Needs(Role.ADMIN, lambda _: (EVERYWHERE,))
# What a caller needs beside UpdateNamespace's own rule to change a quota: it is the cluster's bytes that it gives.
QUOTAS = _OF_THE_CLUSTER
# For services, which are viewers of the cluster.
_SEES_THE_CLUSTER = Needs(Role.VIEWER, lambda _: (EVERYWHERE,))

RULES: Rules = {
    f"/{CATALOG}/CreateNamespace": _OF_THE_CLUSTER,
    f"/{CATALOG}/GetNamespace": _in_namespace(Role.VIEWER, lambda message: message.name),
    f"/{CATALOG}/ListNamespaces": Open.TO_AUTHENTICATED,
    f"/{CATALOG}/UpdateNamespace": _in_namespace(Role.ADMIN, lambda message: message.namespace.name),
    f"/{CATALOG}/DeleteNamespace": _in_namespace(Role.ADMIN, lambda message: message.name),
    f"/{CATALOG}/CreateModel": _in_namespace(
        Role.PUBLISHER, lambda message: namespace_of(parse_model(message.model.name))
    ),
    f"/{CATALOG}/GetModel": _in_model(Role.VIEWER, lambda message: parse_model(message.name)),
    f"/{CATALOG}/ListModels": Open.TO_AUTHENTICATED,
    f"/{CATALOG}/CountModels": Open.TO_AUTHENTICATED,
    f"/{CATALOG}/UpdateModel": _in_model(Role.PUBLISHER, lambda message: parse_model(message.model.name)),
    f"/{CATALOG}/DeleteModel": _in_model(Role.PUBLISHER, lambda message: parse_model(message.name)),
    f"/{CATALOG}/UndeleteModel": _in_model(Role.PUBLISHER, lambda message: parse_model(message.name)),
    f"/{CATALOG}/CreateVersion": _in_model(Role.PUBLISHER, lambda message: parse_model(message.model)),
    f"/{CATALOG}/GetVersion": _in_model(Role.VIEWER, lambda message: parse(message.reference).model),
    f"/{CATALOG}/ListVersions": _in_model(Role.VIEWER, lambda message: parse_model(message.model)),
    f"/{CATALOG}/UpdateVersion": _in_model(Role.PUBLISHER, lambda message: parse_model(message.version.model)),
    f"/{CATALOG}/DeleteVersion": _in_model(Role.PUBLISHER, lambda message: parse_model(message.model)),
    f"/{CATALOG}/UndeleteVersion": _in_model(Role.PUBLISHER, lambda message: parse_model(message.model)),
    f"/{CATALOG}/PurgeVersion": _in_model(Role.ADMIN, lambda message: parse_model(message.model)),
    f"/{CATALOG}/SetMetrics": _in_model(Role.PUBLISHER, lambda message: parse(message.reference).model),
    f"/{CATALOG}/QuarantineVersion": _in_model(Role.ADMIN, lambda message: parse(message.reference).model),
    f"/{CATALOG}/ReleaseVersion": _in_model(Role.ADMIN, lambda message: parse(message.reference).model),
    f"/{CATALOG}/SetAlias": _in_model(Role.PUBLISHER, lambda message: parse_model(message.alias.model)),
    f"/{CATALOG}/GetAlias": _in_model(Role.VIEWER, lambda message: parse_model(message.model)),
    f"/{CATALOG}/ListAliases": _in_model(Role.VIEWER, lambda message: parse_model(message.model)),
    f"/{CATALOG}/DeleteAlias": _in_model(Role.PUBLISHER, lambda message: parse_model(message.model)),
    f"/{ACCESS}/RequestAccess": _in_model(Role.VIEWER, lambda message: parse_model(message.model)),
    f"/{ACCESS}/ListAccessRequests": Open.TO_AUTHENTICATED,
    f"/{ACCESS}/DecideAccess": _in_model(Role.PUBLISHER, lambda message: parse_model(message.model)),
    f"/{ACCESS}/CheckAccess": _SEES_THE_CLUSTER,
    f"/{CHANGES}/WatchChanges": Open.TO_AUTHENTICATED,
    f"/{CHANGES}/ListChanges": Open.TO_AUTHENTICATED,
    f"/{LINEAGE}/CreateEdge": _in_model(Role.PUBLISHER, lambda message: parse(message.edge.child).model),
    f"/{LINEAGE}/DeleteEdge": _in_model(Role.PUBLISHER, lambda message: parse(message.child).model),
    f"/{LINEAGE}/GetLineage": _in_model(Role.VIEWER, lambda message: parse(message.reference).model),
    f"/{SIGNATURES}/AddSignature": _in_model(Role.PUBLISHER, lambda message: parse(message.reference).model),
    f"/{SIGNATURES}/ListSignatures": _in_model(Role.VIEWER, lambda message: parse(message.reference).model),
    f"/{SIGNATURES}/SetTrustedSigners": _in_namespace(Role.ADMIN, lambda message: message.namespace),
    f"/{SIGNATURES}/ListTrustedSigners": _in_namespace(Role.VIEWER, lambda message: message.namespace),
    f"/{IAM}/CreateKey": _OF_THE_CLUSTER,
    f"/{IAM}/ListKeys": _OF_THE_CLUSTER,
    f"/{IAM}/RevokeKey": _OF_THE_CLUSTER,
    f"/{IAM}/CreateGrant": _in_namespace(Role.ADMIN, lambda message: message.grant.namespace),
    f"/{IAM}/ListGrants": _in_namespace(Role.ADMIN, lambda message: message.namespace),
    f"/{IAM}/RevokeGrant": _in_namespace(Role.ADMIN, lambda message: message.namespace),
    f"/{IAM}/GetPrincipal": Open.TO_AUTHENTICATED,
    f"/{IAM}/WatchAccess": _OF_THE_CLUSTER,
}
