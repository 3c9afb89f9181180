"""The catalog, as random callers use it over gRPC, does what a model of a few dictionaries says."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select

from modelzoo.errors import from_rpc_error
from support.catalog_service import CatalogService, running_catalog
from support.postgresql import PostgresqlServer
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.iam.v1 import iam_service_pb2 as iam_pb
from zoo_catalog.schema import changes
from zoo_server.principal import Role

T = TypeVar("T")

MODELS = st.sampled_from(["team/a", "TEAM/A", "team/B"])
ALIASES = st.sampled_from(["prod", "test"])
MANIFESTS = st.integers(0, 1)
REQUEST_IDS = st.sampled_from(["", "r1"])
NUMBERS = st.integers(1, 3)
TARGETS = st.dictionaries(NUMBERS, st.integers(1, 3), min_size=1, max_size=2)
ETAGS = st.sampled_from(["", "current", "old", "absent"])
SUBJECTS = st.sampled_from(["admin", "app"])
NAMESPACES = st.sampled_from(["*", "*", "TEAM", "nowhere"])
ROLES = st.sampled_from([Role.ADMIN, Role.ADMIN, Role.VIEWER])


@dataclass
class Expected:
    """`written` is how the model was first spelled; versions are their manifests in order."""

    written: str
    versions: list[str] = field(default_factory=list[str])
    aliases: dict[str, tuple[dict[int, int], str]] = field(default_factory=dict[str, tuple[dict[int, int], str]])


class CatalogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="zoo-machine-"))
        service = running_catalog(self.folder, self.database_url())
        self.zoo: CatalogService = self.run(self.stack.enter_async_context(service))
        self.run(self.zoo.namespace("team"))
        self.manifests = [self.zoo.artifact.put("team", {"a": bytes([n])}) for n in range(3)]
        self.models: dict[str, Expected] = {}
        self.requests: dict[tuple[str, str], tuple[Any, Any]] = {}
        self.grants: dict[tuple[str, str], Role] = {("team", "admin"): Role.ADMIN}
        self.keys: dict[str, bool] = {}
        self.etags: list[str] = ["0"]
        self.writes = 2

    def database_url(self) -> str:
        """Of tables that nobody else has; '': in the folder."""
        return ""

    def teardown(self) -> None:
        self.compare()
        self.run(self.stack.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def call(self, coroutine: Any) -> tuple[Any, str]:
        """The response and '', or None and the reason of the refusal."""

        async def call() -> Any:
            return await coroutine

        try:
            return self.run(call()), ""
        except grpc.aio.AioRpcError as error:
            return None, from_rpc_error(error).reason

    @initialize()
    def begin(self) -> None:
        """Where most of what can go wrong is possible at once."""
        self.create_model("team/a", "")
        self.publish("team/a", 0, "")
        self.publish("team/a", 1, "")
        self.set_alias("team/a", "prod", {1: 1}, "")
        self.grant("app", "*", Role.ADMIN)

    @rule(name=MODELS, request_id=REQUEST_IDS)
    def create_model(self, name: str, request_id: str) -> None:
        made, reason = self.call(self.zoo.admin.model(name, request_id=request_id))
        key = name.casefold()
        before = self.requests.get(("model", request_id)) if request_id else None
        if before is not None:
            assert reason == ("" if before[0] == key else "REQUEST_ID_REUSED")
        elif key in self.models:
            assert reason == "MODEL_EXISTS"
        else:
            assert made.name == f"team/{name.partition('/')[2]}"
            self.models[key] = Expected(made.name)
            self.requests["model", request_id] = (key, made.name)
            self.writes += 1

    @rule(name=MODELS, manifest=MANIFESTS, request_id=REQUEST_IDS)
    def publish(self, name: str, manifest: int, request_id: str) -> None:
        made, reason = self.call(self.zoo.admin.publish(name, self.manifests[manifest], request_id=request_id))
        model = self.models.get(name.casefold())
        arguments = (name.casefold(), manifest)
        before = self.requests.get(("version", request_id)) if request_id else None
        if model is None:
            assert reason == "MODEL_NOT_FOUND"
        elif before is not None and before[0] != arguments:
            assert reason == "REQUEST_ID_REUSED"
        elif before is not None:
            assert (made.model, made.version) == before[1]
        else:
            model.versions.append(self.manifests[manifest])
            assert (made.model, made.version) == (model.written, len(model.versions))
            self.requests["version", request_id] = (arguments, (made.model, made.version))
            self.writes += 1

    @rule(name=MODELS, alias=ALIASES, shares=TARGETS, etag=ETAGS)
    def set_alias(self, name: str, alias: str, shares: dict[int, int], etag: str) -> None:
        model = self.models.get(name.casefold())
        current = model.aliases[alias][1] if model and alias in model.aliases else "absent"
        given = {"current": current, "old": self.etags[0], "absent": "absent", "": ""}[etag]
        made, reason = self.call(self.zoo.admin.set_alias(name, alias, shares, given))
        if model is None:
            assert reason == "MODEL_NOT_FOUND"
        elif given not in ("", current):
            assert reason == "ETAG_MISMATCH"
        elif max(shares) > len(model.versions):
            assert reason == "VERSION_NOT_FOUND"
        else:
            assert made.etag not in self.etags
            self.etags.append(made.etag)
            model.aliases[alias] = (shares, made.etag)
            self.writes += 1

    @rule(name=MODELS, alias=ALIASES, etag=ETAGS)
    def delete_alias(self, name: str, alias: str, etag: str) -> None:
        model = self.models.get(name.casefold())
        current = model.aliases[alias][1] if model and alias in model.aliases else None
        given = {"current": current or "x", "old": self.etags[0], "absent": "absent", "": ""}[etag]
        request = pb.DeleteAliasRequest(model=name, alias=alias, etag=given)
        _, reason = self.call(self.zoo.admin.catalog.DeleteAlias(request))
        if model is None:
            assert reason == "MODEL_NOT_FOUND"
        elif current is None:
            assert reason == "ALIAS_NOT_FOUND"
        elif given not in ("", current):
            assert reason == "ETAG_MISMATCH"
        else:
            del model.aliases[alias]
            self.writes += 1

    @rule(name=MODELS, what=st.one_of(st.just(""), ALIASES, NUMBERS, MANIFESTS.map(lambda n: f"sha256:{n}")))
    def resolve(self, name: str, what: str | int) -> None:
        digest = self.manifests[int(what[7:])] if isinstance(what, str) and what.startswith("sha256:") else None
        suffix = f"@sha256:{digest}" if digest else f"@{what}" if what else ""
        version, reason = self.call(self.zoo.admin.get(f"{name}{suffix}"))
        model = self.models.get(name.casefold())
        if model is None:
            assert reason == "MODEL_NOT_FOUND"
            return
        if digest:
            wanted = {number for number, own in enumerate(model.versions, 1) if own == digest}
            wanted = {max(wanted)} if wanted else set[int]()
        elif isinstance(what, int):
            wanted = {what} if what <= len(model.versions) else set[int]()
        elif what:
            wanted = set(model.aliases[what][0]) if what in model.aliases else set[int]()
        else:
            wanted = {len(model.versions)} - {0}
        if wanted:
            assert version.version in wanted
            assert version.manifest_digest == model.versions[version.version - 1]
        else:
            assert reason == (
                "ALIAS_NOT_FOUND" if isinstance(what, str) and what and not digest else "VERSION_NOT_FOUND"
            )

    @rule(subject=SUBJECTS, namespace=NAMESPACES, role=ROLES)
    def grant(self, subject: str, namespace: str, role: Role) -> None:
        grant = {"subject": subject, "namespace": namespace, "role": int(role)}
        _, reason = self.call(self.zoo.admin.iam.CreateGrant(iam_pb.CreateGrantRequest(grant=grant)))
        held = (namespace.casefold(), subject)
        if namespace == "nowhere":
            assert reason == "NAMESPACE_NOT_FOUND"
        elif self.grants.get(held) is not role and self.is_last_admin(held):
            assert reason == "LAST_ADMIN"
        else:
            assert reason == ""
            self.writes += self.grants.get(held) is not role
            self.grants[held] = role

    @rule(subject=SUBJECTS, namespace=NAMESPACES)
    def revoke_grant(self, subject: str, namespace: str) -> None:
        request = iam_pb.RevokeGrantRequest(subject=subject, namespace=namespace)
        _, reason = self.call(self.zoo.admin.iam.RevokeGrant(request))
        held = (namespace.casefold(), subject)
        if held not in self.grants:
            assert reason == "GRANT_NOT_FOUND"
        elif self.is_last_admin(held):
            assert reason == "LAST_ADMIN"
        else:
            del self.grants[held]
            self.writes += 1

    def is_last_admin(self, held: tuple[str, str]) -> bool:
        admins = [key for key, role in self.grants.items() if key[0] == "*" and role is Role.ADMIN]
        return admins == [held]

    @rule(subject=SUBJECTS)
    def create_key(self, subject: str) -> None:
        made, _ = self.call(self.zoo.admin.iam.CreateKey(iam_pb.CreateKeyRequest(key={"subject": subject})))
        self.keys[made.key.name] = False
        self.writes += 1

    @rule(n=st.integers(0, 3))
    def revoke_key(self, n: int) -> None:
        name = list(self.keys)[n] if n < len(self.keys) else "key_0123456789abcdef"
        _, reason = self.call(self.zoo.admin.iam.RevokeKey(iam_pb.RevokeKeyRequest(name=name)))
        assert reason == ("" if name in self.keys else "KEY_NOT_FOUND")
        if name in self.keys:
            self.writes += not self.keys[name]
            self.keys[name] = True

    @invariant()
    def every_write_is_one_change(self) -> None:
        async def count() -> int:
            async with self.zoo.database.read() as connection:
                return (await connection.execute(select(func.max(changes.c.sequence)))).scalar_one()

        assert self.run(count()) == self.writes

    @rule()
    def compare(self) -> None:
        """Listings and what gateways are told, with what is expected."""
        page, _ = self.call(self.zoo.admin.catalog.ListModels(pb.ListModelsRequest()))
        expected = [self.models[key] for key in sorted(self.models)]
        assert [(m.name, m.latest_version) for m in page.models] == [(m.written, len(m.versions)) for m in expected]
        for model in expected[:1]:
            page, _ = self.call(self.zoo.admin.catalog.ListAliases(pb.ListAliasesRequest(model=model.written)))
            found = {alias.alias: {t.version: t.weight for t in alias.targets} for alias in page.aliases}
            # A single target's weight says nothing.
            assert {name: set(targets) for name, targets in found.items()} == {
                name: set(targets) for name, (targets, _) in model.aliases.items()
            }

        async def snapshot() -> Any:
            watch = self.zoo.admin.iam.WatchAccess(iam_pb.WatchAccessRequest())
            try:
                return await watch.read()
            finally:
                watch.cancel()

        access = self.run(snapshot())
        assert {key.name: key.HasField("revoke_time") for key in access.keys} == self.keys
        assert {(held.namespace, held.subject): Role(held.role) for held in access.grants} == self.grants


CatalogMachine.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Without shrinking: every example starts a server, and minutes of that would end in a timeout without any example.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
test_the_catalog_agrees_with_its_model = CatalogMachine.TestCase


def test_the_catalog_agrees_with_its_model_on_postgresql(postgresql_shared: PostgresqlServer) -> None:
    class Machine(CatalogMachine):
        def database_url(self) -> str:
            return postgresql_shared.url(f"machine_{uuid.uuid4().hex}")

    run_state_machine_as_test(Machine, settings=settings(CatalogMachine.TestCase.settings, max_examples=3))
