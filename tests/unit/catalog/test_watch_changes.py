"""Watching the log: nothing lost, nothing twice, whatever breaks; and only what the caller may see."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert

from modelzoo.errors import InvalidArgument, NotFound, OutOfRange, ResourceExhausted, Unavailable
from support.catalog_service import Caller, CatalogService, refused, running_catalog
from support.waiting import eventually
from zoo.catalog.v1 import change_pb2
from zoo.catalog.v1 import change_service_pb2 as pb
from zoo.iam.v1 import iam_service_pb2 as iam_pb
from zoo_catalog import changes
from zoo_catalog.change_log import ChangeLog, Reached
from zoo_catalog.change_query import ChangeFilter, Entry
from zoo_catalog.feed import open_feed
from zoo_catalog.schema import changes as table
from zoo_server.principal import Principal, Role
from zoo_store.sql import Database

ADMIN = Principal("admin", {"*": Role.ADMIN})


def watch(caller: Caller, after: int | None = 0, follow: bool = False, **wanted: Any) -> Any:
    return caller.changes.WatchChanges(
        pb.WatchChangesRequest(after_sequence=after, follow=follow, filter=change_pb2.ChangeFilter(**wanted))
    )


async def told(caller: Caller, after: int | None = 0, **wanted: Any) -> list[change_pb2.Change]:
    """Everything up to the present end, which the last message must tell."""
    events = [event async for event in watch(caller, after, **wanted)]
    assert events.pop().HasField("reached_sequence")
    return [event.change for event in events]


async def resources(caller: Caller, **wanted: Any) -> list[str]:
    return [change.resource for change in await told(caller, **wanted)]


async def next_change(call: Any) -> change_pb2.Change:
    """The next one of a watch, what says how far it is left out."""
    while True:
        event = await asyncio.wait_for(call.read(), 10)
        if event.HasField("change"):
            return event.change


async def append(connection: Any, *names: str) -> None:
    for name in names:
        await changes.append(connection, "writer", "CreateModel", f"team/{name}", after={"name": name})


async def test_a_watch_to_the_end_tells_every_change_with_who_what_before_and_after(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    await zoo.admin.set_alias("team/bert", "prod", {2: 1})
    found = await told(zoo.admin)
    assert [change.sequence for change in found] == list(range(1, 8))
    assert (found[0].action, found[0].resource, found[0].actor) == ("CreateNamespace", "team", "admin")
    assert not found[0].HasField("before")
    moved = found[-1]
    assert moved.before["targets"][0]["version"] == 1
    assert moved.after["targets"][0]["version"] == 2
    assert moved.time.seconds > 0


async def test_from_every_cursor_the_rest_is_told_once(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 3)
    everything = await told(zoo.admin)
    for cursor in range(len(everything) + 1):
        assert await told(zoo.admin, cursor) == everything[cursor:]


async def test_a_watch_goes_on_after_a_restart_of_the_catalog(tmp_path: Path) -> None:
    async with running_catalog(tmp_path) as zoo:
        await zoo.published("team/bert")
        call = watch(zoo.admin, follow=True)
        cursor = (await next_change(call)).sequence
    async with running_catalog(tmp_path) as zoo:
        call = watch(zoo.admin, cursor, follow=True)
        rest = [(await next_change(call)).sequence for _ in range(3)]
        await zoo.admin.set_alias("team/bert", "prod", {1: 1})
        assert rest == [2, 3, 4]
        assert (await next_change(call)).resource == "team/bert@prod"
        call.cancel()


async def test_concurrent_writers_are_told_in_order_to_watchers_that_reconnect_all_the_time(
    zoo: CatalogService,
) -> None:
    async def write(writer: int) -> None:
        for number in range(25):
            async with zoo.database.write() as connection:
                await append(connection, f"{writer}-{number}")

    async def follow(chunk: int) -> list[int]:
        cursor, seen = 0, list[int]()
        while len(seen) < 100:
            call = watch(zoo.admin, cursor, follow=True)
            for _ in range(min(chunk, 100 - len(seen))):
                cursor = (await next_change(call)).sequence
                seen.append(cursor)
            call.cancel()
        return seen

    watchers = [asyncio.create_task(follow(chunk)) for chunk in (1, 7, 100)]
    await asyncio.gather(*map(write, range(4)))
    for seen in await asyncio.gather(*watchers):
        assert seen == list(range(1, 101))


async def test_a_change_that_is_not_committed_is_not_told_and_holds_up_none_before_it(zoo: CatalogService) -> None:
    async with zoo.database.write() as connection:
        await append(connection, "first")
    call = watch(zoo.admin, follow=True)
    assert (await next_change(call)).resource == "team/first"
    async with zoo.database.write() as connection:
        await append(connection, "second", "third")
        assert await resources(zoo.admin) == ["team/first"]
    assert [(await next_change(call)).resource for _ in range(2)] == ["team/second", "team/third"]
    call.cancel()


def of_another_process(zoo: CatalogService) -> Database:
    """The same tables, and nobody here hears of its commits."""
    return Database(zoo.database._driver, zoo.database._engine)


async def test_a_change_that_another_process_commits_is_found_without_a_word(zoo: CatalogService) -> None:
    call = watch(zoo.admin, follow=True)
    assert (await call.read()).reached_sequence == 0
    async with of_another_process(zoo).write() as connection:
        await append(connection, "elsewhere")
    assert (await next_change(call)).resource == "team/elsewhere"
    call.cancel()


async def test_a_key_revoked_by_another_process_reaches_the_gateways(zoo: CatalogService) -> None:
    snapshots = zoo.admin.iam.WatchAccess(iam_pb.WatchAccessRequest())
    await snapshots.read()
    async with of_another_process(zoo).write() as connection:
        await changes.append(connection, "admin", "RevokeKey", "key_0123456789abcdef")
    await asyncio.wait_for(snapshots.read(), 10)
    snapshots.cancel()


async def test_without_a_cursor_only_what_is_to_come_is_told(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    call = watch(zoo.admin, None, follow=True)
    assert (await call.read()).reached_sequence == 4
    await zoo.admin.set_alias("team/bert", "prod", {1: 1})
    assert (await next_change(call)).sequence == 5
    call.cancel()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"namespace": "TEAM"}, ["team", "team:admin", "team/bert", "team/bert@1"]),
        ({"models": ["Team/Bert"]}, ["team/bert", "team/bert@1"]),
        ({"models": ["team/bert", "other/gpt"]}, ["team/bert", "team/bert@1", "other/gpt", "other/gpt@1"]),
        ({"resource_prefix": "other/"}, ["other/gpt", "other/gpt@1"]),
        ({"resource_prefix": "OTHER/"}, []),
        ({"actions": ["CreateVersion"]}, ["team/bert@1", "other/gpt@1"]),
        ({"namespace": "other", "actions": ["CreateModel", "CreateGrant"]}, ["other:admin", "other/gpt"]),
    ],
)
async def test_a_filter_leaves_through_what_meets_all_of_it(
    zoo: CatalogService, wanted: dict[str, Any], found: list[str]
) -> None:
    await zoo.published("team/bert")
    await zoo.published("other/gpt")
    assert await resources(zoo.admin, **wanted) == found
    listed = await zoo.admin.changes.ListChanges(
        pb.ListChangesRequest(filter=change_pb2.ChangeFilter(**wanted), order=pb.CHANGE_ORDER_OLDEST_FIRST)
    )
    assert [change.resource for change in listed.changes] == found


async def test_everybody_sees_what_its_roles_let_it_see(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    await zoo.published("other/gpt")
    await zoo.admin.iam.CreateKey(iam_pb.CreateKeyRequest(key={"subject": "app"}))
    models = ["team", "team/bert", "team/bert@1"]
    seen = {
        "viewer": ({"TEAM": Role.VIEWER}, models),
        "lead": ({"team": Role.ADMIN}, ["team", "team:admin", "team/bert", "team/bert@1"]),
        "everybody's viewer": ({"*": Role.TRAINER}, [*models, "other", "other/gpt", "other/gpt@1"]),
        "nobody": ({}, []),
    }
    for subject, (roles, expected) in seen.items():
        assert await resources(await zoo.caller(subject, roles)) == expected, subject
    assert len(await resources(zoo.admin)) == 9


async def test_a_filter_that_names_what_the_caller_may_not_see_is_refused(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    caller = await zoo.caller("app", {"other": Role.ADMIN})
    for wanted, reason in (
        ({"namespace": "team"}, "NAMESPACE_NOT_FOUND"),
        ({"models": ["other/x", "team/bert"]}, "MODEL_NOT_FOUND"),
    ):
        with refused(NotFound, reason):
            await told(caller, **wanted)
        with refused(NotFound, reason):
            await caller.changes.ListChanges(pb.ListChangesRequest(filter=change_pb2.ChangeFilter(**wanted)))
    with refused(InvalidArgument, "REFERENCE_INVALID"):
        await told(caller, models=["other/x@1"])


async def test_a_cursor_that_the_log_does_not_have_is_refused_and_told_what_it_has(zoo: CatalogService) -> None:
    await zoo.published("team/bert")
    with refused(OutOfRange, "CURSOR_INVALID") as refusal:
        await told(zoo.admin, 5)
    assert refusal.metadata == {"first": "1", "last": "4"}
    async with zoo.database.write() as connection:
        await connection.execute(delete(table).where(table.c.sequence < 3))
    with refused(OutOfRange, "CURSOR_INVALID"):
        await told(zoo.admin, 1)
    for cursor in (0, 2):
        assert [change.sequence for change in await told(zoo.admin, cursor)] == [3, 4]


async def test_a_watch_ends_when_the_server_drains(zoo: CatalogService) -> None:
    call = watch(zoo.admin, follow=True)
    await call.read()
    await zoo.feed.close()
    with refused(Unavailable, "DRAINING"):
        while True:
            await call.read()


async def test_who_watches_too_often_is_refused_and_keeps_nobody_else_out(tmp_path: Path) -> None:
    async with running_catalog(tmp_path, watches=2) as zoo:
        held = [watch(zoo.admin, follow=True) for _ in range(2)]
        for call in held:
            await call.read()
        with refused(ResourceExhausted, "WATCHES_TOO_MANY") as refusal:
            await told(zoo.admin)
        assert refusal.error is not None
        assert (refusal.metadata, refusal.error.retry_after_s) == ({"limit": "2"}, 5.0)
        assert await told(await zoo.caller("app", {})) == []

        async def has_room() -> bool:
            event = await watch(zoo.admin).read()
            return event.HasField("reached_sequence")

        held[0].cancel()
        await eventually(has_room)
        for _ in range(3):  # each ends, and gives its place back
            assert await told(zoo.admin) == []
        held[1].cancel()


@pytest.fixture
async def quick(zoo: CatalogService) -> AsyncIterator[ChangeLog]:
    """The same log, with short times."""
    async with open_feed(zoo.database) as feed:
        yield ChangeLog(zoo.database, feed, heartbeat_s=0.02, watch_s=0.1)


async def test_a_filtered_watch_moves_its_cursor_by_heartbeats_and_ends_in_time(
    zoo: CatalogService, quick: ChangeLog
) -> None:
    await zoo.published("team/bert")
    events = list[Entry | Reached]()

    async def collect() -> None:
        async for event in quick.watch(ADMIN, ChangeFilter(actions=("SetAlias",)), 1, follow=True):
            events.append(event)

    with pytest.raises(Unavailable) as caught:
        await collect()
    assert caught.value.reason == "WATCH_EXPIRED"
    assert len(events) > 1
    assert set(events) == {Reached(4)}


async def test_a_long_log_is_read_in_pieces_without_a_gap(zoo: CatalogService, quick: ChangeLog) -> None:
    row = {
        "time": datetime.now(UTC),
        "actor": "a",
        "action": "SetAlias",
        "namespace_key": "team",
        "model_key": "team/m",
        "role": 1,
    }
    async with zoo.database.write() as connection:
        rows = [{**row, "resource": f"team/m@{'rare' if n % 5000 == 0 else 'often'}"} for n in range(45_000)]
        await connection.execute(insert(table), rows)
    for wanted, count in ((ChangeFilter(), 45_000), (ChangeFilter(resource_prefix="team/m@rare"), 9)):
        events = [event async for event in quick.watch(ADMIN, wanted, 0, follow=False)]
        assert events[-1] == Reached(45_000)
        assert len({event.sequence for event in events[:-1]}) == len(events) - 1 == count


async def test_pages_of_the_list_cover_it_in_both_orders_and_say_where_a_watch_goes_on(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 3)
    for order, expected in ((pb.CHANGE_ORDER_UNSPECIFIED, [6, 5, 4, 3, 2, 1]), (2, [1, 2, 3, 4, 5, 6])):
        seen, token = list[int](), ""
        while len(seen) < 6:
            request = pb.ListChangesRequest(order=order, page_size=4, page_token=token)
            page = await zoo.admin.changes.ListChanges(request)
            seen += [change.sequence for change in page.changes]
            token = page.next_page_token
        assert (seen, token, page.end_sequence) == (expected, "", 6)


async def test_the_list_is_bounded_by_time_and_its_tokens_by_what_was_asked(zoo: CatalogService) -> None:
    await zoo.published("team/bert", 2)
    page = await zoo.admin.changes.ListChanges(pb.ListChangesRequest(page_size=1))
    with refused(InvalidArgument, "PAGE_TOKEN_INVALID"):
        wanted = change_pb2.ChangeFilter(namespace="team")
        await zoo.admin.changes.ListChanges(pb.ListChangesRequest(filter=wanted, page_token=page.next_page_token))
    last = page.changes[0].time
    before = await zoo.admin.changes.ListChanges(pb.ListChangesRequest(end_time=last))
    since = await zoo.admin.changes.ListChanges(pb.ListChangesRequest(start_time=last))
    assert {change.sequence for change in before.changes}.isdisjoint(change.sequence for change in since.changes)
    assert len(before.changes) + len(since.changes) == 5
