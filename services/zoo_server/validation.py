"""Checks requests against the limits that their fields declare in the protos (zoo.rules.v1.rules).

Compiled once per message type from its descriptor: a list of checks, each for one field.
"""

import math
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from modelzoo.errors import InvalidArgument
from zoo.rules.v1 import rules_pb2

__all__ = ["validate"]

Check = Callable[[Message, str], None]
_TEXT = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
_FLOATS = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)


def validate(message: Message) -> None:
    """Return if every field keeps its limits, else raise FIELD_INVALID naming the first that does not."""
    for check in _compile(message.DESCRIPTOR):
        check(message, "")


@cache
def _compile(descriptor: Descriptor) -> tuple[Check, ...]:
    checks: list[Check] = []
    for field in descriptor.fields:
        rules = field.GetOptions().Extensions[rules_pb2.rules]
        if rules.ByteSize():
            checks.append(_field_check(field, rules))
        if field.message_type is not None and _has_checks(field.message_type, frozenset()):
            checks.append(_nested_check(field, field.message_type))
    return tuple(checks)


def _has_checks(descriptor: Descriptor, seen: frozenset[str]) -> bool:
    if descriptor.full_name in seen or descriptor.GetOptions().map_entry:
        return False
    seen |= {descriptor.full_name}
    return any(
        field.GetOptions().Extensions[rules_pb2.rules].ByteSize()
        or (field.message_type is not None and _has_checks(field.message_type, seen))
        for field in descriptor.fields
    )


def _nested_check(field: FieldDescriptor, inner: Descriptor) -> Check:
    def check(message: Message, path: str) -> None:
        value: Any = getattr(message, field.name)
        if field.is_repeated:
            for index, item in enumerate(value):
                for nested in _compile(inner):
                    nested(item, f"{path}{field.name}[{index}].")
        elif message.HasField(field.name):
            for nested in _compile(inner):
                nested(value, f"{path}{field.name}.")

    return check


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _field_check(field: FieldDescriptor, rules: rules_pb2.Rules) -> Check:
    pattern = re.compile(rules.pattern) if rules.HasField("pattern") else None
    tracked = field.has_presence

    def check(message: Message, path: str) -> None:
        name = path + field.name
        value: Any = getattr(message, field.name)
        if not (message.HasField(field.name) if tracked else value):
            if rules.required:
                raise _invalid(name, "must be set")
            if not rules.HasField("min") or tracked or field.is_repeated:
                return
        if field.is_repeated and rules.HasField("max_items") and len(value) > rules.max_items:
            raise _invalid(name, f"has {len(value)} items; at most {rules.max_items} are allowed")
        if _is_map(field):
            _check_entries(name, field, rules, pattern, value)
            return
        for item in _items(field, value):
            _check_value(name, field, rules, pattern, item)

    return check


def _check_entries(
    name: str, field: FieldDescriptor, rules: rules_pb2.Rules, pattern: re.Pattern[str] | None, value: Any
) -> None:
    """The pattern is the keys' alone, lengths are keys' and values', bounds the values'."""
    entry: Any = field.message_type
    key_field, value_field = (entry.fields_by_name[part] for part in ("key", "value"))
    for key, item in value.items():
        _check_value(f"a key of {name}", key_field, rules, pattern, key)
        if value_field.type != FieldDescriptor.TYPE_MESSAGE:
            _check_value(f"{name}[{key!a}]", value_field, rules, None, item)


def _items(field: FieldDescriptor, value: Any) -> Iterable[Any]:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return ()
    return value if field.is_repeated else (value,)


def _check_value(
    name: str, field: FieldDescriptor, rules: rules_pb2.Rules, pattern: re.Pattern[str] | None, value: Any
) -> None:
    if field.type in _TEXT:
        unit = "characters" if field.type == FieldDescriptor.TYPE_STRING else "bytes"
        if rules.required and not value:
            raise _invalid(name, "must not be empty")
        if rules.HasField("min_len") and len(value) < rules.min_len:
            raise _invalid(name, f"has {len(value)} {unit}; at least {rules.min_len} are needed")
        if rules.HasField("max_len") and len(value) > rules.max_len:
            raise _invalid(name, f"has {len(value)} {unit}; at most {rules.max_len} are allowed")
        if pattern is not None and value and not pattern.fullmatch(value):
            raise _invalid(name, f"does not match {pattern.pattern}")
        return
    if field.type in _FLOATS and not math.isfinite(value):
        raise _invalid(name, "is not a finite number")
    if rules.HasField("min") and value < rules.min:
        raise _invalid(name, f"is {_number(value)}; it must be at least {_number(rules.min)}")
    if rules.HasField("max") and value > rules.max:
        raise _invalid(name, f"is {_number(value)}; it must be at most {_number(rules.max)}")


def _number(value: float) -> str:
    return f"{int(value):,}" if abs(value) < 1e15 and value == int(value) else f"{value:g}"


def _invalid(field: str, problem: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", f"{field} {problem}", field=field, metadata={"field": field})
