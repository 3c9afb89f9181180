"""A recipe's parameters as the training service is told them, read from its typed settings."""

import types
from collections.abc import Iterator
from enum import Enum
from typing import Any, Union, get_args, get_origin

import annotated_types
from google.protobuf import struct_pb2
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from zoo.training.v1 import recipe_pb2 as pb
from zoo_trainer.recipes.settings import TrainingSettings

__all__ = ["parameters_of"]

_KINDS: dict[type, pb.ParameterKind.ValueType] = {
    bool: pb.PARAMETER_KIND_BOOL,
    int: pb.PARAMETER_KIND_INTEGER,
    float: pb.PARAMETER_KIND_NUMBER,
    str: pb.PARAMETER_KIND_STRING,
}


def parameters_of(settings: type[TrainingSettings]) -> Iterator[pb.Parameter]:
    """A recipe's own first, then those that all recipes have."""
    fields = settings.model_fields
    shared = [name for name in fields if name in TrainingSettings.model_fields]
    for name in [*(name for name in fields if name not in shared), *shared]:
        yield _parameter(name, fields[name])


def _parameter(name: str, field: FieldInfo) -> pb.Parameter:
    kind = _plain(field.annotation)
    choices = [str(member.value) for member in kind] if issubclass(kind, Enum) else []
    parameter = pb.Parameter(
        name=name,
        kind=pb.PARAMETER_KIND_CHOICE if choices else _KINDS[kind],
        description=" ".join((field.description or "").split()),
        choices=choices,
    )
    for limit in field.metadata:
        if isinstance(limit, annotated_types.Ge):
            parameter.minimum = _number(limit.ge)
        elif isinstance(limit, annotated_types.Gt):
            parameter.minimum, parameter.minimum_excluded = _number(limit.gt), True
        elif isinstance(limit, annotated_types.Le):
            parameter.maximum = _number(limit.le)
        elif isinstance(limit, annotated_types.Lt):
            parameter.maximum, parameter.maximum_excluded = _number(limit.lt), True
    if field.default is not PydanticUndefined and field.default is not None:
        parameter.default_value.CopyFrom(_value(field.default))
    return parameter


def _plain(annotation: Any) -> type:
    """The type of `X | None` without None: None stands for what the recipe decides by itself."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(each for each in get_args(annotation) if each is not type(None))
    return annotation


def _number(value: Any) -> float:
    return float(value)


def _value(default: Any) -> struct_pb2.Value:
    plain = default.value if isinstance(default, Enum) else default
    if isinstance(plain, bool):
        return struct_pb2.Value(bool_value=plain)
    if isinstance(plain, int | float):
        return struct_pb2.Value(number_value=plain)
    return struct_pb2.Value(string_value=str(plain))
