"""Errors on both sides of the wire, and that their reasons and the proto's are the same."""

import ast
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from modelzoo import errors
from modelzoo.errors import InvalidArgument, ResourceExhausted, ZooError, from_status, to_status
from zoo.errors.v1 import error_reason_pb2

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("client", "store", "services", "gateway") for path in (ROOT / folder).rglob("*.py")
)
PREFIX = "ERROR_REASON_"
REASONS = {name.removeprefix(PREFIX) for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name} - {
    "UNSPECIFIED"
}
CLASSES = [cls for name in errors.__all__ if isinstance(cls := getattr(errors, name), type) and cls is not ZooError]
BY_NAME = {cls.__name__: cls for cls in [ZooError, *CLASSES]}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_comes_back_from_its_status(cls: type[ZooError]):
    sent = cls("QUEUE_FULL", "The queue is full.", metadata={"limit": "8"}, retry_after_s=1.25, field="prompt")
    got = from_status(status_pb2.Status.FromString(to_status(sent).SerializeToString()))
    assert got.code == cls.code
    assert issubclass(cls, type(got))  # Interrupted is raised by clients only and shares Unavailable's code
    assert (got.reason, got.message, str(got)) == ("QUEUE_FULL", "The queue is full.", "The queue is full.")
    assert (got.metadata, got.retry_after_s, got.field) == ({"limit": "8"}, 1.25, "prompt")


def test_a_bare_error_comes_back_without_extras():
    got = from_status(to_status(InvalidArgument("FIELD_INVALID", "No.")))
    assert (got.metadata, got.retry_after_s, got.field) == ({}, None, None)


def test_no_wait_is_not_the_same_as_a_wait_of_nothing():
    assert from_status(to_status(ResourceExhausted("QUEUE_FULL", "Now.", retry_after_s=0.0))).retry_after_s == 0.0


def test_a_status_of_somebody_else_is_still_an_error_of_its_code():
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.DebugInfo(detail="x"))
    got = from_status(status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0], message="gone", details=[detail]))
    assert (type(got), got.reason, got.message) == (errors.NotFound, "", "gone")


def test_an_unknown_code_is_internal():
    assert type(from_status(status_pb2.Status(code=4711, message="?"))) is errors.Internal


def raised() -> Iterator[tuple[str, str, Path, int]]:
    """Every (class, reason) of a call that makes a ZooError with a literal reason, and where it stands."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            for argument in ast.walk(node.args[0]) if name in BY_NAME else ():
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and argument.value:
                    yield name, argument.value, path, node.lineno


def test_the_scan_sees_the_sources():
    assert ("InvalidArgument", "REFERENCE_INVALID") in {(name, reason) for name, reason, _, _ in raised()}


def test_every_reason_that_is_raised_is_in_the_proto():
    unknown = [
        f"{path.relative_to(ROOT)}:{line} {reason}" for _, reason, path, line in raised() if reason not in REASONS
    ]
    assert unknown == []


def documented() -> dict[str, str]:
    """The comment that stands above each value of the enum."""
    comments: dict[str, str] = {}
    comment: list[str] = []
    for line in (ROOT / "protos/zoo/errors/v1/error_reason.proto").read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("//"):
            comment.append(text.removeprefix("//").strip())
            continue
        if text.startswith(PREFIX):
            comments[text.split()[0].removeprefix(PREFIX)] = " ".join(comment)
        comment = []
    return comments


def test_every_reason_is_documented_with_its_code():
    comments = documented()
    assert comments.keys() - {"UNSPECIFIED"} == REASONS
    codes = {code.name for code in grpc.StatusCode}
    assert [reason for reason in sorted(REASONS) if comments[reason].split(",")[0].split(":")[0] not in codes] == []


def test_every_reason_is_raised_with_the_code_that_is_documented():
    comments = documented()
    wrong = [
        f"{path.relative_to(ROOT)}:{line} {name}({reason})"
        for name, reason, path, line in raised()
        if reason in REASONS and not comments[reason].startswith(BY_NAME[name].code.name)
    ]
    assert wrong == []
