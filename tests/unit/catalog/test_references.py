"""What a reference means: latest, numbers, digests, aliases and their shares, states."""

from collections import Counter

import pytest
from sqlalchemy import update

from modelzoo.errors import InvalidArgument, NotFound
from support.catalog_service import CatalogService, refused
from zoo.catalog.v1 import model_pb2
from zoo_catalog.schema import models, versions
from zoo_server.principal import Role


async def set_state(zoo: CatalogService, number: int, state: str) -> None:
    async with zoo.database.write() as connection:
        await connection.execute(update(versions).where(versions.c.version == number).values(state=state))


async def test_no_suffix_and_latest_mean_the_highest_ready_version(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 3)
    assert (await zoo.admin.get("team/bert")).version == 3
    assert (await zoo.admin.get("team/bert@latest")).version == 3


async def test_a_model_without_versions_has_no_latest(zoo: CatalogService) -> None:
    await zoo.namespace("team")
    await zoo.admin.model("team/bert")
    with refused(NotFound, "VERSION_NOT_FOUND"):
        await zoo.admin.get("team/bert")


async def test_numbers_and_digests_mean_one_version_for_ever(zoo: CatalogService) -> None:
    digests = await zoo.published("team/bert", 2)
    assert (await zoo.admin.get("team/bert@1")).manifest_digest == digests[0]
    assert (await zoo.admin.get(f"Team/BERT@sha256:{digests[0]}")).version == 1


async def test_of_versions_with_one_manifest_the_digest_means_the_highest(zoo: CatalogService) -> None:
    [digest] = await zoo.published("team/bert")
    await zoo.admin.publish("team/bert", digest)
    assert (await zoo.admin.get(f"team/bert@sha256:{digest}")).version == 2


async def test_what_is_not_there_is_not_found_by_its_own_reason(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    for reference, reason in {
        "team/none": "MODEL_NOT_FOUND",
        "nowhere/none@1": "MODEL_NOT_FOUND",
        "team/bert@2": "VERSION_NOT_FOUND",
        "team/bert@2147483647": "VERSION_NOT_FOUND",
        f"team/bert@sha256:{'0' * 64}": "VERSION_NOT_FOUND",
        "team/bert@prod": "ALIAS_NOT_FOUND",
    }.items():
        with refused(NotFound, reason):
            await zoo.admin.get(reference)


@pytest.mark.parametrize(
    "text", ["team/bert@0", "team/bert@2147483648", "a/b/c", "@1", "team/bert@", "team/b@ß", "x\n"]
)
async def test_what_is_no_reference_is_refused(zoo: CatalogService, text: str) -> None:
    with refused(InvalidArgument, "REFERENCE_INVALID"):
        await zoo.admin.get(text)


async def test_an_alias_answers_its_target(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    await zoo.admin.set_alias("team/bert", "prod", {1: 0})
    assert {(await zoo.admin.get("team/bert@prod")).version for _ in range(10)} == {1}


async def test_targets_are_answered_by_weight(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 3)
    await zoo.admin.set_alias("team/bert", "prod", {1: 3, 2: 1, 3: 0})
    found = Counter([(await zoo.admin.get("team/bert@prod")).version for _ in range(400)])
    # 300 and 100 are expected; seven standard deviations are 61.
    assert set(found) == {1, 2}
    assert 239 < found[1] < 361


async def test_a_quarantined_version_is_found_by_its_number_alone(zoo: CatalogService) -> None:
    digests = await zoo.published("team/bert", 2)
    await zoo.admin.set_alias("team/bert", "prod", {2: 1})
    for state in ("QUARANTINED", "DELETED"):
        await set_state(zoo, 2, state)
        assert model_pb2.VersionState.Name((await zoo.admin.get("team/bert@2")).state) == f"VERSION_STATE_{state}"
        for suffix in ("prod", f"sha256:{digests[1]}"):
            with refused(NotFound, "VERSION_NOT_FOUND"):
                await zoo.admin.get(f"team/bert@{suffix}")


async def test_a_deprecated_version_may_still_be_used(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 1)
    await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    await set_state(zoo, 1, "DEPRECATED")
    assert (await zoo.admin.get("team/bert@prod")).state == model_pb2.VERSION_STATE_DEPRECATED


async def test_an_alias_loses_the_share_of_a_quarantined_target(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    await zoo.admin.set_alias("team/bert", "prod", {1: 1, 2: 1000})
    await set_state(zoo, 2, "QUARANTINED")
    assert (await zoo.admin.get("team/bert@prod")).version == 1


async def test_the_name_of_a_deleted_model_stays_taken(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    async with zoo.database.write() as connection:
        await connection.execute(update(models).values(delete_time=models.c.create_time))
    with refused(NotFound, "MODEL_NOT_FOUND"):
        await zoo.admin.get("team/bert@1")
    with pytest.raises(Exception, match="exists, or did"):
        await zoo.admin.model("team/bert")


async def test_a_viewer_may_resolve_what_a_stranger_may_not_know(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    viewer = await zoo.caller("viewer", {"TEAM": Role.VIEWER})
    assert (await viewer.get("team/bert")).version == 1
    stranger = await zoo.caller("stranger", {"other": Role.ADMIN})
    for suffix in ("", "@1", "@9", "@prod"):
        with refused(NotFound, "MODEL_NOT_FOUND"):
            await stranger.get(f"team/bert{suffix}")
