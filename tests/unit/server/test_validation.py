"""Limits of fields, as the protos declare them, on a message that has one field for each."""

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from modelzoo.errors import InvalidArgument
from zoo.rules.v1 import rules_pb2
from zoo_server.validation import validate

Proto = descriptor_pb2.FieldDescriptorProto
MANY = Proto.LABEL_REPEATED


def field(name: str, number: int, kind: int, label: int = Proto.LABEL_OPTIONAL, **limits: Any) -> Proto:
    made = Proto(name=name, number=number, type=kind, label=label, json_name=name)  # type: ignore[arg-type]
    if kind == Proto.TYPE_MESSAGE:
        made.type_name = ".limits.Inner"
    if limits:
        made.options.Extensions[rules_pb2.rules].CopyFrom(rules_pb2.Rules(**limits))
    return made


def compile_messages() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="limits_of_a_test.proto", package="limits", syntax="proto3")
    file.dependency.append(rules_pb2.DESCRIPTOR.name)
    inner = file.message_type.add(name="Inner")
    inner.field.append(field("name", 1, Proto.TYPE_STRING, required=True, max_len=3))
    outer = file.message_type.add(name="Outer")
    outer.field.extend(
        [
            field("text", 1, Proto.TYPE_STRING, min_len=2, max_len=4, pattern="[a-z]+"),
            field("data", 2, Proto.TYPE_BYTES, max_len=4),
            field("count", 3, Proto.TYPE_INT32, min=1, max=9),
            field("share", 4, Proto.TYPE_DOUBLE, min=0, max=1),
            field("words", 5, Proto.TYPE_STRING, MANY, max_items=2, max_len=3, pattern="[a-z]*"),
            field("inner", 6, Proto.TYPE_MESSAGE),
            field("inners", 7, Proto.TYPE_MESSAGE, MANY, max_items=2),
            field("needed", 8, Proto.TYPE_MESSAGE, required=True),
            field("temperature", 9, Proto.TYPE_FLOAT, min=0.5, max=2),
        ]
    )
    for name, number, kind in (("tags", 10, Proto.TYPE_STRING), ("shares", 11, Proto.TYPE_DOUBLE)):
        entry = outer.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        entry.field.extend([field("key", 1, Proto.TYPE_STRING), field("value", 2, kind)])
        limits: dict[str, Any] = {"max": 1} if kind == Proto.TYPE_DOUBLE else {"pattern": "[a-z]+"}
        made = field(name, number, Proto.TYPE_MESSAGE, MANY, max_items=2, max_len=3, **limits)
        made.type_name = f".limits.Outer.{name.title()}Entry"
        outer.field.append(made)
    outer.oneof_decl.add(name="_temperature")
    outer.field[8].proto3_optional, outer.field[8].oneof_index = True, 0
    pool = descriptor_pool.Default()
    pool.Add(file)
    return tuple(
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"limits.{name}")) for name in ("Outer", "Inner")
    )


Outer, Inner = compile_messages()
GOOD: dict[str, Any] = {"count": 1, "needed": {"name": "a"}}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"text": "ab"},
        {"text": ""},
        {"text": "abcd"},
        {"data": b"1234"},
        {"count": 9},
        {"share": 1.0},
        {"words": ["abc", ""]},
        {"inners": [{"name": "abc"}]},
        {"temperature": 0.5},
        {"tags": {"a": "Any", "abc": ""}},
        {"shares": {"a": 1.0, "B": -1e300}},
    ],
)
def test_what_keeps_the_limits_passes(fields: dict[str, Any]) -> None:
    validate(Outer(**(GOOD | fields)))


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"text": "a"}, "text"),
        ({"text": "abcde"}, "text"),
        ({"text": "ab1"}, "text"),
        ({"text": "ab\n"}, "text"),
        ({"data": b"12345"}, "data"),
        ({"count": 0}, "count"),
        ({"count": 10}, "count"),
        ({"count": -(2**31)}, "count"),
        ({"share": 1.01}, "share"),
        ({"share": 1e300}, "share"),
        ({"share": float("nan")}, "share"),
        ({"share": float("inf")}, "share"),
        ({"share": float("-inf")}, "share"),
        ({"words": ["a", "b", "c"]}, "words"),
        ({"words": ["abcd"]}, "words"),
        ({"words": ["a", "B"]}, "words"),
        ({"inner": {}}, "inner.name"),
        ({"inner": {"name": "abcd"}}, "inner.name"),
        ({"inners": [{"name": "a"}, {}]}, "inners[1].name"),
        ({"inners": [{"name": "a"}] * 3}, "inners"),
        ({"needed": None}, "needed"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": 1e38}, "temperature"),
        ({"tags": {"a": "", "b": "", "c": ""}}, "tags"),
        ({"tags": {"A": ""}}, "a key of tags"),
        ({"tags": {"abcd": ""}}, "a key of tags"),
        ({"tags": {"a": "long"}}, "tags['a']"),
        ({"shares": {"abcd": 0.0}}, "a key of shares"),
        ({"shares": {"a": 1.1}}, "shares['a']"),
        ({"shares": {"a": float("nan")}}, "shares['a']"),
        ({"shares": {"a": float("-inf")}}, "shares['a']"),
    ],
)
def test_what_breaks_a_limit_is_refused_by_the_name_of_its_field(fields: dict[str, Any], at: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate(Outer(**(GOOD | fields)))
    assert (caught.value.reason, caught.value.field) == ("FIELD_INVALID", at)
    assert len(caught.value.message) < 200


def test_characters_are_counted_in_text_and_bytes_in_data() -> None:
    validate(Inner(name="äöü"))
    with pytest.raises(InvalidArgument):
        validate(Outer(**(GOOD | {"data": "äöü".encode()})))
