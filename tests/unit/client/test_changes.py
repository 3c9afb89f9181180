"""The log of changes through the client and the command: connections that break, aliases without a call, exports."""

import asyncio
import json
import signal
import subprocess
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import grpc
import pytest
from typer.testing import Result

from modelzoo import history_wire
from modelzoo.change_log import ChangeStream
from modelzoo.client import Client
from modelzoo.errors import NotFound, OutOfRange, ResourceExhausted, Unavailable, ZooError, to_status
from support.front_door import FrontDoor
from support.terminal import ZOO
from support.waiting import eventually
from zoo.catalog.v1 import change_pb2
from zoo.catalog.v1 import change_service_pb2 as pb

Tree = Callable[..., Path]
Zoo = Callable[..., Result]


@pytest.fixture
def bert(client: Client, tree: Tree) -> Client:
    """With two versions of team/bert, the alias prod at the first."""
    for content in (b"1", b"2"):
        client.push(tree({"a": content}), "team/bert", alias=None)
    client.set_alias("team/bert", "prod", 1)
    return client


def resolves_to(following, version: int) -> None:
    async def probe() -> bool:
        return following.version("team/bert@prod").version == version

    asyncio.run(eventually(probe))


def test_changes_are_plain_values_with_what_was_before_and_after(bert: Client):
    bert.set_alias("team/bert", "prod", 2)
    with bert.changes(models=["team/bert"]) as stream:
        found = list(stream)
    assert [change.action for change in found] == ["CreateModel", *["CreateVersion"] * 2, *["SetAlias"] * 2]
    assert found[-1].before == {"targets": [{"version": 1, "weight": 1}]}
    assert isinstance(found[-1].before["targets"][0]["version"], int)
    assert found[-1].actor == "admin"
    assert list(bert.latest_changes(models=["team/bert"])) == found[::-1]


def test_who_did_something_names_for_whom_and_why():
    told = change_pb2.Change(actor="service:training", action="SetAlias", on_behalf_of="user:ann", cause="job_1")
    assert history_wire.change(told).who == "service:training for user:ann, job_1"
    assert history_wire.change(change_pb2.Change(actor="user:ann")).who == "user:ann"


@pytest.mark.parametrize("cut_after", [0, 1, 3])
def test_a_stream_that_breaks_again_and_again_is_gone_on_with(bert: Client, door: FrontDoor, cut_after: int):
    whole = list(bert.changes())
    door.cut_after["WatchChanges"], door.cuts = cut_after, 2
    assert list(bert.changes()) == whole
    assert door.cuts == 0


def test_a_followed_stream_goes_on_from_its_cursor_and_ends_when_it_is_closed(bert: Client, door: FrontDoor):
    stream = bert.changes(None, follow=True, actions=["SetAlias"])
    assert stream.receive() is None
    cursor = stream.cursor
    door.cut_after["WatchChanges"], door.cuts = 2, 1
    for version in (2, 1, 2):
        bert.set_alias("team/bert", "prod", version)
        assert next(stream).after == {"targets": [{"version": version, "weight": 1}]}
    threading.Timer(0.1, stream.close).start()
    assert list(stream) == []
    assert [change.sequence for change in bert.changes(cursor)] == [cursor + 1, cursor + 2, cursor + 3]


class Refused(grpc.RpcError):
    """How grpc brings an error that a server sent."""

    def __init__(self, error: ZooError) -> None:
        self._error = error

    def code(self) -> grpc.StatusCode:
        return self._error.code

    def details(self) -> str:
        return self._error.message

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return (("grpc-status-details-bin", to_status(self._error).SerializeToString()),)


class Scripted(list[pb.WatchChangesResponse | Refused]):
    """A stream that gives these, and raises an error among them."""

    def __next__(self) -> pb.WatchChangesResponse:
        match self.pop(0):
            case Refused() as error:
                raise error
            case response:
                return response

    def cancel(self) -> None:
        self.clear()


def test_who_was_let_in_once_comes_back_when_there_is_room_and_who_was_not_is_told():
    full = ResourceExhausted("WATCHES_TOO_MANY", "many watches already", retry_after_s=0.001)
    broken = Refused(Unavailable("", "connection reset"))
    reached = [pb.WatchChangesResponse(reached_sequence=number) for number in (4, 5)]
    calls = [Scripted([reached[0], broken]), *(Scripted([Refused(full)]) for _ in range(9)), Scripted([reached[1]])]
    cursors: list[int | None] = []

    def start(cursor: int | None) -> Scripted:
        cursors.append(cursor)
        return calls.pop(0)

    stream = ChangeStream(start, 0, follow=True)  # type: ignore[arg-type]
    assert [stream.receive(), stream.receive(), stream.cursor] == [None, None, 5]
    assert cursors == [0, *[4] * 10]
    calls.append(Scripted([Refused(full)]))
    with pytest.raises(ResourceExhausted):
        ChangeStream(start, 0, follow=True).receive()  # type: ignore[arg-type]


def test_a_cursor_may_be_a_time_and_one_that_is_none_is_refused(bert: Client):
    whole = list(bert.changes())
    assert list(bert.changes(since=whole[3].time - timedelta(microseconds=1))) == whole[3:]
    assert list(bert.changes(since=datetime.now().astimezone() + timedelta(days=1))) == []
    with pytest.raises(OutOfRange):
        next(bert.changes(10_000))


def test_a_followed_alias_is_known_without_a_call_and_moves(bert: Client, door: FrontDoor):
    with bert.follow("TEAM/bert") as following:
        assert following.wait(10)
        calls = door.requests["GetVersion"]
        for ref in ("team/bert@prod", "team/bert", "team/bert@2", "team/Bert@1"):
            following.version(ref)
        assert following.version("team/bert@prod").version == 1
        assert following.version("team/bert").version == 2
        assert door.requests["GetVersion"] == calls
        assert following.staleness_s < 10
        bert.set_alias("team/bert", "prod", 2)
        resolves_to(following, 2)
        bert.set_alias("team/bert", "new", 2)
        bert.delete_alias("team/bert", "prod")

        async def gone() -> bool:
            try:
                return not following.version("team/bert@prod")
            except NotFound:
                return True

        asyncio.run(eventually(gone))


def test_what_is_not_in_the_picture_or_may_be_too_old_is_asked(bert: Client, door: FrontDoor, tree: Tree):
    bert.push(tree({"b": b"1"}, "other"), "team/other")
    with bert.follow("team/bert", stale_most_s=-1) as following:
        assert following.wait(10)
        calls = door.requests["GetVersion"]
        assert following.version("team/bert@prod").version == 1
        assert following.version("team/other").version == 1
        assert door.requests["GetVersion"] == calls + 2
    following.stale_most_s = 30
    assert following.version("team/bert@prod").version == 1
    assert door.requests["GetVersion"] == calls + 3


def test_an_alias_moved_while_the_connection_was_gone_is_known_afterwards(bert: Client, door: FrontDoor):
    with bert.follow("team/bert") as following:
        assert following.wait(10)
        door.cut_after["WatchChanges"], door.cuts = 1, 3
        for version in (2, 1, 2):
            bert.set_alias("team/bert", "prod", version)
            resolves_to(following, version)


def test_the_command_shows_who_did_what_and_answers_json_lines(bert: Client, zoo: Zoo):
    bert.set_alias("team/bert", "prod", 2)
    shown = zoo("changes", "--model", "team/bert").stdout.splitlines()
    assert shown[0].split() == ["SEQUENCE", "TIME", "WHO", "WHAT", "RESOURCE", "CHANGE"]
    assert shown[-1].endswith("admin  SetAlias       team/bert@prod  targets: 1 -> 2")
    lines = zoo("changes", "--json", "--since", "1h", "--namespace", "team").stdout.splitlines()
    assert [json.loads(line) for line in lines][-1]["after"] == {"targets": [{"version": 2, "weight": 1}]}
    assert len(zoo("changes", "--limit", "2", "--json").stdout.splitlines()) == 2
    assert len(zoo("changes", "--after", "1", "--json").stdout.splitlines()) == len(list(bert.changes())) - 1
    assert zoo("changes", "--since", "yesterday").exit_code == 2


@pytest.mark.usefixtures("zoo")
def test_ctrl_c_ends_a_followed_log(bert: Client):
    words = [ZOO, "changes", "--follow", "--json", "--model", "team/bert"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["resource"] == "team/bert"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_an_export_goes_on_where_the_file_ends_even_in_half_a_line(bert: Client, zoo: Zoo, tmp_path: Path):
    file = tmp_path / "audit.jsonl"
    assert zoo("changes", "--out", file).exit_code == 0
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert [json.loads(line)["sequence"] for line in lines] == [change.sequence for change in bert.changes()]
    for kept in (0, 1, len(lines[0]), len(lines[0]) + 9, len(whole) - 1, len(whole)):
        file.write_bytes(whole[:kept])
        assert zoo("changes", "--out", file).exit_code == 0
        assert file.read_bytes() == whole


@pytest.mark.parametrize("content", [b"notes", b"notes\n", b'{"sequence": "x"}\n', b'{"sequence": 1}\nx'])
def test_an_export_leaves_files_of_others_alone(bert: Client, zoo: Zoo, tmp_path: Path, content: bytes):
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    assert zoo("changes", "--out", file).exit_code == 6
    assert file.read_bytes() == content
