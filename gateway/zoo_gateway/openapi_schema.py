"""JSON schemas (2020-12) of messages and enums, as protobuf's JSON form has them with the fields' own names.

https://protobuf.dev/programming-guides/json
"""

from typing import Any, cast

from google.protobuf import descriptor_pb2

from zoo.rules.v1 import rules_pb2
from zoo_gateway.comments import comments_of

__all__ = ["Schemas"]

Schema = dict[str, Any]
_Field = descriptor_pb2.FieldDescriptorProto

# 64-bit integers are strings in JSON: its numbers lose digits there.
_LONG = {"type": "string", "format": "int64"}
_ULONG = {"type": "string", "format": "uint64"}
_SCALARS: dict[int, Schema] = {
    _Field.TYPE_DOUBLE: {"type": "number", "format": "double"},
    _Field.TYPE_FLOAT: {"type": "number", "format": "float"},
    _Field.TYPE_INT64: _LONG,
    _Field.TYPE_SINT64: _LONG,
    _Field.TYPE_SFIXED64: _LONG,
    _Field.TYPE_UINT64: _ULONG,
    _Field.TYPE_FIXED64: _ULONG,
    _Field.TYPE_INT32: {"type": "integer", "format": "int32"},
    _Field.TYPE_SINT32: {"type": "integer", "format": "int32"},
    _Field.TYPE_SFIXED32: {"type": "integer", "format": "int32"},
    _Field.TYPE_UINT32: {"type": "integer", "minimum": 0},
    _Field.TYPE_FIXED32: {"type": "integer", "minimum": 0},
    _Field.TYPE_BOOL: {"type": "boolean"},
    _Field.TYPE_STRING: {"type": "string"},
    _Field.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: dict[str, Schema] = {
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    ".google.protobuf.Duration": {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$", "examples": ["1.5s"]},
    ".google.protobuf.FieldMask": {"type": "string"},
    ".google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}},
}


class Schemas:
    """Schemas of a descriptor set, by full name without the leading dot."""

    def __init__(self, descriptors: descriptor_pb2.FileDescriptorSet) -> None:
        self._messages: dict[str, descriptor_pb2.DescriptorProto] = {}
        self._made: dict[str, Schema] = {}
        for file in descriptors.file:
            comments = comments_of(file)
            for index, message in enumerate(file.message_type):
                self._add(f"{file.package}.{message.name}", message, comments, (4, index))
            for index, enum in enumerate(file.enum_type):
                # What is UNSPECIFIED is never sent.
                names = [value.name for value in enum.value if value.number]
                described = comments.get((5, index), "")
                self._made[f"{file.package}.{enum.name}"] = _described({"type": "string", "enum": names}, described)

    def message(self, type_name: str) -> descriptor_pb2.DescriptorProto:
        """The message that a method or field names, such as `.zoo.catalog.v1.Model`."""
        return self._messages[type_name.removeprefix(".")]

    def components(self, document: Schema) -> dict[str, Schema]:
        """The schemas that the document refers to, and those that they are made of."""
        found: dict[str, Schema] = {}
        waiting = _referenced(document)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = self._made[name]
                waiting += _referenced(found[name])
        return dict(sorted(found.items()))

    def field(self, type_name: str, field_name: str) -> Schema:
        """The schema of one field of a message."""
        return self._made[type_name.removeprefix(".")]["properties"][field_name]

    def _add(
        self,
        name: str,
        message: descriptor_pb2.DescriptorProto,
        comments: dict[tuple[int, ...], str],
        path: tuple[int, ...],
    ) -> None:
        self._messages[name] = message
        for index, nested in enumerate(message.nested_type):
            self._add(f"{name}.{nested.name}", nested, comments, (*path, 3, index))
        maps = {f".{name}.{n.name}": n for n in message.nested_type if n.options.map_entry}
        properties = {
            field.name: _described(_field_schema(field, maps), comments.get((*path, 2, index), ""))
            for index, field in enumerate(message.field)
        }
        schema: Schema = {"type": "object", "properties": properties}
        required = [f.name for f in message.field if f.options.Extensions[rules_pb2.rules].required]
        if required:
            schema["required"] = required
        self._made[name] = _described(schema, comments.get(path, ""))


def _field_schema(field: _Field, maps: dict[str, descriptor_pb2.DescriptorProto]) -> Schema:
    if field.type_name in maps:
        return {"type": "object", "additionalProperties": _value_schema(maps[field.type_name].field[1])}
    rules = field.options.Extensions[rules_pb2.rules]
    schema = _value_schema(field) | _limits(field, rules)
    if field.label != _Field.LABEL_REPEATED:
        return schema
    listed: Schema = {"type": "array", "items": schema}
    return listed | ({"maxItems": int(rules.max_items)} if rules.HasField("max_items") else {})


def _value_schema(field: _Field) -> Schema:
    if field.type in _SCALARS:
        return dict(_SCALARS[field.type])
    if field.type_name in _WELL_KNOWN:
        return dict(_WELL_KNOWN[field.type_name])
    return reference(field.type_name)


def reference(type_name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{type_name.removeprefix('.')}"}


def _limits(field: _Field, rules: rules_pb2.Rules) -> Schema:
    limits: Schema = {}
    if rules.HasField("min"):
        limits["minimum"] = rules.min
    if rules.HasField("max"):
        limits["maximum"] = rules.max
    if field.type == _Field.TYPE_STRING:
        if rules.HasField("min_len"):
            limits["minLength"] = int(rules.min_len)
        if rules.HasField("max_len"):
            limits["maxLength"] = int(rules.max_len)
        if rules.pattern:
            limits["pattern"] = f"^(?:{rules.pattern})$"
    return limits


def _described(schema: Schema, comment: str) -> Schema:
    return {**schema, "description": comment} if comment else schema


def _referenced(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        found = cast(dict[str, Any], schema)
        own = [str(found["$ref"]).removeprefix("#/components/schemas/")] if "$ref" in found else []
        return own + [name for value in found.values() for name in _referenced(value)]
    if isinstance(schema, list):
        return [name for item in cast(list[Any], schema) for name in _referenced(item)]
    return []
