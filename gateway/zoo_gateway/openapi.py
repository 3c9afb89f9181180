"""The OpenAPI 3.1 document of what REST reaches, made of the same descriptors that Envoy transcodes by.

So a path stands in it exactly if it is served. https://spec.openapis.org/oas/v3.1.0 and google/api/http.proto.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

from zoo_gateway.comments import comments_of
from zoo_gateway.openapi_schema import Schemas, reference
from zoo_gateway.uploads import HTTP_BODY

__all__ = ["openapi_document"]

Json = dict[str, Any]
STATUS = ".google.rpc.Status"
# `{name}`, `{name=*/*}` (namespace and name) and `{name=**}` (anything, slashes too).
_VARIABLE = re.compile(r"\{([a-z_.]+)(?:=([^}]+))?\}")
_KEY = "key"


@dataclass(frozen=True, slots=True)
class _Binding:
    """One way to call a method: an HTTP verb, a path and the request field that is the body ("*": the rest)."""

    verb: str
    path: str
    body: str


def openapi_document(descriptors: descriptor_pb2.FileDescriptorSet, version: str) -> Json:
    """The document as JSON values. `version` is this software's."""
    schemas = Schemas(descriptors)
    paths: dict[str, Json] = {}
    for file in descriptors.file:
        comments = comments_of(file)
        for at, service in enumerate(file.service):
            for index, method in enumerate(service.method):
                comment = comments.get((6, at, 2, index), "")
                for number, binding in enumerate(_bindings(method)):
                    name = f"{service.name}_{method.name}" + (f"_{number + 1}" if number else "")
                    operation = _operation(schemas, method, binding, comment)
                    path, parameters = _path(schemas, method, binding)
                    operation["parameters"] = [*parameters, *operation["parameters"]]
                    paths.setdefault(path, {})[binding.verb] = {
                        "operationId": name,
                        "tags": [service.name],
                        **operation,
                    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Model zoo",
            "version": version,
            "description": "The same methods are served by gRPC on the same port. "
            "Where a path parameter may contain slashes, they are sent as they are.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{_KEY: []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {_KEY: {"type": "http", "scheme": "bearer", "description": "zoo_<id>_<secret>"}},
            "schemas": schemas.components(paths),
        },
    }


def _bindings(method: descriptor_pb2.MethodDescriptorProto) -> Iterator[_Binding]:
    # Packages without types.
    rule: Any = cast(Any, method.options).Extensions[cast(Any, annotations_pb2).http]
    if rule.WhichOneof("pattern"):
        for one in (rule, *rule.additional_bindings):
            verb: str = one.WhichOneof("pattern")
            yield _Binding(verb, getattr(one, verb), one.body)


def _path(schemas: Schemas, method: descriptor_pb2.MethodDescriptorProto, binding: _Binding) -> tuple[str, list[Json]]:
    """The path in OpenAPI's form, and its parameters."""
    parameters: list[Json] = []

    def replaced(match: re.Match[str]) -> str:
        name, pattern = match[1].rpartition(".")[2], match[2]
        if pattern == "*/*":
            parameters.append(_path_parameter("namespace", {"type": "string"}))
            parameters.append(_path_parameter("name", {"type": "string"}))
            return "{namespace}/{name}"
        schema = _nested_field(schemas, method.input_type, match[1])
        parameters.append(_path_parameter(name, schema))
        return f"{{{name}}}"

    return _VARIABLE.sub(replaced, binding.path), parameters


def _path_parameter(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _nested_field(schemas: Schemas, type_name: str, path: str) -> Json:
    """The schema of a field by its dotted path."""
    first, _, rest = path.partition(".")
    if not rest:
        return schemas.field(type_name, first)
    inner = next(field for field in schemas.message(type_name).field if field.name == first)
    return _nested_field(schemas, inner.type_name, rest)


def _operation(schemas: Schemas, method: descriptor_pb2.MethodDescriptorProto, binding: _Binding, comment: str) -> Json:
    summary, _, rest = comment.partition(". ")
    error = {"application/json": {"schema": reference(STATUS)}}
    operation: Json = {
        "summary": summary.rstrip("."),
        "description": rest,
        "parameters": _query(schemas, method, binding),
        "responses": {
            "200": {"description": "Done.", "content": _answer(method)},
            "default": {"description": "An error; `details` has its reason.", "content": error},
        },
    }
    if binding.body:
        operation["requestBody"] = {"required": True, "content": _body(schemas, method, binding.body)}
    return operation


def _query(schemas: Schemas, method: descriptor_pb2.MethodDescriptorProto, binding: _Binding) -> list[Json]:
    """Fields that stand neither in the path nor in the body: only plain ones can."""
    if binding.body == "*":
        return []
    taken = {match[1].partition(".")[0] for match in _VARIABLE.finditer(binding.path)} | {binding.body}
    fields = [
        field
        for field in schemas.message(method.input_type).field
        if field.name not in taken and field.type not in (field.TYPE_MESSAGE, field.TYPE_BYTES)
    ]
    return [
        {"name": field.name, "in": "query", "schema": schemas.field(method.input_type, field.name)} for field in fields
    ]


def _body(schemas: Schemas, method: descriptor_pb2.MethodDescriptorProto, body: str) -> Json:
    if body == "*":
        return {"application/json": {"schema": reference(method.input_type)}}
    field = next(field for field in schemas.message(method.input_type).field if field.name == body)
    if field.type_name == HTTP_BODY:
        return {"application/octet-stream": {"schema": {}}, "image/*": {"schema": {}}, "audio/*": {"schema": {}}}
    return {"application/json": {"schema": reference(field.type_name)}}


def _answer(method: descriptor_pb2.MethodDescriptorProto) -> Json:
    if method.output_type == HTTP_BODY:
        return {"application/json": {"schema": {}}}
    schema = reference(method.output_type)
    return {"application/json": {"schema": {"type": "array", "items": schema} if method.server_streaming else schema}}
