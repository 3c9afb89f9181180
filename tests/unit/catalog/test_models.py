"""Namespaces and models: names, who sees them, retries."""

from modelzoo.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from support.catalog_service import CatalogService, refused
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import model_pb2
from zoo.iam.v1 import iam_service_pb2 as iam_pb
from zoo_server.principal import Role


async def test_a_namespace_comes_back_as_it_was_written(zoo: CatalogService) -> None:
    namespace = model_pb2.Namespace(name="Team", description="our models")
    await zoo.admin.catalog.CreateNamespace(pb.CreateNamespaceRequest(namespace=namespace))
    found = (await zoo.admin.catalog.GetNamespace(pb.GetNamespaceRequest(name="tEAM"))).namespace
    assert (found.name, found.description) == ("Team", "our models")
    assert found.HasField("create_time")


async def test_a_namespace_that_differs_in_case_only_exists(zoo: CatalogService) -> None:
    await zoo.namespace("Team")
    with refused(AlreadyExists, "NAMESPACE_EXISTS"):
        await zoo.namespace("TEAM")


async def test_only_the_clusters_admin_makes_namespaces(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    for roles in ({"team": Role.ADMIN}, {"*": Role.TRAINER}):
        caller = await zoo.caller("lead", roles)
        request = pb.CreateNamespaceRequest(namespace=model_pb2.Namespace(name="other"))
        with refused(PermissionDenied, "ROLE_MISSING"):
            await caller.catalog.CreateNamespace(request)


async def test_who_makes_a_namespace_becomes_its_admin(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    grants = (await zoo.admin.iam.ListGrants(iam_pb.ListGrantsRequest(namespace="team"))).grants
    assert [(grant.subject, Role(grant.role)) for grant in grants] == [("admin", Role.ADMIN)]


async def test_a_name_with_a_slash_is_no_namespace(zoo: CatalogService) -> None:
    with refused(InvalidArgument, "FIELD_INVALID"):
        await zoo.namespace("a/b")


async def test_a_model_keeps_its_spelling_and_is_found_by_any(zoo: CatalogService) -> None:
    await zoo.namespace("Team")
    made = await zoo.admin.model("team/Bert-Base")
    assert made.name == "Team/Bert-Base"
    found = (await zoo.admin.catalog.GetModel(pb.GetModelRequest(name="TEAM/bert-BASE"))).model
    assert found == made


async def test_a_bare_name_lies_in_the_namespace_zoo(zoo: CatalogService) -> None:
    await zoo.namespace("zoo")
    assert (await zoo.admin.model("bert")).name == "zoo/bert"


async def test_a_model_that_differs_in_case_only_exists(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await zoo.admin.model("team/bert")
    with refused(AlreadyExists, "MODEL_EXISTS"):
        await zoo.admin.model("team/BERT")


async def test_a_model_in_an_unknown_namespace_is_refused(zoo: CatalogService) -> None:
    with refused(NotFound, "NAMESPACE_NOT_FOUND"):
        await zoo.admin.model("nowhere/bert")


async def test_names_that_are_no_models_are_refused(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    for name in ("team/", "/bert", "a/b/c", "team/bert@3", "team/bert@", "-x/y", "team/ü", "team/a b", "../x"):
        with refused(InvalidArgument, "REFERENCE_INVALID"):
            await zoo.admin.model(name)
        with refused(InvalidArgument, "REFERENCE_INVALID"):
            await zoo.admin.catalog.GetModel(pb.GetModelRequest(name=name))


async def test_an_unknown_model_is_not_found(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    with refused(NotFound, "MODEL_NOT_FOUND"):
        await zoo.admin.catalog.GetModel(pb.GetModelRequest(name="team/none"))


async def test_a_retry_with_the_same_request_id_finds_the_first_model(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    made = await zoo.admin.model("team/bert", request_id="r1")
    assert await zoo.admin.model("Team/BERT", request_id="r1") == made


async def test_a_request_id_cannot_be_used_for_another_model(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await zoo.admin.model("team/bert", request_id="r1")
    with refused(AlreadyExists, "REQUEST_ID_REUSED"):
        await zoo.admin.model("team/other", request_id="r1")


async def test_request_ids_of_different_callers_do_not_meet(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await zoo.admin.model("team/bert", request_id="r1")
    other = await zoo.caller("other", {"team": Role.PUBLISHER})
    assert (await other.model("team/other", request_id="r1")).name == "team/other"


async def test_publishing_needs_the_role_of_a_publisher(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    invoker = await zoo.caller("app", {"team": Role.INVOKER})
    with refused(PermissionDenied, "ROLE_MISSING") as refusal:
        await invoker.model("team/bert")
    assert refusal.metadata == {"namespace": "team", "role": "publisher"}


async def test_what_is_hidden_is_answered_like_what_does_not_exist(zoo: CatalogService) -> None:
    await zoo.published("secret/bert")
    stranger = await zoo.caller("stranger", {"team": Role.ADMIN})
    messages: list[str] = []
    for name in ("secret/bert", "secret/none"):
        with refused(NotFound, "MODEL_NOT_FOUND") as refusal:
            await stranger.catalog.GetModel(pb.GetModelRequest(name=name))
        messages.append(refusal.message.replace(name, "NAME"))
        with refused(NotFound, "MODEL_NOT_FOUND") as refusal:
            await stranger.get(f"{name}@1")
        messages.append(refusal.message.replace(name, "NAME"))
    with refused(NotFound, "MODEL_NOT_FOUND") as refusal:
        await zoo.admin.get("secret/none@1")
    messages.append(refusal.message.replace("secret/none", "NAME"))
    assert len(set(messages)) == 1


async def test_hidden_namespaces_are_not_found_by_any_method(zoo: CatalogService) -> None:
    await zoo.namespace("secret")
    stranger = await zoo.caller("stranger", {"team": Role.ADMIN})
    messages: list[str] = []
    for name in ("secret", "nowhere"):
        with refused(NotFound, "NAMESPACE_NOT_FOUND") as refusal:
            await stranger.catalog.GetNamespace(pb.GetNamespaceRequest(name=name))
        messages.append(refusal.message.replace(name, "NAME"))
        with refused(NotFound, "NAMESPACE_NOT_FOUND"):
            await stranger.model(f"{name}/bert")
        with refused(NotFound, "NAMESPACE_NOT_FOUND"):
            await stranger.iam.ListGrants(iam_pb.ListGrantsRequest(namespace=name))
    assert len(set(messages)) == 1
