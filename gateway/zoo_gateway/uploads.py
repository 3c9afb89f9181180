"""REST calls whose body is a file's raw bytes.

Envoy decides by a method's first HTTP binding whether its body is JSON or raw (google.api.HttpBody). Methods that take
both have the JSON binding first; for the paths of the raw one Envoy gets descriptors of their own, in which it is.
"""

import re
from typing import Any, cast

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

__all__ = ["HTTP_BODY", "raw_descriptors", "raw_paths"]

HTTP_BODY = ".google.api.HttpBody"
_MODEL = "{model=**}"


def raw_descriptors(descriptors: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.FileDescriptorSet:
    """The same types, with those methods alone that take a raw body, by that binding."""
    copy = descriptor_pb2.FileDescriptorSet()
    copy.CopyFrom(descriptors)
    requests = {f".{file.package}.{message.name}": message for file in copy.file for message in file.message_type}
    for file in copy.file:
        file.ClearField("source_code_info")
        for service in file.service:
            kept = [method for method in service.method if _make_raw(method, requests.get(method.input_type))]
            del service.method[:]
            service.method.extend(kept)
    return copy


def raw_paths(descriptors: descriptor_pb2.FileDescriptorSet) -> str:
    """A regular expression (RE2) of the paths that take a raw body."""
    rules = [_rule(m) for file in raw_descriptors(descriptors).file for s in file.service for m in s.method]
    return "|".join(re.escape(rule.post).replace(re.escape(_MODEL), ".+") for rule in rules)


def _make_raw(method: descriptor_pb2.MethodDescriptorProto, request: descriptor_pb2.DescriptorProto | None) -> bool:
    """Put the method's raw binding in place of the others; False if it has none."""
    files = {field.name for field in request.field if field.type_name == HTTP_BODY} if request else set[str]()
    rule = _rule(method)
    raw = next((binding for binding in rule.additional_bindings if binding.body in files), None)
    if raw is not None:
        # By way of bytes: the binding is a part of what it replaces.
        chosen: bytes = raw.SerializeToString()
        rule.ParseFromString(chosen)
    return raw is not None


def _rule(method: descriptor_pb2.MethodDescriptorProto) -> Any:
    # Packages without types.
    return cast(Any, method.options).Extensions[cast(Any, annotations_pb2).http]
